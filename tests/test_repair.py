"""A damaged index is repaired to that of an undamaged build, with few texts embedded again."""

import itertools
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import CorpusError, IndexBusyError, IndexDamagedError, IndexMismatchError
from ettin_cli.index.lock import writing
from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.passages import PassageWriter
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import IntactParts, damaged_files, intact_texts
from ettin_cli.indexing.repairing import RepairReport, repair_index
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.records import Passage, Silence
from tests.conftest import Ettin
from tests.indexes import Builder, assert_equal, doc_ids, ferry_files, hashes, jsonl, word_vector

NAMES = ("files.arrow", "passages.arrow", "vectors.faiss")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return ferry_files(tmp_path / "docs")


def flip(path: Path, at: int | None = None) -> None:
    """Flip a bit in a copy that replaces the file, since the old one may be mapped."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 4
    path.unlink()
    path.write_bytes(content)


def file_of(folder: Path, name: str) -> Path:
    return folder / "generations" / read_manifest(folder).generation / name


def repair(folder: Path, **options: bool) -> RepairReport:
    return repair_index(BuildRequest(folder, offline=True, **options), Silence())  # type: ignore[arg-type]


def assert_repaired(folder: Path, peaceful: Path) -> None:
    """Check that an index is intact, equal to an undamaged one, and without leftover files."""
    assert damaged_files(folder) == []
    assert_equal(folder, peaceful)
    (generation,) = (folder / "generations").iterdir()
    assert generation.name == read_manifest(folder).generation
    query = np.array([word_vector("ferry 3")])
    (rows, scores), (others, wanted) = (
        Index(one).retrieve(query, 5)[0] for one in (folder, peaceful)
    )
    assert rows.tolist() == others.tolist()
    assert np.allclose(scores, wanted)


# Kinds of damage, and their cost

EMBEDDED_AGAIN = [
    (("files.arrow",), 0),
    (("passages.arrow",), 0),
    (("vectors.faiss",), 7),
    (("files.arrow", "passages.arrow"), 0),
    (("files.arrow", "vectors.faiss"), 7),
    (("passages.arrow", "vectors.faiss"), 7),
    (NAMES, 7),
]


@pytest.mark.parametrize(("names", "cost"), EMBEDDED_AGAIN)
@pytest.mark.parametrize("how", ["missing", "cut short", "footer"])
def test_any_damaged_files_are_repaired_and_only_lost_vectors_are_made_again(
    docs: Path, tmp_path: Path, build: Builder, names: tuple[str, ...], cost: int, how: str
) -> None:
    build(tmp_path / "i", docs)
    shutil.copytree(tmp_path / "i", tmp_path / "calm")
    for name in names:
        path = file_of(tmp_path / "i", name)
        if how == "missing":
            path.unlink()
        elif how == "cut short":
            path.write_bytes(path.read_bytes()[:-40])
        else:
            flip(path, -20)
    named = [str(file_of(tmp_path / "i", name)) for name in names]
    assert damaged_files(tmp_path / "i") == named
    report = repair(tmp_path / "i")
    assert report.damaged == named
    assert not report.lost
    assert report.built is not None
    without_passages = how == "missing" and "passages.arrow" in names
    assert report.built.embedded == (7 if without_passages else cost)
    assert report.built.embedded + report.built.reused == 7
    assert_repaired(tmp_path / "i", tmp_path / "calm")
    assert not build(tmp_path / "i").written


def test_a_text_that_is_damaged_is_the_only_one_embedded_again(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", docs)
    shutil.copytree(tmp_path / "i", tmp_path / "calm")
    path = file_of(tmp_path / "i", "passages.arrow")
    flip(path, path.read_bytes().index(b"file 4 tells"))
    repair(tmp_path / "i")
    assert build.embedded == ["4 file 4 tells of ferry 4"]
    assert_repaired(tmp_path / "i", tmp_path / "calm")


@pytest.mark.parametrize(("factory", "cost"), [("IVF2,Flat", 0), ("HNSW4", 0), ("SQ8", 40)])
def test_either_file_of_vectors_is_made_from_the_other_where_it_keeps_them_whole(
    tmp_path: Path, build: Builder, factory: str, cost: int
) -> None:
    texts = {f"d{number}": f"word{number} ferry" for number in range(40)}
    build(tmp_path / "i", jsonl(tmp_path / "t.jsonl", **texts), factory=factory)
    shutil.copytree(tmp_path / "i", tmp_path / "calm")
    flip(file_of(tmp_path / "i", "vectors.faiss"))
    assert repair(tmp_path / "i").built.embedded == 0  # type: ignore[union-attr]
    assert_repaired(tmp_path / "i", tmp_path / "calm")
    flip(file_of(tmp_path / "i", "embeddings.f16"))
    assert repair(tmp_path / "i").built.embedded == cost  # type: ignore[union-attr]
    assert_repaired(tmp_path / "i", tmp_path / "calm")
    assert read_manifest(tmp_path / "i").factory == factory


def test_with_whole_passages_sources_are_not_needed_and_changes_are_not_taken_up(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", docs)
    shutil.copytree(tmp_path / "i", tmp_path / "calm")
    shutil.rmtree(docs)
    flip(file_of(tmp_path / "i", "vectors.faiss"))
    assert not repair(tmp_path / "i").lost
    assert_repaired(tmp_path / "i", tmp_path / "calm")


def test_any_flipped_bit_of_passages_leaves_every_kept_text_its_own_vector(tmp_path: Path) -> None:
    path = tmp_path / "passages.arrow"
    writer = PassageWriter(path)
    texts = [f"text {number}" for number in range(8)]
    for number, text in enumerate(texts):
        writer.add(Passage(f"d{number}", text), 0)
        if number % 2:
            writer._flush()
    writer.close()
    content = path.read_bytes()
    right = {(row, hashes(text).tobytes()) for row, text in enumerate(texts)}
    kept = []
    for at in random.Random(7).sample(range(len(content)), 300):
        for bit in (1, 8, 64):
            changed = bytearray(content)
            changed[at] ^= bit
            path.write_bytes(changed)
            found = {
                (int(row), one.tobytes())
                for rows, some in intact_texts(path)
                for row, one in zip(rows, some, strict=True)
            }
            assert found <= right
            kept.append(len(found))
    assert sum(kept) / len(kept) > 5


# Irrecoverable parts


def test_a_file_that_has_gone_is_lost_with_its_passages_and_named(
    ettin: Ettin, docs: Path, tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", docs)
    flip(file_of(tmp_path / "i", "passages.arrow"), -20)
    (docs / "2.txt").unlink()
    ran = ettin("verify", "-i", "i", "--repair")
    assert ran.code == 3
    assert ran.err.splitlines() == [
        "ettin: lost 2.txt",
        "ettin: i is repaired: 0 passages embedded again, 6 kept, 1 lost",
    ]
    build(tmp_path / "calm", docs)
    assert_repaired(tmp_path / "i", tmp_path / "calm")


def test_a_source_that_has_gone_is_put_back_before_its_passages_are_given_up(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    table = jsonl(tmp_path / "t.jsonl", a="x")
    build(tmp_path / "i", table, docs)
    flip(file_of(tmp_path / "i", "passages.arrow"))
    docs.rename(tmp_path / "away")
    before = (tmp_path / "i" / "manifest.json").read_bytes()
    with pytest.raises(CorpusError, match="cannot repair .* no longer exists") as caught:
        repair(tmp_path / "i")
    assert hint_of(caught.value) == (
        f"restore it, or run: ettin index -i {tmp_path / 'i'} --rebuild --remove {docs}"
    )
    assert (tmp_path / "i" / "manifest.json").read_bytes() == before
    (tmp_path / "away").rename(docs)
    assert not repair(tmp_path / "i").lost


@pytest.fixture
def piped(
    ettin: Ettin, docs: Path, tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An index of records from standard input, followed by those of a folder."""
    with jsonl(tmp_path / "stdin.jsonl", a="from a pipe", b="and more").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert ettin("index", "-", "-i", "i", "--embedder", str(build.model)).code == 0
    monkeypatch.setattr("sys.stdin", None)
    build(tmp_path / "i", docs)
    return tmp_path / "i"


@pytest.mark.parametrize("name", ["files.arrow", "vectors.faiss"])
def test_records_from_standard_input_are_kept_while_the_passages_are_whole(
    piped: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(piped, tmp_path / "calm")
    flip(file_of(piped, name))
    assert not repair(piped).lost
    assert_repaired(piped, tmp_path / "calm")


@pytest.mark.parametrize("names", [["passages.arrow"], ["passages.arrow", "files.arrow"]])
def test_records_from_standard_input_that_are_lost_are_asked_for(
    ettin: Ettin, piped: Path, names: list[str]
) -> None:
    for name in names:
        flip(file_of(piped, name))
    ran = ettin("verify", "-i", "i", "--repair")
    assert ran.code == 3
    assert "lost the records from standard input; pass them again: ettin index - -i i" in ran.err
    assert doc_ids(piped) == [f"{number}.txt" for number in range(7)]
    assert damaged_files(piped) == []


def test_documents_whose_list_of_files_is_damaged_are_named_when_they_are_lost(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", docs)
    flip(file_of(tmp_path / "i", "files.arrow"))
    (docs / "5.txt").unlink()
    assert repair(tmp_path / "i").lost == ["5.txt"]


# Refusals


def test_a_repair_takes_the_embedder_that_made_the_index_and_no_other(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", docs)
    flip(file_of(tmp_path / "i", "vectors.faiss"))
    (build.model / "model.safetensors").write_bytes(b"other")
    with pytest.raises(IndexMismatchError, match="was built with embedder"):
        repair(tmp_path / "i")
    assert len(damaged_files(tmp_path / "i")) == 1


def test_without_a_manifest_there_is_nothing_to_go_by(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", docs)
    flip(tmp_path / "i" / "manifest.json")
    with pytest.raises(IndexDamagedError) as caught:
        repair(tmp_path / "i")
    assert hint_of(caught.value) == f"ettin index SOURCE -i {tmp_path / 'i'} --rebuild"


def test_a_repair_waits_for_other_writers_or_fails_as_it_is_told(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", docs)
    with (
        writing(tmp_path / "i", wait=True, reporter=Silence()),
        pytest.raises(IndexBusyError),
    ):
        repair(tmp_path / "i", wait=False)


def test_a_repair_of_what_is_not_there_makes_no_folder(ettin: Ettin) -> None:
    ran = ettin("verify", "-i", "nowhere", "--repair")
    assert (ran.code, ran.out) == (1, "")
    assert "no index at nowhere" in ran.err
    assert not Path("nowhere").exists()


# The command


def test_verify_names_a_missing_file_beside_a_damaged_one_and_repair_mends_both(
    ettin: Ettin, docs: Path, build: Builder, tmp_path: Path
) -> None:
    build(tmp_path / "i", docs)
    for one, other in itertools.permutations(NAMES, 2):
        file_of(Path("i"), one).unlink()
        flip(file_of(Path("i"), other))
        named = sorted(f"damaged: {file_of(Path('i'), name)}" for name in (one, other))
        ran = ettin("verify", "-i", "i")
        assert (ran.code, ran.out.splitlines()) == (1, named)
        assert ran.err == "ettin: to repair it: ettin verify -i i --repair\n"
        mended = ettin(*ran.err.partition(": ettin ")[2].split())
        assert (mended.code, mended.out.splitlines()) == (0, named)
        assert "i is repaired: " in mended.err
        assert ettin("verify", "-i", "i").out == "i is intact: 10 files\n"


def test_a_repair_of_a_whole_index_does_nothing(
    ettin: Ettin, docs: Path, build: Builder, tmp_path: Path
) -> None:
    build(tmp_path / "i", docs)
    before = (tmp_path / "i" / "manifest.json").read_bytes()
    ran = ettin("verify", "-i", "i", "--repair")
    assert (ran.code, ran.out, ran.err) == (0, "i is intact: nothing to repair\n", "")
    assert (tmp_path / "i" / "manifest.json").read_bytes() == before
    assert IntactParts(tmp_path / "i").damaged == []
