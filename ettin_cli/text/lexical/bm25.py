"""BM25 (Robertson and Zaragoza, 2009): term weights and saturation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

# Saturation of term frequency, and length normalisation.
K1 = 1.6
B = 0.75


def inverse_frequency(texts: int, holding: int) -> float:
    """Return the inverse document frequency of a term that occurs in `holding` of `texts` texts.

    >>> inverse_frequency(10, 10) < inverse_frequency(10, 1)
    True
    """
    return math.log1p((texts - holding + 0.5) / (holding + 0.5))


def saturated(counts: NDArray[np.integer], lengths: NDArray[np.integer], mean: float) -> Floats:
    """Return the saturated term frequency in each text, as a share of its maximum.

    Args:
        counts: Occurrences of the term in each text.
        lengths: Number of terms of each text.
        mean: Mean number of terms of a text.
    """
    return saturated_by(counts, length_norms(lengths, mean))


def length_norms(lengths: NDArray[np.integer], mean: float) -> Floats:
    """Return how much the length of each text lowers its term frequencies; see `saturated`."""
    import numpy as np

    return K1 * (1 - B + B * lengths.astype(np.float32) / np.float32(mean))


def saturated_by(counts: NDArray[np.integer], norms: Floats) -> Floats:
    """Return the saturated term frequency in each text, given its `length_norms`."""
    import numpy as np

    worth = counts.astype(np.float32)
    worth /= worth + norms
    return worth
