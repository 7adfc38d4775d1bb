"""Open and search a FAISS file, and map vectors from disk.

The metric is the inner product of unit vectors. Ids are row numbers; FAISS's types never leave
this module. Vectors are stored in half precision and compared in single precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.index.manifest import damaged
from ettin_cli.index.mapping import mapped_numbers, read_in_parts, unreadable
from ettin_cli.runtime import guard_children, hold_to_one_thread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index.joined_passages import JoinedVectors
    from ettin_cli.records import Floats

    Rows = NDArray[np.int64]
    Stored = NDArray[np.float16 | np.float32]

# The exact factories and the dtype of their vectors, with which the file ends.
EXACT = {"SQfp16": "float16", "Flat": "float32"}
RECALL_AT = 100
# Oversampling factor for compressed vectors: FAISS returns this many times the requested rows,
# and the stored vectors rank them. The name is FAISS's.
K_FACTOR = "k_factor"
BLOCK_ROWS = 65_536
# Rows whose exact products are computed at once.
PRODUCT_ROWS = 8192
# Two ways to compute the product of the same unit vectors differ by less than half of this.
MARGIN = 4e-6

guard_children()


def open_index(path: Path, search: Mapping[str, int], factory: str = "") -> Any:
    """Return FAISS's index, memory-mapped if its kind supports that.

    Args:
        factory: Its kind: of a graph or lists only what is visited is read from disk.

    Raises:
        IndexDamagedError: FAISS cannot read the file, although the system can.
        EttinError: The system cannot read the file.
    """
    import faiss
    import numpy as np

    # FAISS opens names in the code page on Windows, and cannot map files on every system.
    content = mapped_numbers(path, np.dtype(np.uint8))
    if is_graph(factory) or "IVF" in factory:
        # Others are read from end to end.
        read_in_parts(content)
    view = faiss.swig_ptr(content)
    reader = faiss.ZeroCopyIOReader(view, content.size)  # type: ignore[attr-defined]
    try:
        index: Any = faiss.read_index(reader, faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
    except (RuntimeError, MemoryError) as error:
        raise damaged(path) from error
    # FAISS only points to the mapped content.
    index.referenced_objects = [content]
    for name, value in search.items():
        if name != K_FACTOR:
            faiss.ParameterSpace().set_index_parameter(index, name, value)
    return index


def to_compare(depth: int, search: Mapping[str, int]) -> int:
    """Return the number of rows to request from FAISS, so that the best `depth` are among them.

    At least the number that recall was measured with, since a smaller top is as hard to find.
    """
    return max(depth, RECALL_AT) * search[K_FACTOR] if K_FACTOR in search else depth


def is_graph(factory: str) -> bool:
    """Return whether a FAISS index of this kind is a graph, which is searched from node to node.

    >>> is_graph("HNSW32,Flat"), is_graph("PCA64,NSG16"), is_graph("IVF1024_HNSW32,SQ8")
    (True, True, False)
    """
    return any(part.startswith(("HNSW", "NSG")) for part in factory.split(","))


def nearest(index: Any, queries: Floats, depth: int) -> list[Rows]:
    """Return the nearest rows of each query; fewer than `depth` if the index has fewer."""
    depth = min(depth, index.ntotal)
    if depth == 0:
        import numpy as np

        return [np.empty(0, np.int64) for _ in queries]
    hold_to_one_thread("faiss")
    _, rows = index.search(queries, depth)
    # FAISS pads with -1 when the visited lists contain fewer rows than requested.
    return [row[row >= 0] for row in rows]


def nearest_among(
    vectors: Stored | JoinedVectors, among: Rows, queries: Floats, depth: int
) -> list[Rows]:
    """Return the nearest rows of each query among some, by exhaustive comparison.

    Of rows with equal inner products, the first are returned.
    """
    import numpy as np

    if depth <= 0:
        return [np.empty(0, np.int64) for _ in queries]
    found = [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries]
    for begin in range(0, len(among), BLOCK_ROWS):
        block = among[begin : begin + BLOCK_ROWS]
        products = queries @ vectors[block].astype(np.float32, copy=False).T
        for at, (kept, kept_scores) in enumerate(found):
            # What is below is not among the best by its exact product either.
            lowest = kept_scores[-1] if len(kept) == depth else -np.inf
            if len(block) > depth:
                lowest = max(lowest, -np.partition(-products[at], depth - 1)[depth - 1])
            reach = np.flatnonzero(products[at] >= lowest - MARGIN)
            own, scores = best_among(vectors, block[reach], queries[at], depth)
            rows = np.concatenate([kept, own])
            scores = np.concatenate([kept_scores, scores])
            order = np.lexsort((rows, -scores))[:depth]
            found[at] = rows[order], scores[order]
    return [rows for rows, _ in found]


def best_among(
    vectors: Stored | JoinedVectors, rows: Rows, query: Floats, depth: int
) -> tuple[Rows, Floats]:
    """Return the best of some rows and their inner products, best first; of equal ones the first.

    The products are computed in blocks, since there may be any number of equal vectors.
    """
    import numpy as np

    best, scores = np.empty(0, np.int64), np.empty(0, np.float32)
    for begin in range(0, len(rows), PRODUCT_ROWS):
        block = rows[begin : begin + PRODUCT_ROWS]
        best = np.concatenate([best, block])
        scores = np.concatenate([scores, inner_products(vectors[block], query)])
        order = np.lexsort((best, -scores))[:depth]
        best, scores = best[order], scores[order]
    return best, scores


def inner_products(vectors: Stored, query: Floats) -> Floats:
    """Return the product of each row with `query`, independent of the other rows.

    The last bits of a matrix product depend on the batch shape. A sum along the row does not, so
    equal passages get equal scores.
    """
    import numpy as np

    products: Floats = np.multiply(vectors, query, dtype=np.float32).sum(axis=1)
    return products


def exact_vectors(index: Any) -> Floats | None:
    """Return the original vectors of lists or a graph, in order; None if they are compressed."""
    import faiss
    import numpy as np

    hold_to_one_thread("faiss")
    inner = faiss.downcast_index(index)
    if type(inner) is faiss.IndexIVFFlat:
        inner.make_direct_map()
    elif type(inner) is not faiss.IndexHNSWFlat:
        return None
    vectors: Floats = np.asarray(inner.reconstruct_n(0, inner.ntotal), np.float32)
    return vectors


def mapped(path: Path, rows: int, dimension: int, dtype: str) -> Stored:
    """Map the last `rows` vectors of a file into memory without reading them.

    Raises:
        IndexDamagedError: The file is missing, or too short.
        EttinError: It cannot be read.
    """
    import numpy as np

    if rows == 0:
        return np.empty((0, dimension), dtype)
    kind = np.dtype(dtype)
    try:
        offset = path.stat().st_size - rows * dimension * kind.itemsize
    except OSError as error:
        raise unreadable(path, error) from error
    if offset < 0:
        raise damaged(path)
    return mapped_numbers(path, kind, offset, rows * dimension).reshape(rows, dimension)
