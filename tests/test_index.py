"""The index is exact, brings itself up to date, and is always whole."""

from pathlib import Path

import numpy as np
import pytest

from ettin_cli.errors import IndexDamagedError, IndexMismatchError, IndexNotFoundError
from ettin_cli.index import Index
from ettin_cli.index.known import Shards, as_hashes, text_hash
from ettin_cli.index.vectors import build, inner_products, nearest_among, open_index
from ettin_cli.pipeline import BuildReport, BuildRequest, build_index
from ettin_cli.records import Silence

RANDOM = np.random.default_rng(7)


def unit_vectors(
    count: int, dimension: int = 16
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    vectors = RANDOM.standard_normal((count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def update(folder: Path, *sources: Path, rebuild: bool = False) -> BuildReport:
    request = BuildRequest(folder, add=[str(source) for source in sources], rebuild=rebuild)
    return build_index(request, Silence())


def doc_ids(folder: Path) -> list[str]:
    found: list[str] = Index(folder).passages.table.column("doc_id").to_pylist()
    return found


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "ferry.md").write_text("# Ferry\n\nThe ferry sails at nine.\n")
    (docs / "bread.txt").write_text("Knead the dough for ten minutes.\n")
    return docs


def test_an_exact_index_finds_what_comparing_with_every_vector_finds(tmp_path: Path) -> None:
    vectors, queries = unit_vectors(300), unit_vectors(5)
    path = tmp_path / "vectors.faiss"
    assert build(vectors, "auto", path) == ("Flat", {}, 1.0)
    _, rows = open_index(path, {}).search(queries, 10)
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    assert rows.tolist() == expected.tolist()


def test_inverted_lists_are_searched_as_deep_as_good_recall_needs(tmp_path: Path) -> None:
    vectors = unit_vectors(2000)
    factory, search, recall = build(vectors, "IVF32,Flat", tmp_path / "vectors.faiss")
    assert factory == "IVF32,Flat"
    assert recall >= 0.99
    assert 16 <= search["nprobe"] <= 32


def test_a_narrowed_search_compares_the_chosen_rows_alone() -> None:
    vectors, queries = unit_vectors(100), unit_vectors(2)
    among = np.array([3, 50, 99], np.int64)
    found = nearest_among(vectors, among, queries, 2)
    for query, rows in zip(queries, found, strict=True):
        order = sorted(among.tolist(), key=lambda row: -float(vectors[row] @ query))
        assert rows.tolist() == order[:2]


def test_equal_vectors_get_equal_scores_wherever_they_stand() -> None:
    vectors = unit_vectors(9, 384)
    vectors[[2, 5, 8]] = vectors[2]
    scores = inner_products(vectors, unit_vectors(1, 384)[0])
    assert scores[2] == scores[5] == scores[8]


def test_a_damaged_shard_is_embedded_again_and_a_whole_one_is_not(tmp_path: Path) -> None:
    shards = Shards(tmp_path / "work")
    for text in ("a", "b"):
        shards.add(as_hashes(text_hash(text)), np.ones((1, 4), np.float32))
    first = sorted((tmp_path / "work").iterdir())[0]
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes(content)
    groups = list(Shards(tmp_path / "work").load(4))
    assert [hashes.tolist() for hashes, _ in groups] == [as_hashes(text_hash("b")).tolist()]


def test_a_second_run_embeds_only_what_is_new_or_changed(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    first = update(index, docs)
    assert (len(first.plan.new), first.embedded) == (2, 2)
    assert not update(index).written
    (docs / "bread.txt").write_text("Let the dough rest for an hour.\n")
    (docs / "soup.txt").write_text("Simmer the fish.\n")
    second = update(index)
    assert (second.plan.new, second.plan.changed) == (["soup.txt"], ["bread.txt"])
    assert (second.embedded, second.reused) == (2, 1)
    (docs / "ferry.md").unlink()
    third = update(index)
    assert (third.plan.gone, third.embedded) == (["ferry.md"], 0)
    assert doc_ids(index) == ["bread.txt", "soup.txt"]


def test_an_updated_index_equals_a_fresh_one(docs: Path, tmp_path: Path) -> None:
    update(tmp_path / "old", docs)
    (docs / "soup.txt").write_text("Simmer the fish.\n")
    update(tmp_path / "old")
    update(tmp_path / "new", docs)
    old, new = Index(tmp_path / "old"), Index(tmp_path / "new")
    assert old.passages.table.equals(new.passages.table)
    assert np.allclose(old.vectors, new.vectors, atol=1e-6)


def test_an_interrupted_run_goes_on_where_it_stopped(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    monkeypatch.setattr("ettin_cli.index.writer.SHARD_ROWS", 1)
    add = Shards.add

    def add_and_stop(self: Shards, *args: object) -> None:
        add(self, *args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Shards, "add", add_and_stop)
        update(index, docs)
    with pytest.raises(IndexNotFoundError):
        Index(index)
    again = update(index, docs)
    assert (again.embedded, again.reused) == (1, 1)
    assert not (index / "work").exists() or not list((index / "work").rglob("*.shard"))


def test_a_cut_file_is_refused_with_the_command_that_repairs(docs: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", docs)
    path = Index(tmp_path / "index").generation / "vectors.faiss"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(IndexDamagedError, match="vectors.faiss has") as caught:
        Index(tmp_path / "index")
    assert "--rebuild" in (caught.value.hint or "")


def test_a_flipped_byte_is_found_by_its_checksum(docs: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", docs)
    index = Index(tmp_path / "index")
    assert index.damaged_files() == []
    path = index.generation / "vectors.faiss"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert Index(tmp_path / "index").damaged_files() == [str(path)]


def test_a_newer_format_and_a_damaged_manifest_are_refused(docs: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", docs)
    manifest = tmp_path / "index" / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole.replace('"format": 1', '"format": 2'))
    with pytest.raises(IndexMismatchError, match="newer"):
        Index(tmp_path / "index")
    manifest.write_text(whole.replace('"Flat"', '"Flot"'))
    with pytest.raises(IndexDamagedError):
        Index(tmp_path / "index")


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("")
    with pytest.raises(IndexNotFoundError, match="is a file"):
        Index(tmp_path / "index")
