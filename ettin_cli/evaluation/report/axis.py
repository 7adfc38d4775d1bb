"""Axes: the coordinates of values in a chart, and round tick values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ettin_cli.evaluation.report.markup import number

LEAST_SPAN = 0.02


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values to coordinates, linearly or logarithmically."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float) -> Axis:
        """Return a linear axis with room for every value, spanning at least LEAST_SPAN."""
        finite = [value for value in values if math.isfinite(value)]
        low, high = min(finite, default=0.0), max(finite, default=0.0)
        spare = max(0.04 * (high - low), (LEAST_SPAN - (high - low)) / 2)
        return cls(low - spare, high + spare, start, end)

    @classmethod
    def by_factor(cls, values: Sequence[float], start: float, end: float, least: float) -> Axis:
        """Return an axis of amounts, logarithmic if they differ by more than a factor."""
        low, high = min(values), max(values)
        if low > 0 and high / low > least:
            return cls(low / 1.1, high * 1.1, start, end, logarithmic=True)
        even = cls.over(values, start, end)
        return replace(even, low=max(0.0, even.low))

    def at(self, value: float) -> float:
        """Return a value's coordinate."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, sign: str = "-") -> list[tuple[float, str]]:
        """Return a few round values: their coordinates and labels."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
            leading = (1, 2, 5) if self.high / self.low < 1000 else (1,)
            marks = [first * 10.0**power for power in powers for first in leading]
            return [(self.at(mark), f"{mark:g}") for mark in marks if self.low < mark < self.high]
        rough = (self.high - self.low) / 5
        power = math.floor(math.log10(rough))
        step = next(n for n in (1, 2, 5, 10) if n * 10.0**power >= rough) * 10.0**power
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        # With tolerance, since 1 / 0.2 may round to less than 5.
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        marks = [at * step for at in range(first, last + 1)]
        return [(self.at(mark), number(mark, digits, sign)) for mark in marks]
