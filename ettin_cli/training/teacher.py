"""A teacher's scores as a student meets them: their scale, and what to say of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ettin_cli.training.recipe import BCE, LISTWISE

# The release's teacher gives raw scores from about -12 to 22.
HUGE_SPREAD = 50.0


@dataclass(slots=True)
class Spread:
    """The mean and the spread of numbers that come one by one (Welford, 1962)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, value: float) -> None:
        """Take a number in."""
        self.count += 1
        before = value - self.mean
        self.mean += before / self.count
        self.squares += before * (value - self.mean)
        self.low, self.high = min(self.low, value), max(self.high, value)

    @property
    def deviation(self) -> float:
        """Return the standard deviation."""
        return (self.squares / self.count) ** 0.5 if self.count else 0.0

    def __str__(self) -> str:
        figures = f"mean {self.mean:.3g}, spread {self.deviation:.3g}"
        return f"{figures}, from {self.low:.3g} to {self.high:.3g}"


def remarks(scores: Spread, loss: str | None) -> Iterator[str]:
    """Yield what the scale of the scores is, and what may be wrong with it."""
    yield f"the teacher's scores: {scores}"
    if loss == BCE:
        return
    if scores.low == scores.high and scores.count > 1:
        yield "they are all the same, so there is nothing to learn from them"
    elif scores.low >= 0 and scores.high <= 1 and loss != LISTWISE:
        yield (
            "they look like probabilities, which flatten the differences at both ends: "
            "take the teacher's raw scores, or the loss bce"
        )
    elif scores.deviation > HUGE_SPREAD and loss != LISTWISE:
        yield "that is far wider than raw scores are: divide them, or take the loss listwise"
