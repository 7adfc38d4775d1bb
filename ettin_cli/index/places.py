"""Where the rows of an index are in its parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index.vectors import Rows


class Places:
    """Consecutive numbers that are divided among parts, such as rows among shards.

    Args:
        sizes: How many each part has.

    >>> places = Places([3, 0, 2])
    >>> [(part, at.tolist(), own.tolist()) for part, at, own in places.split([4, 0, 2])]
    [(0, [1, 2], [0, 2]), (2, [0], [1])]
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        import numpy as np

        self.begins: NDArray[np.int64] = np.cumsum([0, *sizes], dtype=np.int64)

    def __len__(self) -> int:
        return int(self.begins[-1])

    def split(self, numbers: Rows | Sequence[int]) -> Iterator[tuple[int, Rows, Rows]]:
        """Yield each part that has some of the numbers, their positions, and their numbers in it.

        Raises:
            IndexError: No part has one of the numbers.
        """
        import numpy as np

        wanted = np.asarray(numbers, np.int64)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"not all of {len(wanted)} numbers are below {len(self)}")
        parts = np.searchsorted(self.begins, wanted, side="right") - 1
        order = np.argsort(parts, kind="stable")
        for at in np.split(order, np.flatnonzero(np.diff(parts[order])) + 1):
            if len(at):
                part = int(parts[at[0]])
                yield part, at, wanted[at] - self.begins[part]
