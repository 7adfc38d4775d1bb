"""BM25 (Robertson and Zaragoza, 2009): how much a text is about a query's terms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

# How soon more of the same term stops to tell, and how much longer texts are made up for.
K1 = 1.6
B = 0.75


def inverse_frequency(texts: int, holding: int) -> float:
    """Return the weight of a term that so many of the texts hold.

    >>> inverse_frequency(10, 10) < inverse_frequency(10, 1)
    True
    """
    return math.log1p((texts - holding + 0.5) / (holding + 0.5))


def saturated(counts: NDArray[np.integer], lengths: NDArray[np.integer], mean: float) -> Floats:
    """Return what a term's count in texts is worth, as a share of the most that it can be.

    Args:
        counts: How often each text holds the term.
        lengths: Terms of each text.
        mean: Terms of a text on average.
    """
    import numpy as np

    norms = K1 * (1 - B + B * lengths.astype(np.float32) / np.float32(mean))
    worth = counts.astype(np.float32)
    worth /= worth + norms
    return worth
