"""Open and search a FAISS file, and map vectors from disk.

The metric is the inner product of unit vectors. Ids are row numbers; FAISS's types never leave
this module. Vectors are stored in half precision and compared in single precision.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.index.manifest import damaged
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
# Two ways to compute the product of the same unit vectors differ by less than half of this.
MARGIN = 4e-6

guard_children()


def open_index(path: Path, search: Mapping[str, int]) -> Any:
    """Return FAISS's index, memory-mapped if its kind supports that.

    Raises:
        IndexDamagedError: FAISS cannot read the file.
    """
    import faiss

    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
    except (RuntimeError, MemoryError) as error:
        raise damaged(path) from error
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

    Rows whose products may be as high as that of the last one, but for rounding, are included.
    """
    import numpy as np

    best = [(np.empty(0, np.float32), np.empty(0, np.int64)) for _ in queries]
    for begin in range(0, len(among), BLOCK_ROWS):
        block = among[begin : begin + BLOCK_ROWS]
        scores = queries @ vectors[block].astype(np.float32, copy=False).T
        for at, (kept, kept_rows) in enumerate(best):
            every = np.concatenate([kept, scores[at]])
            every_row = np.concatenate([kept_rows, block])
            if len(every) > depth:
                lowest = -np.partition(-every, depth - 1)[depth - 1]
                reach = np.flatnonzero(every >= lowest - MARGIN)
                every, every_row = every[reach], every_row[reach]
            best[at] = every, every_row
    return [rows[np.argsort(-scores, kind="stable")] for scores, rows in best]


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
    """Map the last `rows` vectors of a file into memory without reading them."""
    import numpy as np

    if rows == 0:
        return np.empty((0, dimension), dtype)
    offset = path.stat().st_size - rows * dimension * np.dtype(dtype).itemsize
    return np.memmap(path, dtype, "r", offset=offset, shape=(rows, dimension))


def release(vectors: Stored) -> None:
    """Release the memory taken by a map's pages; written data is kept.

    The system reclaims the pages when it needs memory, but until then they count as used by us.
    """
    for part in getattr(vectors, "parts", (vectors,)):
        if isinstance(part.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            part.base.madvise(mmap.MADV_DONTNEED)
