"""Charts as inline SVG, labelled directly; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from ettin_cli.evaluation.report.axis import Axis
from ettin_cli.evaluation.report.markup import (
    dot,
    label,
    number,
    path,
    stroke,
    svg,
)
from ettin_cli.evaluation.results import Comparison, Measured, System
from ettin_cli.evaluation.significance import ALPHA
from ettin_cli.text import Markup, element

LEFT, TOP, BOTTOM, HEIGHT = 52.0, 12.0, 190.0, 228.0
WIDE, NARROW = 360.0, 300.0
WORDS = 70.0  # room for names at the end of a line
BAR = 120.0
SHIFT = 5.0  # so that the intervals of two blends do not overlap
RERANKERS, BLENDS = 9, 4

Line = Sequence[Comparison]
TimedSystem = tuple[Measured, float]


def named(system: System) -> str:
    """Return the name of a system on the page."""
    return f"{system.retriever or 'retrieval'} alone" if system.alone else str(system)


def tone(comparison: Comparison) -> str:
    """Return "gain" or "loss" if the difference is significant, else "unsure"."""
    if not comparison.p < ALPHA or not comparison.gain:
        return "unsure"
    return "gain" if comparison.gain > 0 else "loss"


def gains_axis(comparisons: Iterable[Comparison], start: float, end: float) -> Axis:
    """Return an axis that includes zero and every gain with its interval."""
    ends = [
        value for comparison in comparisons for value in (comparison.gain, *comparison.interval)
    ]
    return Axis.over([0.0, *ends], start, end)


def row_axis(comparisons: Iterable[Comparison]) -> Axis:
    """Return the axis that the intervals of a table's rows share."""
    return gains_axis(comparisons, 6, BAR - 6)


def interval(comparison: Comparison, across: Axis) -> Markup:
    """Return a gain and its interval as a dot on a bar, for a table row."""
    low, high = comparison.interval
    if not all(map(math.isfinite, (low, high, comparison.gain))):
        return Markup()
    return svg(
        f"gain {number(comparison.gain)}, between {number(low)} and {number(high)}",
        (BAR, 18),
        stroke(across.at(0), 0, across.at(0), 18, "zero"),
        stroke(across.at(low), 9, across.at(high), 9, "range"),
        dot(across.at(comparison.gain), 9, 3.5),
        class_=f"interval {tone(comparison)}",
    )


def lines_by_depth(comparisons: Iterable[Comparison]) -> dict[str, list[Line]]:
    """Return the lines to draw by depth: reranker with its retriever -> a line per blend.

    Best first, limited to a readable number: the best rerankers, and their best blends.
    """
    lines = defaultdict[tuple[str, float], list[Comparison]](list)
    for comparison in comparisons:
        if comparison.system.candidates and math.isfinite(comparison.gain):
            lines[comparison.system.name, comparison.system.blend].append(comparison)
    drawn: dict[str, list[Line]] = {}
    for line in sorted(
        lines.values(), key=lambda line: -max(comparison.gain for comparison in line)
    ):
        reranker = line[0].system.name
        if reranker in drawn or len(drawn) < RERANKERS:
            drawn.setdefault(reranker, []).append(sorted(line, key=_depth))
    return {
        reranker: sorted(theirs[:BLENDS], key=lambda line: line[0].system.blend)
        for reranker, theirs in drawn.items()
    }


def gain_by_depth(reranker: str, drawn: Mapping[str, Sequence[Line]]) -> Markup:
    """Return a chart of a reranker's gains by depth, the others in grey, on shared axes."""
    every = [comparison for lines in drawn.values() for line in lines for comparison in line]
    depths = sorted({_depth(comparison) for comparison in every})
    end = NARROW - WORDS
    across = Axis.by_factor(depths, LEFT + 10, end - 20, least=4)
    up = gains_axis(every, BOTTOM, TOP)
    others = [line for name, lines in drawn.items() for line in lines if name != reranker]
    own = drawn[reranker]
    blends = sorted({comparison.system.blend for comparison in every})
    styles = [f"line{blends.index(line[0].system.blend) % BLENDS}" for line in own]
    names = _apart([up.at(line[-1].gain) for line in own])
    aside = across.end + SHIFT * (len(own) - 1) + 8
    return svg(
        f"Gain of {reranker} by candidates",
        (NARROW, HEIGHT),
        frame(up, end, [(across.at(depth), str(depth)) for depth in depths], "candidates", "+"),
        stroke(LEFT, up.at(0), end, up.at(0), "zero"),
        *(path([(across.at(_depth(c)), up.at(c.gain)) for c in line], "other") for line in others),
        *(_line(line, across, up, SHIFT * at, styles[at]) for at, line in enumerate(own)),
        *(label(_name(line), aside, names[at], "start", styles[at]) for at, line in enumerate(own)),
    )


def _line(line: Line, across: Axis, up: Axis, shift: float, style: str) -> Markup:
    points = [
        (across.at(_depth(comparison)) + shift, up.at(comparison.gain)) for comparison in line
    ]
    intervals = [
        stroke(x, up.at(comparison.interval[0]), x, up.at(comparison.interval[1]), "range")
        for (x, _), comparison in zip(points, line, strict=True)
        if all(map(math.isfinite, comparison.interval))
    ]
    return element(
        "g",
        *intervals,
        path(points, "line"),
        *(dot(x, y, 3) for x, y in points),
        class_=style,
    )


def _name(line: Line) -> str:
    blend = line[0].system.blend
    return f"blend {blend:g}" if blend else "no blend"


def _depth(comparison: Comparison) -> int:
    return comparison.system.candidates or 0


def _apart(positions: Sequence[float], gap: float = 14) -> list[float]:
    """Return label positions beside the given ones, moved apart so that none overlap."""
    moved = list(positions)
    last = -math.inf
    for at in sorted(range(len(positions)), key=lambda at: positions[at]):
        last = moved[at] = max(positions[at], last + gap)
    return [place - max(0.0, last - BOTTOM) + 4 for place in moved]


def frontier(timed: Iterable[TimedSystem], metric: str) -> list[TimedSystem]:
    """Return the Pareto frontier of quality and time, fastest first."""
    best: list[TimedSystem] = []
    for point in sorted(timed, key=lambda pair: (pair[1], -pair[0].mean(metric))):
        if not best or point[0].mean(metric) > best[-1][0].mean(metric):
            best.append(point)
    return best


def cost(timed: Sequence[TimedSystem], metric: str) -> Markup:
    """Return a chart of quality against seconds per query, with a numbered frontier."""
    end = WIDE - 8
    across = Axis.by_factor([seconds for _, seconds in timed], LEFT + 12, end - 12, least=10)
    up = Axis.over([measured.mean(metric) for measured, _ in timed], BOTTOM - 6, TOP + 6)
    best = [
        (across.at(time), up.at(measured.mean(metric)))
        for measured, time in frontier(timed, metric)
    ]
    return svg(
        f"{metric} against seconds per query",
        (WIDE, HEIGHT),
        frame(up, end, across.ticks(), "seconds per query"),
        path(best, "frontier"),
        *(
            dot(across.at(time), up.at(measured.mean(metric)), 3.5, named(measured.system))
            for measured, time in timed
        ),
        *(
            element("g", dot(x, y, 8), label(str(at), x, y + 4), class_="best")
            for at, (x, y) in enumerate(best, 1)
        ),
    )


def movement(differences: Iterable[float], metric: str) -> Markup:
    """Return a bar chart of every query's difference, from largest rise to largest fall."""
    ordered = sorted(differences, reverse=True)
    end = WIDE - 8
    up = Axis.over([0.0, *ordered], HEIGHT - TOP, TOP)
    zero = up.at(0)
    width = (end - LEFT) / max(1, len(ordered))
    bars, x = list[Markup](), LEFT
    # Bars equal to half a pixel are drawn as one: a page of 10,000 queries stays small.
    for height, alike in groupby(ordered, key=lambda value: round(2 * (zero - up.at(value))) / 2):
        wide = width * sum(1 for _ in alike)
        box = {"x": x, "y": zero - max(height, 0), "width": wide, "height": abs(height)}
        bars.append(element("rect", **box, class_="gain" if height > 0 else "loss"))
        x += wide
    return svg(
        f"Difference in {metric} of every query, from the largest rise to the largest fall",
        (WIDE, HEIGHT),
        frame(up, end, sign="+"),
        *bars,
        stroke(LEFT, zero, end, zero, "zero"),
    )


def frame(
    up: Axis, end: float, below: Iterable[tuple[float, str]] = (), what: str = "", sign: str = "-"
) -> Markup:
    """Return the grid lines and labels of a chart; labels without room are left out."""
    heights = up.ticks(sign)
    last, numbers = -math.inf, list[Markup]()
    for x, text in below:
        if x - last > 8 * len(text) + 4:
            numbers.append(label(text, x, BOTTOM + 17))
            last = x
    return element(
        "g",
        *(stroke(LEFT, y, end, y, "grid") for y, _ in heights),
        *(label(text, LEFT - 6, y + 4, "end") for y, text in heights),
        *numbers,
        label(what, end, BOTTOM + 32, "end"),
    )
