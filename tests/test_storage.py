"""Files appear whole or not at all; one writer at a time; vectors are found again by text."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ettin_cli.errors import EttinError, IndexBusyError
from ettin_cli.index import writing
from ettin_cli.index.known import Distinct, Shards, as_hashes, text_hash
from ettin_cli.index.lock import HOLDER
from ettin_cli.index.vectors import build, nearest, nearest_among, open_index
from ettin_cli.records import Silence
from ettin_cli.storage import checksum, folder_size, replacing, sha256


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    target.chmod(0o640)
    with replacing(target) as draft:
        draft.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
def test_a_failing_disk_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    target = tmp_path / "a"
    target.write_text("old")

    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if call == "fsync" else Path, call, failing)
    with pytest.raises(OSError, match="No space"), replacing(target) as draft:
        draft.write_text("new")
    monkeypatch.undo()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as draft:
        draft.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_checksums_are_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "a") == expected
    before = checksum(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"abd")
    assert checksum(tmp_path / "a") != before
    assert folder_size(tmp_path) == 3


# The lock

HOLDING = """
import sys, time
from pathlib import Path
from ettin_cli.index import writing
from ettin_cli.records import Silence
with writing(Path(sys.argv[1]), wait=True, reporter=Silence()):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path / "index")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_holds_the_index(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    with (
        pytest.raises(IndexBusyError, match=f"being written by process {holder.pid} of"),
        writing(tmp_path / "index", wait=False, reporter=Silence()),
    ):
        pass
    holder.communicate("\n")


def test_a_second_writer_waits_and_says_for_whom(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    said: list[str] = []

    class Releasing(Silence):
        def notice(self, message: str) -> None:
            said.append(message)
            holder.communicate("\n")

    with writing(tmp_path / "index", wait=True, reporter=Releasing()):
        assert holder.poll() == 0
    assert f"waiting for process {holder.pid}" in said[0]


def test_a_killed_writer_holds_nothing(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    holder.kill()
    holder.communicate()
    began = time.monotonic()
    with writing(tmp_path / "index", wait=False, reporter=Silence()):
        assert str(os.getpid()) in (tmp_path / "index" / HOLDER).read_text()
    assert time.monotonic() - began < 5
    assert not (tmp_path / "index" / HOLDER).exists()


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("x")
    with (
        pytest.raises(EttinError, match="is a file"),
        writing(tmp_path / "index", wait=True, reporter=Silence()),
    ):
        pass


# Known vectors


def hashes(*texts: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]":
    return as_hashes(b"".join(text_hash(text) for text in texts))


def test_texts_are_found_by_their_hash_and_never_by_half_of_it() -> None:
    near = hashes("b").copy()
    near[0, 1] += np.uint64(1)
    distinct = Distinct(hashes("c", "a", "c", "b", "a"))
    assert distinct.first_of.tolist() == [0, 1, 0, 3, 1]
    assert sorted(distinct.rows.tolist()) == [0, 1, 3]
    found = distinct.find(np.concatenate([hashes("a", "x", "c"), near]))
    assert found.tolist() == [1, -1, 0, -1]
    assert Distinct(hashes()).find(hashes("a")).tolist() == [-1]


def test_a_damaged_shard_is_dropped_and_the_whole_ones_are_kept(tmp_path: Path) -> None:
    shards = Shards(tmp_path / "work")
    shards.add(hashes("a"), np.ones((1, 2), np.float32))
    shards.add(hashes("b"), np.ones((1, 2), np.float32))
    first, second = sorted((tmp_path / "work").iterdir())
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes(content)
    again = Shards(tmp_path / "work")
    ((found, vectors),) = again.load(2)
    assert found.tolist() == hashes("b").tolist()
    assert vectors.tolist() == [[1, 1]]
    assert sorted((tmp_path / "work").iterdir()) == [second]
    again.clear()
    assert not (tmp_path / "work").exists()


# Vectors

RNG = np.random.default_rng(5)


def unit(rows: int, dimension: int = 16) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    vectors = RNG.normal(size=(rows, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.mark.parametrize("factory", ["auto", "Flat"])
def test_exact_search_is_what_numpy_finds(tmp_path: Path, factory: str) -> None:
    vectors, queries = unit(500), unit(7)
    made, search, recall = build(vectors, factory, tmp_path / "v.faiss")
    assert (made, recall) == ("Flat", 1.0)
    index = open_index(tmp_path / "v.faiss", search)
    expected = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :9]
    for found, wanted in zip(nearest(index, queries, 9), expected, strict=True):
        assert set(found.tolist()) == set(wanted.tolist())


def test_search_among_some_rows_compares_all_of_them(tmp_path: Path) -> None:
    vectors, queries = unit(300), unit(3)
    among = np.arange(0, 300, 7)
    expected = among[np.argsort(-(queries @ vectors[among].T), axis=1, kind="stable")[:, :5]]
    for found, wanted in zip(nearest_among(vectors, among, queries, 5), expected, strict=True):
        assert set(found.tolist()) == set(wanted.tolist())


def test_an_approximate_factory_says_its_recall(tmp_path: Path) -> None:
    made, search, recall = build(unit(3000), "IVF16,Flat", tmp_path / "v.faiss")
    assert made == "IVF16,Flat"
    assert 0 < recall <= 1
    assert open_index(tmp_path / "v.faiss", search).ntotal == 3000


def test_an_unknown_factory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EttinError, match="Flot"):
        build(unit(10), "Flot", tmp_path / "v.faiss")
