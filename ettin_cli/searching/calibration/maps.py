"""Two monotone maps from scores to probabilities, and their fits. Pure NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.records import Flags

    Doubles = NDArray[np.float64]

# Probabilities stay off 0 and 1: judgements never prove certainty.
LEAST = 1e-6
NEWTON_STEPS = 100

Parameters = Mapping[str, Sequence[float]]


def fit_isotonic(scores: Doubles, relevant: Flags) -> Parameters:
    """Return the isotonic least-squares fit: `scores` and the `probabilities` at them.

    See Ayer et al. (1955), and Zadrozny and Elkan (2002) for probabilities. An extra pair at
    either end, with the mean relevance, keeps the outer steps off 0 and 1.
    """
    import numpy as np

    values, at = np.unique(scores, return_inverse=True)
    weights, sums = np.bincount(at).astype(np.float64), np.bincount(at, weights=relevant)
    for end in (0, -1):
        weights[end] += 1
        sums[end] += (relevant.sum() + 1) / (len(relevant) + 2)
    knots: dict[float, float] = {}
    for first, last, mean in pool_adjacent_violators(sums.tolist(), weights.tolist()):
        knots[float(values[first])] = knots[float(values[last])] = mean
    return {"scores": list(knots), "probabilities": list(knots.values())}


def pool_adjacent_violators(
    sums: Sequence[float], weights: Sequence[float]
) -> list[tuple[int, int, float]]:
    """Return the closest non-decreasing sequence, as steps of first index, last index and mean.

    >>> pool_adjacent_violators([1.0, 0.0, 1.0], [1.0, 1.0, 1.0])
    [(0, 1, 0.5), (2, 2, 1.0)]
    """
    steps: list[tuple[int, int, float, float]] = []
    for place, (total, weight) in enumerate(zip(sums, weights, strict=True)):
        first = place
        while steps and steps[-1][2] * weight >= total * steps[-1][3]:
            first, _, before, mass = steps.pop()
            total, weight = total + before, weight + mass
        steps.append((first, place, total, weight))
    return [(first, last, total / weight) for first, last, total, weight in steps]


def isotonic(parameters: Parameters, scores: Doubles) -> Doubles:
    """Return the probabilities at scores: linear between the knots, constant beyond them."""
    import numpy as np

    knots, levels = np.array(parameters["scores"]), np.array(parameters["probabilities"])
    last = len(knots) - 1
    right = np.clip(np.searchsorted(knots, scores, side="right"), min(1, last), last)
    left = np.maximum(right - 1, 0)
    width = np.where(knots[right] > knots[left], knots[right] - knots[left], 1)
    share = np.clip((scores - knots[left]) / width, 0, 1)
    # Rounding must not lift a value above the next knot.
    between = np.minimum(levels[left] + share * (levels[right] - levels[left]), levels[right])
    probabilities: Doubles = np.clip(between, LEAST, 1 - LEAST)
    return probabilities


def fit_logistic(scores: Doubles, relevant: Flags) -> Parameters:
    """Return `slope` and `intercept` of the maximum-likelihood logistic with slope >= 0.

    Platt scaling (1999), whose targets stay off 0 and 1, fitted by Newton's method with step
    halving as in Lin, Lin and Weng (2007). The likelihood is concave: if its maximum has a
    negative slope, the constrained maximum has slope 0.
    """
    import numpy as np

    positive, negative = int(relevant.sum()), int((~relevant).sum())
    targets = np.where(relevant, (positive + 1) / (positive + 2), 1 / (negative + 2))
    centre, spread = float(scores.mean()), float(scores.std())
    if not spread or scores.max() == scores.min():
        spread = 1.0
    share = float(targets.mean())
    level = np.array([0.0, math.log(share / (1 - share))])
    design = np.stack([(scores - centre) / spread, np.ones_like(scores)], axis=1)
    likeliest = _newton(design, targets, level)
    slope, height = (likeliest if likeliest[0] > 0 else level).tolist()
    return {"slope": [slope / spread], "intercept": [height - slope / spread * centre]}


def _newton(design: Doubles, targets: Doubles, start: Doubles) -> Doubles:
    """Return the logistic weights that minimise the cross-entropy with the targets."""
    import numpy as np

    def loss(weights: Doubles) -> float:
        logits = design @ weights
        return float((np.logaddexp(0, logits) - targets * logits).sum())

    weights, reached = start, loss(start)
    for _ in range(NEWTON_STEPS):
        predicted = _sigmoid(design @ weights)
        curvature = (design * (predicted * (1 - predicted))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (predicted - targets))
        while loss(weights - step) > reached and np.abs(step).max() > 1e-12:
            step = step / 2
        weights, before, reached = weights - step, reached, loss(weights - step)
        if before - reached <= 1e-12 * abs(before):
            break
    return weights


def logistic(parameters: Parameters, scores: Doubles) -> Doubles:
    """Return the probabilities at scores on the logistic curve."""
    import numpy as np

    (slope,), (intercept,) = parameters["slope"], parameters["intercept"]
    return np.clip(_sigmoid(slope * scores + intercept), LEAST, 1 - LEAST)


def _sigmoid(logits: Doubles) -> Doubles:
    import numpy as np

    probabilities: Doubles = np.exp(-np.logaddexp(0, -logits))
    return probabilities


FITS: dict[str, Callable[[Doubles, Flags], Parameters]] = {
    "logistic": fit_logistic,
    "isotonic": fit_isotonic,
}
MAPS: dict[str, Callable[[Parameters, Doubles], Doubles]] = {
    "logistic": logistic,
    "isotonic": isotonic,
}
