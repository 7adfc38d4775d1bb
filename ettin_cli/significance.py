"""Differences between two systems, query by query -> whether they are more than chance.

Smucker, Allan and Carterette 2007 (CIKM) compare these tests for retrieval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

SAMPLES = 10_000
# So many differences that are not 0 have few enough signs to try them all.
EXACT = 15
# Numbers drawn at once: 100,000 queries stay below 100 MB.
CHUNK = 1 << 22
# Sums that differ by less, as a share of all there is to sum, are equal but for rounding.
ROUNDING = 1e-10


def bootstrap_interval(
    differences: Sequence[float], *, confidence: float = 0.95, seed: int
) -> tuple[float, float]:
    """Return the ends of the percentile bootstrap interval of the mean difference.

    Efron 1979: the mean is taken anew over queries drawn with replacement.

    Raises:
        ValueError: There is no difference, or one is not finite.
    """
    import numpy as np

    values = _checked(differences)
    if not len(values):
        raise ValueError("no differences")
    rng = np.random.default_rng(seed)
    means = [
        values[rng.integers(len(values), size=(rows, len(values)), dtype=np.int32)].mean(axis=1)
        for rows in _chunks(len(values))
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def randomisation_p(differences: Sequence[float], *, seed: int) -> float:
    """Return the two-sided p-value of the paired randomisation test of the mean difference.

    If the systems were alike, each difference could as well have the other sign: p is the share
    of signs that give a mean at least as far from 0. All signs are tried where up to EXACT
    differences are not 0; else SAMPLES of them, and what was observed counts as one more, so
    that p is never 0 (Phipson and Smyth 2010).

    Raises:
        ValueError: A difference is not finite.

    >>> randomisation_p([0.1, 0.2, 0.1], seed=1)
    0.25
    """
    import numpy as np

    values = _checked(differences)
    values = values[values != 0]
    if not len(values):
        return 1.0
    least = abs(values.sum()) - ROUNDING * np.abs(values).sum()
    if len(values) <= EXACT:
        bits = np.arange(1 << len(values))[:, None] >> np.arange(len(values)) & 1
        return float((_flipped_sums(values, bits) >= least).mean())
    rng = np.random.default_rng(seed)
    reached = sum(
        int(
            (
                _flipped_sums(values, rng.integers(2, size=(rows, len(values)), dtype=np.int8))
                >= least
            ).sum()
        )
        for rows in _chunks(len(values))
    )
    return (reached + 1) / (SAMPLES + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for how many there are, in their order.

    Holm's (1979) step-down method: rejecting those up to alpha keeps the chance of any false
    rejection at alpha, whatever the tests have in common.

    >>> holm([0.01, 0.5, 0.02])
    [0.03, 0.5, 0.04]
    """
    adjusted, highest = list(p_values), 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for done, at in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - done) * p_values[at]))
        adjusted[at] = highest
    return adjusted


def queries_needed(
    differences: Sequence[float], *, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return about how many queries would show an effect of this size; None if there is none.

    A paired two-sided test at `alpha` would then find it with a chance of `power`, taking means
    as normal (Sakai 2016, Information Retrieval Journal 19). Never fewer than the randomisation
    test needs for any p up to `alpha`.

    Raises:
        ValueError: A difference is not finite.
    """
    values = _checked(differences)
    if len(values) < 2 or abs(values.sum()) <= ROUNDING * abs(values).sum():
        return None
    normal = NormalDist()
    distance = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    needed = (distance * float(values.std(ddof=1) / values.mean())) ** 2
    return max(math.ceil(needed), math.ceil(1 - math.log2(alpha)))


def _checked(differences: Sequence[float]) -> Doubles:
    import numpy as np

    values = np.array(differences, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a difference is not finite")
    return values


def _flipped_sums(values: Doubles, bits: NDArray[np.integer]) -> Doubles:
    """Return how far from 0 the sum is for each row of signs."""
    sums: Doubles = abs((2 * bits - 1) @ values)
    return sums


def _chunks(width: int) -> Iterator[int]:
    """Yield how many samples of this many numbers to draw at once, until all are drawn."""
    rows = max(1, CHUNK // width)
    for start in range(0, SAMPLES, rows):
        yield min(rows, SAMPLES - start)
