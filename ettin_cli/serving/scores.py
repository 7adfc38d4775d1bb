"""The scale of the scores that are answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ettin_cli.searching.calibration import Calibration

AUTO, SIGMOID, RAW, PROBABILITY = "auto", "sigmoid", "raw", "probability"
SCALES = (AUTO, SIGMOID, RAW, PROBABILITY)


@dataclass(frozen=True, slots=True)
class Scale:
    """What scores are turned into.

    `sigmoid` is between 0 and 1, which many clients need: they leave out what is below 0, or take
    scores for probabilities. It keeps the order, but is no probability.

    Args:
        name: sigmoid, raw or probability.
        calibration: For probabilities, the calibration of an index for the reranker.
    """

    name: str
    calibration: Calibration | None = None

    def of(self, scores: Sequence[float]) -> list[float]:
        """Return a reranker's scores on this scale.

        >>> Scale("sigmoid").of([0.0]), Scale("raw").of([-2.5])
        ([0.5], [-2.5])
        """
        if self.calibration is not None:
            import numpy as np

            values = np.asarray(scores, np.float32)
            return [round(one, 6) for one in self.calibration.probability(values).tolist()]
        return list(scores) if self.name == RAW else [_sigmoid(score) for score in scores]

    def to_dict(self) -> dict[str, str]:
        """Return what a client is told of the scale."""
        return {"scale": self.name}


def _sigmoid(score: float) -> float:
    if score >= 0:
        return 1 / (1 + math.exp(-score))
    exponential = math.exp(score)
    return exponential / (1 + exponential)
