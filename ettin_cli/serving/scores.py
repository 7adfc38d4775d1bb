"""The scale of the scores that are answered."""

from __future__ import annotations

import math
from typing import Literal

Scale = Literal["sigmoid", "raw"]


def scaled(score: float, scale: Scale) -> float:
    """Return a reranker's score on a scale.

    `sigmoid` is between 0 and 1, which many clients need: they leave out what is below 0, or take
    scores for probabilities. It keeps the order, but is no probability.

    >>> scaled(0.0, "sigmoid"), scaled(-2.5, "raw")
    (0.5, -2.5)
    """
    if scale == "raw":
        return score
    if score >= 0:
        return 1 / (1 + math.exp(-score))
    exponential = math.exp(score)
    return exponential / (1 + exponential)
