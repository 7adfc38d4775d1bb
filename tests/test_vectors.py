"""FAISS returns the rows and values of an exhaustive comparison."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import EttinError, IndexDamagedError
from ettin_cli.index import factories, vectors as module
from ettin_cli.index.factories import build, require_factory
from ettin_cli.index.mapping import release
from ettin_cli.index.nearest import Nearest, VectorPart
from ettin_cli.index.vectors import (
    EXACT,
    K_FACTOR,
    inner_products,
    mapped,
    nearest,
    nearest_among,
    open_index,
    to_compare,
)
from tests.indexes import unit_vectors

ROWS, QUERIES, DEPTH = 1500, 6, 20
VECTORS, ASKED = unit_vectors(ROWS).astype(np.float16), unit_vectors(QUERIES, seed=6)
COMPRESSED = ["SQ8", "SQ4", "RaBitQ", "RaBitQfs", "IVF16,RaBitQ", "IVF16,SQ4", "IVF16,PQ16x4fs"]


def best(vectors: Any, queries: Any, depth: int) -> tuple[list[list[int]], Any]:
    """Return the rows and values of an exhaustive search in double precision."""
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    return order.tolist(), np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("factory", ["auto", "SQfp16", "Flat", "HNSW32", "IVF16,Flat", "SQ8"])
def test_rows_and_values_are_those_of_an_exhaustive_search(tmp_path: Path, factory: str) -> None:
    path = tmp_path / "v.faiss"
    made, search, _ = build(VECTORS, factory, path)
    index = open_index(path, search)
    found = nearest(index, ASKED, DEPTH)
    rows, values = best(VECTORS, ASKED, DEPTH)
    shares = [len({*one.tolist()} & {*all_}) / DEPTH for one, all_ in zip(found, rows, strict=True)]
    if factory in ("auto", "SQfp16", "Flat"):
        assert made == ("Flat" if factory == "Flat" else "SQfp16")
        assert [one.tolist() for one in found] == rows
        assert index.search(ASKED, DEPTH)[0] == pytest.approx(values, abs=1e-6)
    assert np.mean(shares) >= 0.9
    for query, one in zip(ASKED, found, strict=True):
        expected = VECTORS[one].astype(np.float64) @ query
        assert inner_products(VECTORS[one], query) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("rows", [0, 1, 20_000])
@pytest.mark.parametrize("factory", ["Flat", "SQfp16"])
def test_the_exact_file_is_the_one_that_faiss_would_write(
    tmp_path: Path, factory: str, rows: int
) -> None:
    vectors = unit_vectors(rows, 7) if rows else np.empty((0, 7), np.float32)
    vectors = vectors.astype(np.float16)
    made, search, recall = build(vectors, factory, tmp_path / "ours")
    assert (made, search, recall) == (factory if rows else "SQfp16", {}, 1.0)
    theirs = faiss.index_factory(7, made, faiss.METRIC_INNER_PRODUCT)
    theirs.add(vectors.astype(np.float32))
    faiss.write_index(theirs, str(tmp_path / "theirs"))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert open_index(tmp_path / "ours", {}).ntotal == rows
    assert np.array_equal(mapped(tmp_path / "ours", rows, 7, EXACT[made]), vectors)


@pytest.mark.parametrize("factory", COMPRESSED)
def test_the_best_of_a_compressed_index_are_among_those_compared_again(
    tmp_path: Path, factory: str
) -> None:
    vectors = unit_vectors(6000, 64).astype(np.float16)
    queries = unit_vectors(100, 64, seed=7)
    _, search, said = build(vectors, factory, tmp_path / "v.faiss")
    index = open_index(tmp_path / "v.faiss", search)
    found = nearest(index, queries, to_compare(100, search))
    assert {len(rows) for rows in found} == {100 * search.get("k_factor", 1)}
    again = [
        rows[np.argsort(-(vectors[rows] @ query))[:100]]
        for query, rows in zip(queries, found, strict=True)
    ]
    exact, _ = best(vectors, queries, 100)
    shares = [len({*o.tolist()} & {*b}) / 100 for o, b in zip(again, exact, strict=True)]
    assert np.mean(shares) == pytest.approx(said, abs=0.02)
    assert said >= 0.98
    bare = nearest(index, queries, 100)
    alone = [len({*o.tolist()} & {*b}) / 100 for o, b in zip(bare, exact, strict=True)]
    assert ("k_factor" in search) == (np.mean(alone) < 0.97)


def test_few_are_chosen_from_as_many_as_recall_was_measured_with() -> None:
    assert to_compare(10, {"nprobe": 4}) == 10
    assert to_compare(10, {"nprobe": 4, "k_factor": 2}) == 200
    assert to_compare(300, {"k_factor": 4}) == 1200


class Found:
    """Stands in for a tuned index, with a given recall for each depth and k_factor."""

    def __init__(self, recalls: dict[tuple[int, int], float]) -> None:
        self.recalls = recalls
        self.at = 0

    def depths(self, _: object) -> Iterator[tuple[int, dict[str, int]]]:
        for depth in sorted({depth for depth, _ in self.recalls}):
            self.at = depth
            yield depth, {"nprobe": depth}

    def recall(self, nearest: Nearest, _queries: object, _exact: object) -> float:
        return self.recalls[self.at, nearest.search[K_FACTOR]]


@pytest.mark.parametrize(
    ("recalls", "search", "recall"),
    [
        # Uncompressed vectors: a larger k_factor does not raise recall.
        ({(16, 1): 0.7, (16, 2): 0.7, (32, 1): 0.98}, {"nprobe": 32}, 0.98),
        # The product is smallest at 32 times 2.
        (
            {(16, 1): 0.4, (16, 2): 0.6, (16, 4): 0.8, (16, 8): 0.98, (32, 1): 0.5, (32, 2): 0.99}
            | {(64, 1): 0.6, (64, 2): 0.99},
            {"nprobe": 32, "k_factor": 2},
            0.99,
        ),
        # The same product, with fewer rows to compare.
        ({(16, 1): 0.9, (16, 2): 0.98, (32, 1): 0.98}, {"nprobe": 32}, 0.98),
        # No setting is enough: the greatest depth, and the smallest k_factor that helps.
        (
            {(16, 1): 0.1, (16, 2): 0.2, (16, 4): 0.2, (20, 1): 0.2, (20, 2): 0.3, (20, 4): 0.3},
            {"nprobe": 20, "k_factor": 2},
            0.3,
        ),
    ],
)
def test_the_cheapest_search_with_the_recall_wanted_is_taken(
    monkeypatch: pytest.MonkeyPatch,
    recalls: dict[tuple[int, int], float],
    search: dict[str, int],
    recall: float,
) -> None:
    found = Found(recalls)
    monkeypatch.setattr(factories, "_depths", found.depths)
    monkeypatch.setattr(factories, "_recall", found.recall)
    part = VectorPart(0, faiss.IndexFlatIP(VECTORS.shape[1]), Path())
    assert factories.tuned([part], "PQ4", VECTORS[:10]) == (search, recall)


@pytest.mark.parametrize("factory", ["IVF16,Flat", "HNSW8", "IVF8,PQ4x4", "SQ4"])
def test_the_recall_that_is_reported_is_what_queries_have_that_are_in_no_index(
    tmp_path: Path, factory: str
) -> None:
    _, search, recall = build(VECTORS, factory, tmp_path / "v.faiss")
    index = open_index(tmp_path / "v.faiss", search)
    queries = unit_vectors(400, seed=7)
    exact, _ = best(VECTORS, queries, 100)
    found = nearest(index, queries, to_compare(100, search))
    shares = [len({*o.tolist()} & {*b}) / 100 for o, b in zip(found, exact, strict=True)]
    assert recall == pytest.approx(np.mean(shares), abs=0.02)
    assert recall >= 0.98


def test_queries_that_recall_is_measured_with_are_as_far_from_passages_as_questions() -> None:
    vectors = unit_vectors(50, 384)
    queries = factories._unlike(vectors)
    assert np.linalg.norm(queries, axis=1) == pytest.approx(1, abs=1e-5)
    assert (queries * vectors).sum(axis=1) == pytest.approx(1 / 3, abs=1e-5)


@pytest.mark.parametrize("block", [100, 65_536])
def test_recall_is_measured_against_every_vector(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(factories, "BLOCK_ROWS", block)
    rows, _ = best(VECTORS, ASKED, 100)
    assert factories._exact(VECTORS, ASKED).tolist() == rows
    assert factories._exact(VECTORS[:7], ASKED).tolist() == best(VECTORS[:7], ASKED, 7)[0]


@pytest.mark.parametrize("rows", [1500, 70])
def test_the_file_of_lists_is_one_that_faiss_would_write(tmp_path: Path, rows: int) -> None:
    build(VECTORS[:rows], "IVF64,Flat", tmp_path / "ours")
    index: Any = faiss.read_index(str(tmp_path / "ours"))
    faiss.write_index(index, str(tmp_path / "theirs"))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    index.make_direct_map()
    assert np.array_equal(index.reconstruct_n(0, rows), VECTORS[:rows])
    centres = index.quantizer.reconstruct_n(0, 64)
    nearest_list = np.argmax(VECTORS[:rows] @ centres.T, axis=1)
    for number in range(64):
        held = faiss.rev_swig_ptr(index.invlists.get_ids(number), index.invlists.list_size(number))
        assert held.tolist() == np.flatnonzero(nearest_list == number).tolist()


@pytest.mark.parametrize("factory", ["IVF64,Flat", "IVF8,PQ4x4", "PCA8,IVF64,Flat", "PQ4x4"])
def test_few_vectors_to_train_on_are_no_reason_for_faiss_to_write_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], factory: str
) -> None:
    build(VECTORS[:100], factory, tmp_path / "v.faiss")
    assert capfd.readouterr() == ("", "")


def test_lists_behind_a_transform_are_searched_as_deep_as_others(tmp_path: Path) -> None:
    made, search, recall = build(VECTORS, "PCA8,IVF32,Flat", tmp_path / "v.faiss")
    assert made == "PCA8,IVF32,Flat"
    assert search["nprobe"] >= 16
    assert search["k_factor"] > 1
    assert recall >= 0.98


def test_lists_that_hold_too_few_give_fewer_rows_and_no_padding(tmp_path: Path) -> None:
    build(VECTORS, "IVF64,Flat", tmp_path / "v.faiss")
    index = open_index(tmp_path / "v.faiss", {"nprobe": 1})
    assert -1 in index.search(ASKED, 200)[1]
    for rows in nearest(index, ASKED, 200):
        assert 0 < len(rows) < 200
        assert rows.min() >= 0
        assert len(set(rows.tolist())) == len(rows)


def test_more_rows_than_there_are_cannot_be_had(tmp_path: Path) -> None:
    build(VECTORS[:3], "auto", tmp_path / "v.faiss")
    found = nearest(open_index(tmp_path / "v.faiss", {}), ASKED[:1], 10)
    assert sorted(found[0].tolist()) == [0, 1, 2]
    build(VECTORS[:0], "auto", tmp_path / "none.faiss")
    assert nearest(open_index(tmp_path / "none.faiss", {}), ASKED, 10)[0].tolist() == []


@pytest.mark.parametrize("block", [1, 7, 100_000])
def test_a_narrowed_search_is_the_same_whatever_its_blocks(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", block)
    among = np.arange(3, ROWS, 31)
    rows, _ = best(VECTORS[among], ASKED, 9)
    found = nearest_among(VECTORS, among, ASKED, 9)
    assert [one.tolist() for one in found] == [among[one].tolist() for one in rows]
    assert nearest_among(VECTORS, among[:2], ASKED, 9)[0].size == 2
    assert nearest_among(VECTORS, among[:0], ASKED, 9)[0].size == 0


def test_equal_vectors_come_in_the_order_of_their_rows_with_equal_scores() -> None:
    vectors = unit_vectors(9, 384)
    vectors[[2, 5, 8]] = vectors[2]
    query = unit_vectors(1, 384, seed=8)[0]
    scores = inner_products(vectors, query)
    assert scores[2] == scores[5] == scores[8]
    (found,) = nearest_among(vectors, np.arange(9), vectors[[2]], 3)
    assert found.tolist() == [2, 5, 8]


def test_auto_takes_lists_where_exact_search_would_be_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factories, "SLOW_SEARCH_S", -1.0)
    made, search, recall = build(VECTORS, "auto", tmp_path / "v.faiss")
    assert made == "IVF128,Flat"
    assert search["nprobe"] <= 128
    assert recall >= 0.98


@pytest.mark.parametrize(("rows", "made"), [(1, "SQfp16"), (15, "SQfp16"), (16, "IVF16,Flat")])
def test_auto_takes_no_more_lists_than_there_are_vectors_on_a_machine_however_busy(
    rows: int, made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factories, "SLOW_SEARCH_S", -1.0)
    assert build(VECTORS[:rows], "auto", tmp_path / "v.faiss")[0] == made


def test_how_slow_exact_search_is_grows_with_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert factories._seconds_a_query(VECTORS, tmp_path / "v.faiss") == 1.0
    monkeypatch.setattr(factories, "TIMED_ROWS", ROWS // 10)
    assert factories._seconds_a_query(VECTORS, tmp_path / "v.faiss") == 10.0
    assert factories._seconds_a_query(VECTORS[:0], tmp_path / "v.faiss") == 0.0


@pytest.mark.parametrize(
    ("factory", "rows"),
    [("IVF64,Flat", 20), ("IDMap,Flat", 50), ("PQ4x8", 20), ("IVF64,RaBitQ", 20)],
)
def test_what_faiss_cannot_build_is_said_in_a_line(tmp_path: Path, factory: str, rows: int) -> None:
    with pytest.raises(EttinError) as caught:
        build(VECTORS[:rows], factory, tmp_path / "v.faiss")
    assert caught.value.problem.startswith(f"cannot build the FAISS index {factory!r} over {rows} ")
    assert "\n" not in caught.value.problem
    assert hint_of(caught.value) == "use --factory auto"


@pytest.mark.parametrize("factory", ["Flot", "", "PQ7", "LSH"])
def test_what_faiss_does_not_know_is_said_without_any_vector(factory: str) -> None:
    with pytest.raises(EttinError) as caught:
        require_factory(factory, 32)
    start = f"cannot build the FAISS index {factory!r} over 32 dimensions: "
    assert caught.value.problem.startswith(start)
    assert "\n" not in caught.value.problem
    assert hint_of(caught.value) == "use --factory auto"
    for known in ("auto", "Flat", "IVF64,Flat", "PQ8"):
        require_factory(known, 32)


@pytest.mark.parametrize(
    ("factory", "few"),
    [
        *[("IVF0,Flat", "0"), ("IVF00,SQ8", "00"), ("HNSW0", "0"), ("PQ4x0", "0")],
        *[("OPQ4_0,PQ4", "0"), ("HNSW1", "HNSW1"), ("IVF4_HNSW1,Flat", "HNSW1")],
    ],
)
def test_what_would_end_the_process_inside_faiss_is_refused(factory: str, few: str) -> None:
    with pytest.raises(EttinError) as caught:
        require_factory(factory, 32)
    assert caught.value.problem.endswith(f"{factory!r} over 32 dimensions: {few} is too few")
    for known in ("HNSW10", "HNSW16", "PQ4x10", "IVF100,Flat"):
        require_factory(known, 40)


@pytest.mark.parametrize("factory", ["Flat", "HNSW8"])
def test_a_disk_that_fills_up_is_an_error_of_the_system(tmp_path: Path, factory: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "v.faiss").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        build(VECTORS, factory, tmp_path / "v.faiss")


def test_a_file_that_faiss_cannot_read_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "index" / "generations" / "000001-00000000" / "vectors.faiss"
    path.parent.mkdir(parents=True)
    for content in (b"", b"IxFI", b"nonsense" * 20):
        path.write_bytes(content)
        with pytest.raises(IndexDamagedError, match="vectors.faiss is damaged") as caught:
            open_index(path, {})
        assert hint_of(caught.value) == f"ettin verify -i {tmp_path / 'index'} --repair"


def test_what_is_written_to_a_map_is_kept_when_its_memory_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "v.f32"
    path.write_bytes(bytes(4 * 3000 * 8))
    vectors = np.memmap(path, np.float32, "r+", shape=(3000, 8))
    vectors[:] = unit_vectors(3000, 8)
    release(vectors)
    assert np.array_equal(vectors, unit_vectors(3000, 8))
    vectors.flush()
    assert np.array_equal(mapped(path, 3000, 8, "float32"), unit_vectors(3000, 8))
    assert mapped(path, 0, 8, "float16").shape == (0, 8)
    release(unit_vectors(3))
