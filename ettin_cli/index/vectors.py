"""A FAISS file opened and searched, and vectors mapped from disk.

Inner product over unit vectors. Ids are row numbers; FAISS's types never leave this module.
Vectors are kept in half precision, and compared in single.
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

    from ettin_cli.records import Floats

    Rows = NDArray[np.int64]
    Stored = NDArray[np.float16 | np.float32]

# The factories that search exactly, whose files end with the vectors, and how those are kept.
EXACT = {"SQfp16": "float16", "Flat": "float32"}
RECALL_AT = 100
# By how much more rows FAISS is asked for than are wanted, where its vectors are compressed: the
# best are then told apart by the vectors as they are stored. FAISS's own name for it.
K_FACTOR = "k_factor"
BLOCK_ROWS = 65_536

guard_children()


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
        if name != K_FACTOR:
            faiss.ParameterSpace().set_index_parameter(index, name, value)
    return index


def to_compare(depth: int, search: Mapping[str, int]) -> int:
    """Return how many rows FAISS is asked for, so that the best `depth` are among them.

    As many at the least as recall was measured with: of a few the best are as hard to find.
    """
    return max(depth, RECALL_AT) * search[K_FACTOR] if K_FACTOR in search else depth


def nearest(index: Any, queries: Floats, depth: int) -> list[Rows]:
    """Return the rows nearest to each query, fewer than `depth` if there are fewer."""
    depth = min(depth, index.ntotal)
    if depth == 0:
        import numpy as np

        return [np.empty(0, np.int64) for _ in queries]
    hold_to_one_thread("faiss")
    _, rows = index.search(queries, depth)
    # FAISS pads with -1 when its lists hold fewer than were asked for.
    return [found[found >= 0] for found in rows]


def nearest_among(vectors: Stored, rows: Rows, queries: Floats, depth: int) -> list[Rows]:
    """Return the rows nearest to each query among `rows`, by comparing with every one of them."""
    import numpy as np

    best = [(np.empty(0, np.float32), np.empty(0, np.int64)) for _ in queries]
    for begin in range(0, len(rows), BLOCK_ROWS):
        block = rows[begin : begin + BLOCK_ROWS]
        scores = queries @ vectors[block].astype(np.float32, copy=False).T
        for at, (kept, kept_rows) in enumerate(best):
            every = np.concatenate([kept, scores[at]])
            every_row = np.concatenate([kept_rows, block])
            if len(every) > depth:
                # Few reach the score of the last that is kept, and only they need an order.
                lowest = -np.partition(-every, depth - 1)[depth - 1]
                reach = np.flatnonzero(every >= lowest)
                every, every_row = every[reach], every_row[reach]
            order = np.argsort(-every, kind="stable")[:depth]
            best[at] = every[order], every_row[order]
    return [found for _, found in best]


def inner_products(vectors: Stored, query: Floats) -> Floats:
    """Return each row's product with `query`, the same whatever the other rows are.

    A matrix product's last bits depend on the shape of the batch; a sum along the row does not,
    so equal passages get equal scores.
    """
    import numpy as np

    products: Floats = np.multiply(vectors, query, dtype=np.float32).sum(axis=1)
    return products


def exact_vectors(index: Any) -> Floats | None:
    """Return the vectors that lists or a graph were made of, in order; None if it keeps less."""
    import faiss
    import numpy as np

    hold_to_one_thread("faiss")
    inner = faiss.downcast_index(index)
    if type(inner) is faiss.IndexIVFFlat:
        inner.make_direct_map()
    elif type(inner) is not faiss.IndexHNSWFlat:
        return None
    found: Floats = np.asarray(inner.reconstruct_n(0, inner.ntotal), np.float32)
    return found


def mapped(path: Path, rows: int, dimension: int, dtype: str) -> Stored:
    """Return the last `rows` vectors of a file without reading them."""
    import numpy as np

    if rows == 0:
        return np.empty((0, dimension), dtype)
    offset = path.stat().st_size - rows * dimension * np.dtype(dtype).itemsize
    return np.memmap(path, dtype, "r", offset=offset, shape=(rows, dimension))


def release(vectors: Stored) -> None:
    """Let go of the memory that a map's pages took; what was written to them is kept.

    The system would take the pages back when it needs them, but until then they count as ours.
    """
    if isinstance(vectors.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        vectors.base.madvise(mmap.MADV_DONTNEED)
