"""Per-query differences of several systems -> p-values and intervals corrected for their number.

The test is the paired randomisation test, which Smucker, Allan and Carterette 2007 (CIKM)
recommend for retrieval. Several systems are corrected by the largest statistic among them
(Westfall and Young 1993; Carterette 2012, ACM TOIS 30, for retrieval).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

SAMPLES = 10_000
ALPHA = 0.05
# Up to this many queries with a difference, all combinations of signs are enumerated.
EXACT = 15
# Numbers drawn at once: 100,000 queries stay below 100 MB.
CHUNK = 1 << 22
# Sums that differ by less, relative to the sum of absolute values, differ only by rounding.
ROUNDING = 1e-10


@dataclass(frozen=True, slots=True)
class Effect:
    """A mean difference, tested jointly with those of other systems.

    Args:
        p: Two-sided, corrected for the number of systems.
        interval: Simultaneous confidence interval of the mean difference. It excludes 0 if and
            only if `p` is below alpha.
        queries_needed: See the function of this name.
    """

    p: float
    interval: tuple[float, float]
    queries_needed: int | None


def effects(differences: Sequence[Sequence[float]], *, seed: int) -> list[Effect]:
    """Return p-values and 95 % intervals of mean differences, corrected for their number.

    Under the null hypothesis each query's difference has either sign with equal probability.
    Signs are flipped per query, for all systems alike, which preserves the correlation between
    systems. `p` is the share of flips whose largest |t| among all systems is at least the
    system's own |t|; for a single system this is the plain randomisation test. The intervals are
    mean +- c standard errors, with c the largest |t| that has p >= ALPHA: they hold
    simultaneously with probability 95 %, and agree with the p-values by construction.

    With up to EXACT queries that differ, all sign combinations are enumerated; otherwise SAMPLES
    are drawn, and the observed one is added, so that p is never 0 (Phipson and Smyth 2010).

    Args:
        differences: For each system one value per query, in the same query order.

    Raises:
        ValueError: There is no query, or a difference is not finite.

    >>> [effect.p for effect in effects([[0.1, 0.2, 0.1], [0.1, 0.2, -0.1]], seed=1)]
    [0.5, 1.0]
    """
    import numpy as np

    if not differences:
        return []
    values = np.stack([_checked(row) for row in differences])
    if not values.shape[1]:
        raise ValueError("no differences")
    # |t| is monotone in |sum| / root of the sum of squares, and flips leave the squares unchanged.
    roots = np.sqrt((values**2).sum(axis=1))
    scaled = values[:, values.any(axis=0)] / np.where(roots, roots, 1)[:, None]
    flips = _largest(scaled, seed)
    observed = abs(scaled.sum(axis=1))
    least = observed - ROUNDING * abs(scaled).sum(axis=1)
    reached = np.array([(flips >= statistic).sum() for statistic in least])
    # The observed signs are added to sampled flips.
    more = 0 if scaled.shape[1] <= EXACT else 1
    p = (reached + more) / (len(flips) + more)
    place = max(1, math.ceil(ALPHA * (len(flips) + more) - 1e-9) - more)
    critical = float(np.sort(flips)[-place])
    return [
        Effect(
            float(value),
            _interval(row, critical, differs=bool(value < ALPHA)),
            queries_needed(row, critical=critical),
        )
        for value, row in zip(p, values, strict=True)
    ]


def _interval(values: Doubles, critical: float, *, differs: bool) -> tuple[float, float]:
    """Return the interval whose half-width is the critical value times the standard error.

    Args:
        critical: The critical value of the sum divided by the root of the sum of squares.
        differs: Whether the interval must exclude 0, whatever the rounding.
    """
    count, mean = len(values), float(values.mean())
    spare = count - critical**2
    if count > 1 and spare > ROUNDING * count:
        t = critical * math.sqrt((count - 1) / spare)
        half = t * float(values.std(ddof=1)) / math.sqrt(count)
    else:
        # Too few queries for any t to be significant: use the spread around 0.
        half = critical * math.sqrt(float(values @ values)) / count
    half = half if differs else max(half, abs(mean))
    return mean - half, mean + half


def queries_needed(
    differences: Sequence[float] | Doubles, *, power: float = 0.8, critical: float = 0.0
) -> int | None:
    """Return about how many queries would show an effect of this size; None without an effect.

    A paired two-sided test at ALPHA would then detect it with probability `power`, assuming
    normal means (Sakai 2016, Information Retrieval Journal 19). Never fewer than the
    randomisation test needs to reach p <= ALPHA.

    Args:
        critical: The critical value in standard errors after correction for several systems, if
            it exceeds that of a single system.

    Raises:
        ValueError: A difference is not finite.
    """
    values = _checked(differences)
    if len(values) < 2 or abs(values.sum()) <= ROUNDING * abs(values).sum():
        return None
    normal = NormalDist()
    distance = max(critical, normal.inv_cdf(1 - ALPHA / 2)) + normal.inv_cdf(power)
    needed = (distance * float(values.std(ddof=1) / values.mean())) ** 2
    return max(math.ceil(needed), math.ceil(1 - math.log2(ALPHA)))


def _checked(differences: Sequence[float] | Doubles) -> Doubles:
    import numpy as np

    values = np.array(differences, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a difference is not finite")
    return values


def _largest(scaled: Doubles, seed: int) -> Doubles:
    """Return the largest statistic among the systems for each flip of the queries' signs."""
    import numpy as np

    queries = scaled.shape[1]
    if queries <= EXACT:
        bits = np.arange(1 << queries)[:, None] >> np.arange(queries) & 1
        return _flipped(scaled, bits)
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            _flipped(scaled, rng.integers(2, size=(rows, queries), dtype=np.int8))
            for rows in _chunks(queries)
        ]
    )


def _flipped(scaled: Doubles, bits: NDArray[np.integer]) -> Doubles:
    largest: Doubles = abs((2 * bits - 1) @ scaled.T).max(axis=1)
    return largest


def _chunks(width: int) -> Iterator[int]:
    """Yield the sizes of the chunks in which SAMPLES rows of this width are drawn."""
    rows = max(1, CHUNK // width)
    for start in range(0, SAMPLES, rows):
        yield min(rows, SAMPLES - start)
