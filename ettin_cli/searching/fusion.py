"""Fuse the scores of two retrievers into one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

    Numbers = NDArray[np.float32] | NDArray[np.float64]

# The share of dense in the score. Below a half, so that a passage that alone has a rare term comes
# before the nearest passage without it.
DENSE_SHARE = 0.499
# The number of best scores of a side that give its scale.
HEAD = 100
# A smaller range is rounding error: all passages are equally good.
LEAST_RANGE = 1e-6


class Scale(NamedTuple):
    """The scale of one side of a fusion, from a query's best scores.

    Args:
        lowest: The lowest of them, which becomes 0.
        range: The difference between the highest, which becomes 1, and the lowest.
    """

    lowest: float
    range: float

    @classmethod
    def of(cls, head: Sequence[float]) -> Scale:
        """Return the scale of the best scores, which may be in any order."""
        lowest, highest = min(head, default=0.0), max(head, default=0.0)
        size = highest - lowest
        return cls(lowest, size if size > LEAST_RANGE else 1.0)

    def above(self, scores: Numbers) -> Numbers:
        """Return scores on the scale: below 0 if they are lower than the best ones."""
        import numpy as np

        return (np.asarray(scores, np.float64) - self.lowest) / self.range


def fused(dense: Numbers, lexical: Numbers) -> Floats:
    """Return the weighted mean of both sides' scores, each on its scale.

    A passage that is not among the best of one side counts as the lowest of them. Passages that
    are among the best of neither are ordered by the same mean, which is then negative.
    """
    import numpy as np

    above = DENSE_SHARE * dense.clip(min=0) + (1 - DENSE_SHARE) * lexical.clip(min=0)
    below = DENSE_SHARE * dense.clip(max=0) + (1 - DENSE_SHARE) * lexical.clip(max=0)
    return np.where(above > 0, above, below).astype(np.float32)
