"""A vector is reused for the same text only, and only if all its bytes are intact."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ettin_cli.index.known_vectors import Distinct, Shards, as_hashes, joined_hashes, text_hash
from tests.indexes import hashes, unit_vectors

TEXTS = st.lists(st.sampled_from("abcdefgh"), max_size=40)


@given(TEXTS, TEXTS)
def test_every_text_is_found_at_its_first_row(texts: list[str], wanted: list[str]) -> None:
    distinct = Distinct(hashes(*texts))
    assert distinct.first_of.tolist() == [texts.index(text) for text in texts]
    assert sorted(distinct.rows.tolist()) == sorted({texts.index(text) for text in texts})
    expected = [texts.index(text) if text in texts else -1 for text in wanted]
    assert distinct.find(hashes(*wanted)).tolist() == expected


def test_half_a_hash_is_no_match() -> None:
    ones = as_hashes(np.array([[1, 1], [1, 2], [2, 1]], np.uint64).tobytes())
    distinct = Distinct(ones)
    assert distinct.first_of.tolist() == [0, 1, 2]
    near = as_hashes(np.array([[1, 3], [3, 1], [2**64 - 1, 2**64 - 1]], np.uint64).tobytes())
    assert distinct.find(near).tolist() == [-1, -1, -1]


def test_hashes_in_pieces_are_one_array() -> None:
    assert joined_hashes([]).shape == (0, 2)
    pieces = joined_hashes([hashes("a", "b"), hashes("c")])
    assert np.array_equal(pieces, hashes("a", "b", "c"))


def test_a_text_of_any_characters_has_a_hash() -> None:
    assert len({text_hash(text) for text in ("", "a", "é", "e\u0301", "\ud800", "日本")}) == 6


def test_shards_come_back_in_order_with_every_bit(tmp_path: Path) -> None:
    shards = Shards(tmp_path / "work")
    vectors = unit_vectors(5, 3)
    shards.add(hashes("a", "b"), vectors[:2])
    shards.add(hashes("c", "d", "e"), vectors[2:])
    first, second = list(Shards(tmp_path / "work").load(3))
    assert np.array_equal(joined_hashes([first[0], second[0]]), hashes(*"abcde"))
    assert np.array_equal(np.concatenate([first[1], second[1]]), vectors)


def test_a_further_run_adds_shards_and_overwrites_none(tmp_path: Path) -> None:
    Shards(tmp_path).add(hashes("a"), unit_vectors(1, 3))
    later = Shards(tmp_path)
    assert len(list(later.load(3))) == 1
    later.add(hashes("b"), unit_vectors(1, 3))
    assert len(list(Shards(tmp_path).load(3))) == 2


def test_a_shard_with_any_one_byte_changed_or_cut_off_is_dropped(tmp_path: Path) -> None:
    Shards(tmp_path).add(hashes("a"), unit_vectors(1, 3))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    damages = [whole[:at] for at in range(len(whole))]
    damages += [whole + b"\0", whole + whole]
    for at in range(len(whole)):
        damages.append(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    for damage in damages:
        path.write_bytes(damage)
        assert list(Shards(tmp_path).load(3)) == []
        assert not path.exists()


def test_a_shard_of_another_dimension_is_dropped(tmp_path: Path) -> None:
    Shards(tmp_path).add(hashes("a"), unit_vectors(1, 3))
    assert list(Shards(tmp_path).load(4)) == []


@pytest.mark.parametrize("litter", [".00000000.shard.abc.tmp", "notes.txt"])
def test_what_a_killed_run_left_is_passed_over_and_cleared(tmp_path: Path, litter: str) -> None:
    shards = Shards(tmp_path / "work")
    shards.add(hashes("a"), unit_vectors(1, 3))
    (tmp_path / "work" / litter).write_bytes(b"half")
    assert len(list(shards.load(3))) == 1
    shards.clear()
    assert not (tmp_path / "work").exists()
    shards.clear()
