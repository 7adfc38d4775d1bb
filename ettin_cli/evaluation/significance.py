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
# Up to so many queries with a difference, all combinations of signs are tried.
EXACT = 15
# Numbers drawn at once: 100,000 queries stay below 100 MB.
CHUNK = 1 << 22
# Sums that differ by less, as a share of all there is to sum, are equal but for rounding.
ROUNDING = 1e-10


@dataclass(frozen=True, slots=True)
class Effect:
    """A mean difference as judged together with those of other systems.

    Args:
        p: Two-sided, corrected for the number of systems.
        interval: Simultaneous confidence interval of the mean difference. It excludes 0 if and
            only if `p` is below alpha.
        queries_needed: As the function of this name says.
    """

    p: float
    interval: tuple[float, float]
    queries_needed: int | None


def effects(differences: Sequence[Sequence[float]], *, seed: int) -> list[Effect]:
    """Return p-values and 95 % intervals of mean differences, corrected for how many there are.

    If a system were like what it is compared with, each query's difference could as well have the
    other sign. Signs are flipped query by query, for all systems alike, so that what systems have
    in common is kept. `p` is the share of flips whose largest |t| among all systems is at least
    the system's own |t|; for a single system it is that of the plain randomisation test. The
    intervals are mean +- c standard errors, with c the largest |t| that has p >= ALPHA: the
    chance that all of them hold is 95 %, and they agree with the p-values by construction.

    All signs are tried where up to EXACT queries have a difference; else SAMPLES of them, and
    what was observed counts as one more, so that p is never 0 (Phipson and Smyth 2010).

    Args:
        differences: For each system one value a query, the queries in the same order.

    Raises:
        ValueError: There is no query, or a difference is not finite.

    >>> [effect.p for effect in effects([[0.1, 0.2, 0.1], [0.1, 0.2, -0.1]], seed=1)]
    [0.5, 1.0]
    """
    import numpy as np

    if not differences:
        return []
    values = np.stack([_checked(one) for one in differences])
    if not values.shape[1]:
        raise ValueError("no differences")
    # |t| rises with |sum| / root of the sum of squares, which no flip changes.
    roots = np.sqrt((values**2).sum(axis=1))
    scaled = values[:, values.any(axis=0)] / np.where(roots, roots, 1)[:, None]
    flips = _largest(scaled, seed)
    observed = abs(scaled.sum(axis=1))
    least = observed - ROUNDING * abs(scaled).sum(axis=1)
    reached = np.array([(flips >= one).sum() for one in least])
    # Sampled flips count the observed signs as one more.
    more = 0 if scaled.shape[1] <= EXACT else 1
    p = (reached + more) / (len(flips) + more)
    place = max(1, math.ceil(ALPHA * (len(flips) + more) - 1e-9) - more)
    critical = float(np.sort(flips)[-place])
    return [
        Effect(
            float(one),
            _interval(row, critical, differs=bool(one < ALPHA)),
            queries_needed(row, critical=critical),
        )
        for one, row in zip(p, values, strict=True)
    ]


def _interval(values: Doubles, critical: float, *, differs: bool) -> tuple[float, float]:
    """Return the interval whose half-width is the critical value times the standard error.

    Args:
        critical: As the sum over the root of the sum of squares.
        differs: Whether 0 is to be outside, which rounding must not change.
    """
    count, mean = len(values), float(values.mean())
    spare = count - critical**2
    if count > 1 and spare > ROUNDING * count:
        t = critical * math.sqrt((count - 1) / spare)
        half = t * float(values.std(ddof=1)) / math.sqrt(count)
    else:
        # So few queries that no t is too large to be chance: the spread around 0 is what is known.
        half = critical * math.sqrt(float(values @ values)) / count
    half = half if differs else max(half, abs(mean))
    return mean - half, mean + half


def queries_needed(
    differences: Sequence[float] | Doubles, *, power: float = 0.8, critical: float = 0.0
) -> int | None:
    """Return about how many queries would show an effect of this size; None if there is none.

    A paired two-sided test at ALPHA would then find it with a chance of `power`, taking means as
    normal (Sakai 2016, Information Retrieval Journal 19). Never fewer than the randomisation
    test needs for any p up to ALPHA.

    Args:
        critical: The statistic, in standard errors, from which a correction for several systems
            calls an effect significant, where that is more than for one system.

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
    """Return for each flip of the queries' signs the largest statistic among the systems."""
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
    """Yield how many samples of this many numbers to draw at once, until all are drawn."""
    rows = max(1, CHUNK // width)
    for start in range(0, SAMPLES, rows):
        yield min(rows, SAMPLES - start)
