"""An index is read exactly, from any location, and reports where it is damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import IndexDamagedError
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import damaged_files
from tests.conftest import Ettin
from tests.indexes import Builder, jsonl, unit_vectors, word_vector

RECORDS = [
    {"_id": "a", "text": "the ferry sails", "port": "west", "n": 1, "new": True},
    {"_id": "b", "text": "a ferry ticket", "port": "east", "n": 2, "tags": ["boat", "fare"]},
    {"_id": "c", "text": "knead the dough", "port": None, "n": 1.5},
]


@pytest.fixture
def folder(tmp_path: Path, build: Builder) -> Path:
    docs = tmp_path / "docs"
    (docs / "deep").mkdir(parents=True)
    (docs / "table.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    (docs / "deep" / "note.txt").write_text("a note of bread\n")
    build(tmp_path / "index", docs)
    return tmp_path / "index"


def found(index: Index, filters: dict[str, str], *paths: str) -> list[str]:
    rows = index.select([*filters.items()], paths)
    return [passage.doc_id.rpartition("#")[2] for passage in index.read(rows)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"port": "west"}, ["a"]),
        ({"n": "1"}, ["a"]),
        ({"n": "1.5"}, ["c"]),
        ({"new": "true"}, ["a"]),
        ({"new": "True"}, []),
        ({"tags": "fare"}, ["b"]),
        ({"tags": "far"}, []),
        ({"port": "None"}, []),
        ({"port": "east", "n": "2"}, ["b"]),
        ({"port": "east", "n": "1"}, []),
        ({"none": "x"}, []),
    ],
)
def test_rows_are_chosen_by_their_metadata(
    folder: Path, filters: dict[str, str], expected: list[str]
) -> None:
    assert found(Index(folder), filters) == expected


def test_rows_are_chosen_by_path_and_metadata_together(folder: Path) -> None:
    index = Index(folder)
    assert found(index, {}, "*.txt") == ["deep/note.txt"]
    assert found(index, {}, "deep/") == ["deep/note.txt"]
    assert found(index, {}, "*.md", "*.jsonl") == ["a", "b", "c"]
    assert found(index, {"port": "west"}, "*.txt") == []
    assert found(index, {"port": "west"}, "table.*") == ["a"]


def test_the_best_rows_come_first_with_their_inner_products(folder: Path) -> None:
    index = Index(folder)
    query = word_vector("the ferry")
    texts = [passage.content for passage in index.read(np.arange(4))]
    values = [float(word_vector(text) @ query) for text in texts]
    order = sorted(range(4), key=lambda row: (-values[row], row))
    ((rows, scores),) = index.retrieve(query[None], 3)
    assert rows.tolist() == order[:3]
    assert scores.tolist() == pytest.approx(sorted(values, reverse=True)[:3], abs=1e-6)
    ((among, _),) = index.retrieve(query[None], 9, np.array([2, 0]))
    assert among.tolist() == [row for row in order if row in (0, 2)]


def test_a_passage_knows_its_file_wherever_the_two_have_moved(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    for name in ("index", "docs"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    index = Index(tmp_path / "moved" / "index")
    (passage,) = index.read(index.select([("port", "west")], []))
    assert passage.path == str(tmp_path / "moved" / "docs" / "table.jsonl")
    assert index.file_of(0).name == "deep/note.txt"


def test_an_index_behind_a_link_finds_its_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(folder)
    monkeypatch.chdir(elsewhere)
    (passage,) = Index(Path("link")).read([0])
    assert passage.path == str(tmp_path / "docs" / "deep" / "note.txt")


def damaged(path: Path, at: int) -> None:
    """Flip a byte in a copy that replaces the file, since the old one may be mapped."""
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["passages.arrow", "files.arrow", "vectors.faiss"])
@pytest.mark.parametrize("place", [0.05, 0.5, 0.97])
def test_a_flipped_byte_is_named_by_verify_and_built_upon_by_nobody(
    folder: Path, build: Builder, tmp_path: Path, name: str, place: float
) -> None:
    path = Index(folder).generation / name
    damaged(path, int(place * path.stat().st_size))
    assert damaged_files(folder) == [str(path)]
    jsonl(tmp_path / "docs" / "more.jsonl", d="more")
    with pytest.raises(IndexDamagedError) as caught:
        build(folder)
    assert caught.value.problem == f"{path} is damaged"
    assert hint_of(caught.value) == f"ettin verify -i {folder} --repair"
    assert build(folder, rebuild=True).written
    assert damaged_files(folder) == []


def test_what_is_read_of_a_damaged_index_is_never_another_text(folder: Path) -> None:
    index = Index(folder)
    whole = [passage.text for passage in index.read(np.arange(4))]
    path = index.generation / "passages.arrow"
    content = path.read_bytes()
    for at in range(content.index(b"ferry"), len(content), 97):
        damaged(path, at)
        try:
            assert [passage.text for passage in Index(folder).read(np.arange(4))] == whole
        except IndexDamagedError as error:
            assert error.problem == f"{path} is damaged"
        path.write_bytes(content)


@pytest.mark.parametrize("factory", ["IVF8,Flat", "HNSW8"])
def test_damaged_vectors_end_in_an_error_and_never_in_rows_that_are_not(
    tmp_path: Path, build: Builder, factory: str
) -> None:
    texts = {f"d{number}": f"word{number} ferry" for number in range(200)}
    build(tmp_path / "index", jsonl(tmp_path / "t.jsonl", **texts), factory=factory)
    path = Index(tmp_path / "index").generation / "vectors.faiss"
    content, said = path.read_bytes(), set()
    query = unit_vectors(1, 32)
    for at in [*range(0, 200, 9), *range(200, len(content), 901)]:
        damaged(path, at)
        try:
            index = Index(tmp_path / "index")
            index.read(index.retrieve(query, 20)[0][0])
        except IndexDamagedError as error:
            said.add(hint_of(error))
        path.write_bytes(content)
    assert said == {f"ettin verify -i {tmp_path / 'index'} --repair"}


def test_a_file_of_a_passage_that_is_not_there_is_damage(folder: Path) -> None:
    index = Index(folder)
    vars(index._contents)["files"] = []
    with pytest.raises(IndexDamagedError, match=r"passages\.arrow is damaged"):
        index.read([0])
    with pytest.raises(IndexDamagedError, match=r"passages\.arrow is damaged"):
        index.file_of(0)


def test_verify_names_every_damaged_file_and_the_command_that_mends_them(
    ettin: Ettin, folder: Path
) -> None:
    assert ettin("verify", "-i", "index").out == "index is intact: 10 files\n"
    generation = Index(folder).generation
    passages, vectors = generation / "passages.arrow", generation / "vectors.faiss"
    damaged(passages, passages.read_bytes().index(b"dough"))
    damaged(vectors, vectors.stat().st_size - 3)
    ran = ettin("verify", "-i", "index")
    inside = Path("index", "generations", generation.name)
    named = [f"damaged: {inside / path.name}" for path in (passages, vectors)]
    assert (ran.code, ran.out.splitlines()) == (1, named)
    assert "ettin verify -i index --repair" in ran.err
