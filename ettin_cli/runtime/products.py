"""Matrix products that never wait for another thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

# OpenBLAS computes a product of so many multiplications in the calling thread. For one that takes
# microseconds, to wait for another thread on a busy machine can take a thousand times longer.
BLOCK, BLOCK_ROWS = 262_144, 16


def product(left: Floats, right: Floats) -> Floats:
    """Return the matrix product of two small matrices, computed in blocks in this thread.

    The blocks depend on the shapes alone, so that the bits do not depend on the number of threads.

    Args:
        left: Shape (rows, size).
        right: Shape (size, columns).
    """
    import numpy as np

    rows, columns = min(len(left), BLOCK_ROWS), right.shape[1]
    step = max(1, BLOCK // max(1, rows * right.shape[0]))
    if rows == len(left) and columns <= step:
        whole: Floats = left @ right
        return whole
    result = np.empty((len(left), columns), np.float32)
    for row in range(0, len(left), BLOCK_ROWS):
        for at in range(0, columns, step):
            block = left[row : row + BLOCK_ROWS] @ right[:, at : at + step]
            result[row : row + BLOCK_ROWS, at : at + step] = block
    return result
