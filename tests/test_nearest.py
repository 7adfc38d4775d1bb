"""The nearest rows do not depend on ties, nor on how the rows are divided."""

import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pytest

from ettin_cli.index import vectors as module
from ettin_cli.index.nearest import SLACK, Nearest, VectorPart
from ettin_cli.index.vectors import (
    PRODUCT_ROWS,
    best_among,
    inner_products,
    nearest_among,
    open_index,
)
from tests.indexes import unit_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

ROWS, COPIES = 4000, 900


def vectors() -> "Floats":
    """Return vectors as an index stores them, many of which are equal."""
    made = unit_vectors(ROWS, 32)
    places = np.random.default_rng(2).permutation(ROWS)[: 2 * COPIES]
    made[places[:COPIES]], made[places[COPIES:]] = made[0], made[1]
    return made.astype(np.float16).astype(np.float32)


VECTORS = vectors()


def parts_of(factory: str, folder: Path, bounds: Sequence[int]) -> list[VectorPart]:
    """Return FAISS's indexes of some ranges of rows, which share what is trained."""
    trained = faiss.index_factory(32, factory, faiss.METRIC_INNER_PRODUCT)
    trained.train(VECTORS)
    search = {"nprobe": 4} if "IVF" in factory else {}
    parts = []
    for begin, end in pairwise(bounds):
        path = folder / f"{begin}-{end}.faiss"
        index = faiss.deserialize_index(faiss.serialize_index(trained))
        if begin < end:
            index.add(VECTORS[begin:end])
        faiss.write_index(index, str(path))
        parts.append(VectorPart(begin, open_index(path, search), path))
    return parts


def expected(vectors: Any, query: "Floats", depth: int) -> list[int]:
    products = inner_products(vectors, query)
    rows: list[int] = np.lexsort((np.arange(len(vectors)), -products))[:depth].tolist()
    return rows


QUERIES = [VECTORS[0], VECTORS[1], VECTORS[77], unit_vectors(1, 32, seed=3)[0]]


@pytest.mark.parametrize("factory", ["SQfp16", "Flat"])
@pytest.mark.parametrize("bounds", [[0, ROWS], [0, 7, 7, 1500, 3990, ROWS]])
def test_of_equal_rows_the_first_are_found(tmp_path: Path, factory: str, bounds: list[int]) -> None:
    near = Nearest(parts_of(factory, tmp_path, bounds), factory, {})
    for query in QUERIES:
        for depth in (1, 10, 500, 2000, 2 * ROWS):
            rows = near.candidates(query, depth)
            assert len(set(rows.tolist())) == len(rows)
            products = inner_products(VECTORS[rows], query)
            best = rows[np.lexsort((rows, -products))[:depth]]
            assert best.tolist() == expected(VECTORS, query, depth)


@pytest.mark.parametrize(
    "factory", ["SQ8", "RaBitQ", "RaBitQfs", "PQ4x4fs", "IVF16,Flat", "IVF16,SQ4"]
)
@pytest.mark.parametrize("bounds", [[0, ROWS], [0, 7, 7, 1500, 3990, ROWS]])
def test_compressed_rows_are_cut_by_score_and_row(
    tmp_path: Path, factory: str, bounds: list[int]
) -> None:
    (tmp_path / "whole").mkdir()
    [whole] = parts_of(factory, tmp_path / "whole", [0, ROWS])
    near = Nearest(parts_of(factory, tmp_path, bounds), factory, {"k_factor": 2})
    for query in QUERIES:
        scores, found = whole.faiss.search(query[None], ROWS)
        real = found[0] >= 0
        order = np.lexsort((found[0][real], -scores[0][real]))
        for depth in (1, 400):
            rows = near.candidates(query, depth)
            wanted = found[0][real][order][: 2 * max(depth, 100)]
            assert rows.tolist() == wanted.tolist()


def test_thousands_of_equal_rows_take_a_second_search_and_no_more(tmp_path: Path) -> None:
    [part] = parts_of("SQfp16", tmp_path, [0, ROWS])

    class Counting:
        """Records how many rows are asked for."""

        ntotal, asked = ROWS, list[int]()

        def search(self, query: "Floats", depth: int) -> Any:
            self.asked.append(depth)
            return part.faiss.search(query, depth)

    counting = Counting()
    near = Nearest([VectorPart(0, counting, part.path)], "SQfp16", {})
    assert len(near.candidates(VECTORS[0], 100)) >= COPIES
    assert counting.asked == [100 + SLACK, ROWS]
    counting.asked.clear()
    near.candidates(unit_vectors(1, 32, seed=3)[0], 100)
    assert counting.asked == [100 + SLACK]


def test_of_equal_rows_that_are_chosen_the_first_are_found() -> None:
    among: NDArray[np.int64] = np.arange(0, ROWS, 2)
    for query in QUERIES:
        [rows] = nearest_among(VECTORS, among, query[None], 50)
        products = inner_products(VECTORS[rows], query)
        best = rows[np.lexsort((rows, -products))[:50]].tolist()
        assert best == [int(among[at]) for at in expected(VECTORS[among], query, 50)]


@pytest.mark.parametrize("block", [1, 7, 700, ROWS])
def test_the_best_of_some_rows_do_not_depend_on_the_blocks(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(module, "PRODUCT_ROWS", block)
    monkeypatch.setattr(module, "BLOCK_ROWS", block)
    among = np.random.default_rng(4).permutation(ROWS)[:1500]
    places = np.sort(among)
    for query in QUERIES:
        for depth in (0, 1, 50, 1499, 2 * ROWS):
            rows = [int(places[at]) for at in expected(VECTORS[places], query, depth)]
            found, scores = best_among(VECTORS, among, query, depth)
            assert found.tolist() == rows
            assert scores.tobytes() == inner_products(VECTORS[rows], query).tobytes()
            if block >= 700:
                [found] = nearest_among(VECTORS, among, query[None], depth)
                assert found.tolist() == rows


def test_equal_vectors_take_the_memory_of_a_block() -> None:
    rows = 20 * PRODUCT_ROWS
    vectors = np.repeat(VECTORS[:1].astype(np.float16), rows, axis=0)
    among = np.arange(rows)
    # In half and in single precision.
    block = PRODUCT_ROWS * 32 * (2 + 4)
    tracemalloc.start()
    try:
        found, _ = best_among(vectors, among, VECTORS[0], 10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.tolist() == list(range(10))
    assert peak < 2 * block
    [found] = nearest_among(vectors, among, VECTORS[:1], 10)
    assert found.tolist() == list(range(10))
