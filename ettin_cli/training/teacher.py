"""The distribution of a teacher's scores, with warnings about their scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ettin_cli.training.recipe import BCE, LISTWISE

# The raw scores of the release's teacher range from about -12 to 22.
HUGE_SPREAD = 50.0


@dataclass(slots=True)
class Spread:
    """The running mean and spread of a sequence (Welford, 1962)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, value: float) -> None:
        """Add a number."""
        self.count += 1
        before = value - self.mean
        self.mean += before / self.count
        self.squares += before * (value - self.mean)
        self.low, self.high = min(self.low, value), max(self.high, value)

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return (self.squares / self.count) ** 0.5 if self.count else 0.0

    def __str__(self) -> str:
        figures = f"mean {self.mean:.3g}, standard deviation {self.deviation:.3g}"
        return f"{figures}, from {self.low:.3g} to {self.high:.3g}"


def remarks(scores: Spread, loss: str | None) -> Iterator[str]:
    """Yield the scale of the scores, and warnings about it."""
    yield f"the teacher's scores: {scores}"
    if loss == BCE:
        return
    if scores.low == scores.high and scores.count > 1:
        yield "the scores are all equal, so there is nothing to learn from them"
    elif scores.low >= 0 and scores.high <= 1 and loss != LISTWISE:
        yield (
            "the scores look like probabilities, which compress differences near 0 and 1: "
            "use the teacher's raw scores, or the loss bce"
        )
    elif scores.deviation > HUGE_SPREAD and loss != LISTWISE:
        yield "the scores vary far more than raw scores: rescale them, or use the loss listwise"
