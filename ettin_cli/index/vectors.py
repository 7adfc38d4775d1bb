"""Vectors -> a FAISS file and back: build, open, search, and how exact a search is.

Inner product over unit vectors. Ids are row numbers; FAISS's types never leave this module.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import EttinError
from ettin_cli.index.manifest import damaged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

    Rows = NDArray[np.int64]

EXACT = "Flat"
BLOCK_ROWS = 65_536
RECALL_AT = 100
RECALL_QUERIES = 100
RECALL_WANTED = 0.99
SLOW_SEARCH_S = 0.25
TRAINING_ROWS_A_LIST = 64
WRITTEN_ROWS = 8192
TIMED_ROWS = 16_384
# Where FAISS's header of an exact index says how many rows it has.
ROWS_AT = 8
MOST_VISITED = 2048


def build(vectors: Floats, factory: str, path: Path) -> tuple[str, dict[str, int], float]:
    """Write the FAISS index of `vectors` and say how exact it is.

    `auto` is exact search for as long as one query takes less than a quarter of a second here,
    measured; beyond that inverted lists, searched as deep as 99 % recall needs.

    Returns:
        The factory string, the search parameters, and recall of the exact top 100.

    Raises:
        EttinError: FAISS does not know the factory string, or has too few vectors to train it.
    """
    if factory == "auto":
        slow = _seconds_a_query(vectors) > SLOW_SEARCH_S
        factory = f"IVF{_lists(len(vectors))},Flat" if slow else EXACT
    if factory == EXACT:
        _write_exact(vectors, path)
        return EXACT, {}, 1.0
    index = _filled(vectors, factory)
    search, recall = _tuned(index, vectors)
    _write(index, path)
    return factory, search, recall


def _write_exact(vectors: Floats, path: Path) -> None:
    """Write FAISS's file of an exact index, block by block: it is a header before the vectors.

    FAISS itself would first copy all the vectors into memory.
    """
    import faiss

    rows, dimension = vectors.shape
    header = bytearray(faiss.serialize_index(faiss.IndexFlatIP(dimension)).tobytes())
    struct.pack_into("<q", header, ROWS_AT, rows)
    struct.pack_into("<Q", header, len(header) - 8, rows * dimension)
    with path.open("wb") as file:
        file.write(header)
        for begin in range(0, rows, WRITTEN_ROWS):
            file.write(vectors[begin : begin + WRITTEN_ROWS].data)
            release(vectors)
    if open_index(path, {}).ntotal != rows:
        raise EttinError("this FAISS has another file format", hint="pip install faiss-cpu==1.15.1")


def _write(index: Any, path: Path) -> None:
    """Write through Python's own file, which notices that a disk is full when it closes, too."""
    import faiss

    with path.open("wb") as file:
        writer = faiss.PyCallbackIOWriter(file.write)  # type: ignore[attr-defined]
        faiss.write_index(index, writer)


def open_index(path: Path, search: Mapping[str, int]) -> Any:
    """Return FAISS's index, memory-mapped where its kind can be.

    Raises:
        IndexDamagedError: FAISS cannot read the file.
    """
    import faiss

    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
    except (RuntimeError, MemoryError) as error:
        raise damaged(path) from error
    for name, value in search.items():
        faiss.ParameterSpace().set_index_parameter(index, name, value)
    return index


def nearest(index: Any, queries: Floats, depth: int) -> list[Rows]:
    """Return the rows nearest to each query, fewer than `depth` if there are fewer."""
    depth = min(depth, index.ntotal)
    if depth == 0:
        import numpy as np

        return [np.empty(0, np.int64) for _ in queries]
    _, rows = index.search(queries, depth)
    # FAISS pads with -1 when its lists hold fewer than were asked for.
    return [found[found >= 0] for found in rows]


def nearest_among(vectors: Floats, rows: Rows, queries: Floats, depth: int) -> list[Rows]:
    """Return the rows nearest to each query among `rows`, by comparing with every one of them."""
    import numpy as np

    best = [(np.empty(0, np.float32), np.empty(0, np.int64)) for _ in queries]
    for begin in range(0, len(rows), BLOCK_ROWS):
        block = rows[begin : begin + BLOCK_ROWS]
        scores = queries @ vectors[block].T
        for at, (kept, kept_rows) in enumerate(best):
            every = np.concatenate([kept, scores[at]])
            every_row = np.concatenate([kept_rows, block])
            order = np.argsort(-every, kind="stable")[:depth]
            best[at] = every[order], every_row[order]
    return [found for _, found in best]


def inner_products(vectors: Floats, query: Floats) -> Floats:
    """Return each row's product with `query`, the same whatever the other rows are.

    A matrix product's last bits depend on the shape of the batch; a sum along the row does not,
    so equal passages get equal scores.
    """
    import numpy as np

    products: Floats = np.multiply(vectors, query, dtype=np.float32).sum(axis=1)
    return products


def stored_vectors(index: Any, path: Path) -> Floats:
    """Return the vectors that an exact index holds, mapped from the end of its file."""
    return mapped(path, index.ntotal, index.d)


def mapped(path: Path, rows: int, dimension: int) -> Floats:
    """Return the last `rows` vectors of a file without reading them."""
    import numpy as np

    if rows == 0:
        return np.empty((0, dimension), np.float32)
    offset = path.stat().st_size - rows * dimension * 4
    return np.memmap(path, np.float32, "r", offset=offset, shape=(rows, dimension))


def release(vectors: Floats) -> None:
    """Let go of the memory that a map's pages took; what was written to them is kept.

    The system would take the pages back when it needs them, but until then they count as ours.
    """
    if isinstance(vectors.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        vectors.base.madvise(mmap.MADV_DONTNEED)


def _filled(vectors: Floats, factory: str) -> Any:
    import faiss

    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            most = max(10_000, TRAINING_ROWS_A_LIST * _lists_of(index))
            index.train(_sample(vectors, most))
        for begin in range(0, len(vectors), BLOCK_ROWS):
            index.add(vectors[begin : begin + BLOCK_ROWS])
            release(vectors)
    except (RuntimeError, AssertionError) as error:
        raise EttinError(
            f"cannot build the FAISS index {factory!r} over {len(vectors)} passages: "
            f"{_last_line(error)}",
            hint="use --factory auto",
        ) from error
    return index


def _lists_of(index: Any) -> int:
    """Return how many inverted lists an index has, behind whatever transforms its vectors."""
    import faiss

    inverted = faiss.try_extract_index_ivf(index)
    return int(inverted.nlist) if inverted else 0


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1].split(": ")[-1]


def _sample(vectors: Floats, most: int) -> Floats:
    """Return up to `most` vectors, spread evenly so that the choice is the same every time."""
    import numpy as np

    rows = np.linspace(0, len(vectors) - 1, min(most, len(vectors)), dtype=np.int64)
    return np.ascontiguousarray(vectors[rows])


def _seconds_a_query(vectors: Floats) -> float:
    """Return how long an exact search takes: the time over some rows, as it grows with them."""
    some = _filled(vectors[:TIMED_ROWS], EXACT)
    release(vectors)
    seconds = []
    for query in _sample(vectors, 5):
        began = time.perf_counter()
        some.search(query[None], RECALL_AT)
        seconds.append(time.perf_counter() - began)
    typical = sorted(seconds)[len(seconds) // 2] if seconds else 0.0
    return typical * len(vectors) / max(1, min(len(vectors), TIMED_ROWS))


def _lists(count: int) -> int:
    """Return the number of inverted lists: 4 sqrt(n) as a power of two, as FAISS's guide has it."""
    lists: int = 1 << max(4, round(4 * count**0.5).bit_length() - 1)
    return lists


def _tuned(index: Any, vectors: Floats) -> tuple[dict[str, int], float]:
    """Choose how deep to search, and measure recall over passages taken as queries."""
    import faiss

    queries = _sample(vectors, RECALL_QUERIES)
    exact = nearest_among(vectors, _all_rows(vectors), queries, RECALL_AT)
    release(vectors)
    lists = _lists_of(index)
    name, most = ("nprobe", lists) if lists else ("efSearch", MOST_VISITED)
    value = min(16, most)
    while True:
        try:
            faiss.ParameterSpace().set_index_parameter(index, name, value)
        except RuntimeError:
            # Of its kind there is nothing to search deeper.
            return {}, _recall(index, queries, exact)
        recall = _recall(index, queries, exact)
        if recall >= RECALL_WANTED or value == most:
            return {name: value}, recall
        value = min(2 * value, most)


def _all_rows(vectors: Floats) -> Rows:
    import numpy as np

    return np.arange(len(vectors), dtype=np.int64)


def _recall(index: Any, queries: Floats, exact: list[Rows]) -> float:
    found = nearest(index, queries, RECALL_AT)
    shares = [
        len(set(one.tolist()) & set(best.tolist())) / len(best)
        for one, best in zip(found, exact, strict=True)
        if len(best)
    ]
    return sum(shares) / len(shares) if shares else 1.0
