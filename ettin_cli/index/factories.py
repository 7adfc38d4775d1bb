"""Vectors -> a FAISS file: choice of index, tuning of search depth, measurement of recall.

The vectors may be mapped from a file larger than memory. They are processed in blocks, each of
which is converted to single precision for FAISS.
"""

from __future__ import annotations

import math
import re
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import EttinError, InvalidArgumentError
from ettin_cli.index.manifest import damaged
from ettin_cli.index.mapping import release, unreadable
from ettin_cli.index.nearest import Nearest, VectorPart
from ettin_cli.index.vectors import (
    BLOCK_ROWS,
    EXACT,
    K_FACTOR,
    RECALL_AT,
    is_graph,
    nearest,
    open_index,
)
from ettin_cli.runtime import hold_to_one_thread

if TYPE_CHECKING:
    from ettin_cli.index.vectors import Rows, Stored
    from ettin_cli.records import Floats

AUTO = "auto"
AUTO_EXACT = "SQfp16"
RECALL_QUERIES = 200
RECALL_WANTED = 0.98
# Cosine of a tuning query and the passage it was made from. Over 11,145 passages of SQuAD in 128
# to 512 lists, embedded by all-MiniLM-L6-v2, such queries need about as many lists as SQuAD's
# questions do; with passages as queries recall is 0.99 where the questions' is 0.89.
LIKENESS = 1 / 3
SLOW_SEARCH_S = 0.1
TRAINING_ROWS_A_LIST = 64
WRITTEN_ROWS = 8192
TIMED_ROWS = 65_536
# Offset of the number of rows in FAISS's header of an index.
ROWS_AT = 8
# FAISS's header of an empty index ends with the name of the list-size encoding and a zero.
EMPTY_LISTS_BYTES = 12
MOST_VISITED = 2048
K_FACTORS = (1, 2, 4, 8, 16, 32)
# FAISS accepts these factory strings, but building the index aborts the process.
FATAL = re.compile(r"(?<!\d)0+(?!\d)|HNSW0*1(?!\d)")


def require_divisible(factory: str) -> None:
    """Check that parts of an index of this kind answer as the whole one would.

    Raises:
        InvalidArgumentError: It is a graph.
    """
    if is_graph(factory):
        raise InvalidArgumentError(
            f"an index in shards cannot be {factory!r}: a graph of each shard finds other passages "
            "than one graph of all would; RaBitQfs takes less memory and finds the same",
            argument="factory",
            value=factory,
        )


def require_factory(factory: str, dimension: int) -> None:
    """Check that FAISS can make this kind of index, before anything is embedded for it.

    Raises:
        EttinError: FAISS does not know the factory string, or not for this dimension.
    """
    if factory != AUTO:
        _empty(factory, dimension)


def build(vectors: Stored, factory: str, path: Path) -> tuple[str, dict[str, int], float]:
    """Write the FAISS index of `vectors` and measure its recall.

    `auto` is exact search as long as the first query of a process takes less than 0.1 s, as
    measured on this machine; beyond that, inverted lists. Inexact indexes are tuned to 98 % recall:
    by search depth, and by the number of rows rescored with their stored vectors. An empty index
    is exact, whatever was requested.

    Returns:
        The factory string, the search parameters, and the recall of the exact top 100.

    Raises:
        EttinError: FAISS does not know the factory string, or has too few vectors to train it.
    """
    factory = resolved(vectors, factory, path)
    if factory in EXACT:
        _write_exact(vectors, factory, path)
        return factory, {}, 1.0
    write_codes(trained(vectors, factory), factory, vectors, path)
    search, recall = tuned([VectorPart(0, open_index(path, {}), path)], factory, vectors)
    return factory, search, recall


def resolved(vectors: Stored, factory: str, path: Path) -> str:
    """Return the factory string that `auto` stands for; that of an empty index is exact.

    Args:
        path: Where the index will be; `auto` writes a temporary one there.
    """
    hold_to_one_thread("faiss")
    if factory == AUTO:
        lists = _lists(len(vectors))
        # Each list needs a vector, however slow a busy machine is at the moment.
        slow = len(vectors) >= lists and _seconds_a_query(vectors, path) > SLOW_SEARCH_S
        factory = f"IVF{lists},Flat" if slow else AUTO_EXACT
    # An index cannot be trained without vectors.
    return factory if len(vectors) else AUTO_EXACT


def _write_exact(vectors: Stored, factory: str, path: Path) -> None:
    """Write FAISS's file of an exact index block by block: a header, then the vectors.

    FAISS itself would first copy all vectors into memory.
    """
    import faiss

    rows, dimension = vectors.shape
    header = bytearray(faiss.serialize_index(_empty(factory, dimension)).tobytes())
    struct.pack_into("<q", header, ROWS_AT, rows)
    # The length of the vectors: single precision counts numbers, half precision counts bytes.
    length = rows * dimension * (1 if factory == "Flat" else 2)
    struct.pack_into("<Q", header, len(header) - 8, length)
    with path.open("wb") as file:
        file.write(header)
        for begin in range(0, rows, WRITTEN_ROWS):
            file.write(vectors[begin : begin + WRITTEN_ROWS].astype(EXACT[factory]).data)
            release(vectors)
    _check_written(path, rows)


def _write_lists(index: Any, vectors: Stored, path: Path) -> None:
    """Write FAISS's file of uncompressed inverted lists: a header, then list by list.

    FAISS itself would first copy all vectors into memory, up to twice.
    """
    import faiss
    import numpy as np

    lists = _assigned(index, vectors)
    sizes = np.bincount(lists, minlength=index.nlist)
    header = bytearray(faiss.serialize_index(index).tobytes())
    struct.pack_into("<q", header, ROWS_AT, len(vectors))
    with path.open("wb") as file:
        file.write(header[:-EMPTY_LISTS_BYTES])
        file.write(b"full" + struct.pack("<Q", index.nlist) + sizes.astype("<u8").tobytes())
        order = np.argsort(lists, kind="stable")
        for rows in np.split(order, np.cumsum(sizes)[:-1]):
            file.write(_single(vectors[rows]).data)
            file.write(rows.astype("<i8").data)
            release(vectors)
    _check_written(path, len(vectors))


def _assigned(index: Any, vectors: Stored) -> Rows:
    """Return the inverted list that each vector belongs to."""
    import numpy as np

    lists = np.empty(len(vectors), np.int64)
    for begin in range(0, len(vectors), BLOCK_ROWS):
        block = slice(begin, begin + BLOCK_ROWS)
        lists[block] = index.quantizer.search(_single(vectors[block]), 1)[1][:, 0]
        release(vectors)
    return lists


def _check_written(path: Path, rows: int) -> None:
    if open_index(path, {}).ntotal != rows:
        raise EttinError(
            "this version of FAISS uses a different file format",
            code="missing-package",
            package="faiss-cpu==1.15.1",
        )


def trained(vectors: Stored, factory: str) -> Any:
    """Return an empty index of FAISS that is trained on some vectors.

    Raises:
        EttinError: There are too few vectors to train it.
    """
    index = _empty(factory, vectors.shape[1])
    with _as_error(factory, vectors):
        if not index.is_trained:
            most = max(10_000, TRAINING_ROWS_A_LIST * _lists_of(index))
            index.train(_sample(vectors, most))
    return index


def write_codes(index: Any, factory: str, vectors: Stored, path: Path) -> None:
    """Add vectors to an empty trained index, and write it.

    Raises:
        EttinError: FAISS cannot add them.
    """
    import faiss

    if type(index) is faiss.IndexIVFFlat:
        _write_lists(index, vectors, path)
        return
    with _as_error(factory, vectors):
        for begin in range(0, len(vectors), BLOCK_ROWS):
            index.add(_single(vectors[begin : begin + BLOCK_ROWS]))
            release(vectors)
    write_index(index, path)


def read_index(path: Path) -> Any:
    """Return an index of a file in memory, to which vectors can be added.

    Raises:
        IndexDamagedError: FAISS cannot read the file.
    """
    import faiss

    try:
        with path.open("rb") as file:
            # FAISS itself opens names in the code page on Windows.
            reader = faiss.PyCallbackIOReader(file.read)  # type: ignore[attr-defined]
            return faiss.read_index(reader)
    except OSError as error:
        raise unreadable(path, error) from error
    except (RuntimeError, MemoryError) as error:
        raise damaged(path) from error


def write_index(index: Any, path: Path) -> None:
    """Write an index; unlike FAISS's own writer, this also reports a full disk."""
    import faiss

    with path.open("wb") as file:
        writer = faiss.PyCallbackIOWriter(file.write)  # type: ignore[attr-defined]
        faiss.write_index(index, writer)


@contextmanager
def _as_error(factory: str, vectors: Stored) -> Iterator[None]:
    """Turn what FAISS raises into an error of one line."""
    try:
        yield
    except (RuntimeError, AssertionError) as error:
        raise EttinError(
            f"cannot build the FAISS index {factory!r} over {len(vectors)} passages: "
            f"{_last_line(error)}",
            code="factory-failed",
            factory=factory,
        ) from error


def _empty(factory: str, dimension: int) -> Any:
    """Return an empty index of this kind that prints no warnings to standard error."""
    import faiss

    try:
        if fatal := FATAL.search(factory):
            raise RuntimeError(f"{fatal.group()} is too few")
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, AssertionError) as error:
        raise EttinError(
            f"cannot build the FAISS index {factory!r} over {dimension} dimensions: "
            f"{_last_line(error)}",
            code="factory-failed",
            factory=factory,
        ) from error
    # FAISS itself warns on standard error if there are few vectors to train on. The effect shows
    # in the measured recall.
    for part in (index, _inverted(index)):
        for clustering in (
            getattr(part, "cp", None),
            getattr(getattr(part, "pq", None), "cp", None),
        ):
            if clustering is not None:
                clustering.min_points_per_centroid = 1
    return index


def _inverted(index: Any) -> Any:
    """Return the inverted lists of an index, unwrapped from vector transforms, or None."""
    import faiss

    inverted = faiss.try_extract_index_ivf(index)
    return faiss.downcast_index(inverted) if inverted else None


def _lists_of(index: Any) -> int:
    inverted = _inverted(index)
    return int(inverted.nlist) if inverted else 0


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1].split(": ")[-1]


def _single(vectors: Stored) -> Floats:
    """Return vectors in single precision, as FAISS requires."""
    import numpy as np

    return np.ascontiguousarray(vectors, np.float32)


def _sample(vectors: Stored, most: int) -> Floats:
    """Return up to `most` vectors, evenly spaced, so the sample is always the same."""
    import numpy as np

    rows = np.linspace(0, len(vectors) - 1, min(most, len(vectors)), dtype=np.int64)
    return _single(vectors[rows])


def _seconds_a_query(vectors: Stored, path: Path) -> float:
    """Return the time of a first exact search, when the vectors are not yet in memory.

    The time is measured on some of the rows and scaled linearly. The best of five counts, since a
    machine that is briefly busy would leave the index inexact for good.

    Args:
        path: Where the index will be; a temporary one with only those rows is written there.
    """
    some = vectors[:TIMED_ROWS]
    _write_exact(some, AUTO_EXACT, path)
    seconds = []
    for query in _sample(some, 5):
        index = open_index(path, {})
        began = time.perf_counter()
        nearest(index, query[None], RECALL_AT)
        seconds.append(time.perf_counter() - began)
    return min(seconds, default=0.0) * len(vectors) / max(1, len(some))


def _lists(count: int) -> int:
    """Return the number of inverted lists: 4 sqrt(n) as a power of two (FAISS's guideline)."""
    lists: int = 1 << max(4, round(4 * count**0.5).bit_length() - 1)
    return lists


def tuned(
    parts: Sequence[VectorPart], factory: str, vectors: Stored
) -> tuple[dict[str, int], float]:
    """Choose the search depth, and measure recall over queries that are not passages.

    Recall increases with the rows visited and with the rows rescored; doubling either doubles its
    cost. Of the combinations that reach the wanted recall, the one with the smallest product is
    chosen, and among equals the one that rescores the fewest rows.

    Args:
        parts: FAISS's indexes of all vectors.
    """
    queries = _unlike(_sample(vectors, RECALL_QUERIES))
    exact = _exact(vectors, queries)
    best: tuple[dict[str, int], float] | None = None
    least = math.inf
    for value, depth in _depths([part.faiss for part in parts]):
        k_factor, recall = _rescored(parts, factory, queries, exact)
        parameters = {**depth, K_FACTOR: k_factor} if k_factor > 1 else depth
        if recall >= RECALL_WANTED and value * k_factor <= least:
            best, least = (parameters, recall), value * k_factor
        if value >= least:
            break
    return best or (parameters, recall)


def _depths(indexes: Sequence[Any]) -> Iterator[tuple[int, dict[str, int]]]:
    """Set indexes to search deeper and deeper; yield each depth, and its parameter."""
    import faiss

    lists = _lists_of(indexes[0])
    # A graph search is at least as deep as the number of rows requested.
    name, value, most = ("nprobe", 16, lists) if lists else ("efSearch", 128, MOST_VISITED)
    value = min(value, most)
    while True:
        try:
            for index in indexes:
                faiss.ParameterSpace().set_index_parameter(index, name, value)
        except RuntimeError:
            # This kind of index has no depth parameter.
            yield 1, {}
            return
        yield value, {name: value}
        if value == most:
            return
        value = min(2 * value, most)


def _unlike(vectors: Floats) -> Floats:
    """Return queries made from vectors, each rotated away from its vector in a random direction.

    A passage finds itself and similar passages in the first lists; a question is far from any.
    """
    import numpy as np

    away = np.random.default_rng(0).standard_normal(vectors.shape, np.float32)
    away -= (away * vectors).sum(axis=1, keepdims=True) * vectors
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
    queries: Floats = LIKENESS * vectors + np.float32((1 - LIKENESS**2) ** 0.5) * away
    return queries


def _exact(vectors: Stored, queries: Floats) -> Rows:
    """Return the nearest rows of each query by exhaustive comparison."""
    import faiss
    import numpy as np

    scores = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for begin in range(0, len(vectors), BLOCK_ROWS):
        block = _single(vectors[begin : begin + BLOCK_ROWS])
        depth = min(RECALL_AT, len(block))
        some, positions = faiss.knn(queries, block, depth, faiss.METRIC_INNER_PRODUCT)
        scores, rows = np.hstack([scores, some]), np.hstack([rows, positions + begin])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :RECALL_AT]
        scores = np.take_along_axis(scores, best, axis=1)
        rows = np.take_along_axis(rows, best, axis=1)
        release(vectors)
    return rows


def _rescored(
    parts: Sequence[VectorPart], factory: str, queries: Floats, exact: Rows
) -> tuple[int, float]:
    """Return the smallest `k_factor` that reaches the wanted recall, else the best; and the recall.

    It is increased only while that helps: rescoring does not improve on uncompressed vectors.
    """
    best = 1, -1.0
    for k_factor in K_FACTORS:
        nearest = Nearest(parts, factory, {K_FACTOR: k_factor})
        recall = _recall(nearest, queries, exact)
        if recall > best[1]:
            best = k_factor, recall
        if recall >= RECALL_WANTED or best[0] != k_factor:
            break
    return best


def _recall(nearest: Nearest, queries: Floats, exact: Rows) -> float:
    """Return the mean share of the exact rows among those that are found.

    Rescoring by exact products ranks these rows first, so finding them is sufficient.
    """
    if not exact.size:
        return 1.0
    shares = [
        len(set(nearest.candidates(query, RECALL_AT).tolist()) & set(best.tolist())) / len(best)
        for query, best in zip(queries, exact, strict=True)
    ]
    return sum(shares) / len(shares)
