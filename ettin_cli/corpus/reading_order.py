"""Recognised lines with their places on a page -> the text in reading order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

# A column of text has at least so many lines, most of which fill at least half of its width.
COLUMN_LINES = 4
FILLED = 0.5
# A line of prose is so many times as wide as it is high; cells of tables are narrower.
PROSE_WIDTH = 7.0
MAX_DEPTH = 6

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A recognised piece of a line, and its rectangle on the page without the page's tilt."""

    left: float
    top: float
    right: float
    bottom: float
    text: str

    @property
    def height(self) -> float:
        """The height, for comparison with other boxes."""
        return self.bottom - self.top


def ordered_text(found: Sequence[tuple[Sequence[Point], str]]) -> str:
    r"""Return the lines of a page, top to bottom, and of each column before the next.

    Args:
        found: The corners of each recognised piece, clockwise from its top left, and its text.

    >>> square = lambda x, y: [(x, y), (x + 40, y), (x + 40, y + 10), (x, y + 10)]
    >>> ordered_text([(square(0, 20), "second"), (square(50, 1), "line"), (square(0, 0), "first")])
    'first line\nsecond'
    """
    tilt = _tilt([corners for corners, _ in found])
    boxes = [_box(corners, text, tilt) for corners, text in found]
    return "\n".join(_lines(boxes, MAX_DEPTH))


def _tilt(pieces: Sequence[Sequence[Point]]) -> float:
    """Return the angle of the lines of a page, by the wider half of its pieces."""
    sides = [(right[0] - left[0], right[1] - left[1]) for left, right, *_ in pieces]
    sides.sort(key=lambda side: -math.hypot(*side))
    wide = sides[: (len(sides) + 1) // 2]
    tilt = median(math.atan2(down, across) for across, down in wide) if wide else 0.0
    return tilt if abs(tilt) < math.pi / 8 else 0.0


def _box(corners: Sequence[Point], text: str, tilt: float) -> Box:
    across, down = math.cos(tilt), math.sin(tilt)
    xs = [x * across + y * down for x, y in corners]
    ys = [y * across - x * down for x, y in corners]
    return Box(min(xs), min(ys), max(xs), max(ys), text)


def _lines(boxes: Sequence[Box], depth: int) -> Iterator[str]:
    gutter = _gutter(boxes) if depth else None
    if gutter is None:
        yield from (" ".join(box.text for box in row) for row in _rows(boxes))
        return
    # What reaches across the columns, such as a heading, divides them into bands.
    across = _rows([box for box in boxes if box.left < gutter < box.right])
    rest = [box for box in boxes if not box.left < gutter < box.right]
    for row in across:
        middle = sum(box.top + box.bottom for box in row) / (2 * len(row))
        above = [box for box in rest if (box.top + box.bottom) / 2 < middle]
        rest = [box for box in rest if (box.top + box.bottom) / 2 >= middle]
        yield from _columns(above, gutter, depth)
        yield " ".join(box.text for box in row)
    yield from _columns(rest, gutter, depth)


def _columns(boxes: Sequence[Box], gutter: float, depth: int) -> Iterator[str]:
    yield from _lines([box for box in boxes if box.right <= gutter], depth - 1)
    yield from _lines([box for box in boxes if box.right > gutter], depth - 1)


def _rows(boxes: Sequence[Box]) -> list[list[Box]]:
    """Return boxes by line, top to bottom, and left to right within each line."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: (box.top + box.bottom, box.left)):
        # Boxes of one line may come in any order, so the last few lines are compared.
        for row in reversed(rows[-3:]):
            if all(_same_line(box, other) for other in row):
                row.append(box)
                break
        else:
            rows.append([box])
    return [sorted(row, key=lambda box: box.left) for row in rows]


def _same_line(one: Box, other: Box) -> bool:
    """Return whether two boxes are side by side."""
    common = min(one.bottom, other.bottom) - max(one.top, other.top)
    beside = min(one.right, other.right) - max(one.left, other.left) <= min(
        one.height, other.height
    )
    return beside and common > 0.5 * min(one.height, other.height)


def _gutter(boxes: Sequence[Box]) -> float | None:
    """Return the middle of the gap between two columns of prose; None if there is none."""
    if len(boxes) < 2 * COLUMN_LINES:
        return None
    height = median(box.height for box in boxes)
    best: tuple[int, float] | None = None
    lefts = sorted(box.left for box in boxes)
    for at, edge in enumerate(lefts[: 1 - COLUMN_LINES]):
        # A column begins at the left edge of some of its lines.
        if lefts[at + COLUMN_LINES - 1] > edge + 2 * height or edge == lefts[at - 1]:
            continue
        left = [box for box in boxes if box.right <= edge]
        right = [box for box in boxes if box.left >= edge]
        crossing = len(boxes) - len(left) - len(right)
        if len(left) < COLUMN_LINES or crossing > len(boxes) / 4:
            continue
        gap = edge - max(box.right for box in left)
        if gap < height / 2 or (best and crossing >= best[0]):
            continue
        if _is_prose(left) and _is_prose(right) and _side_by_side(left, right):
            best = crossing, edge - gap / 2
    return best[1] if best else None


def _is_prose(boxes: Sequence[Box]) -> bool:
    """Return whether most boxes fill the width that all of them have."""
    width = max(box.right for box in boxes) - min(box.left for box in boxes)
    widths = median(box.right - box.left for box in boxes)
    return widths > FILLED * width and widths > PROSE_WIDTH * median(b.height for b in boxes)


def _side_by_side(left: Sequence[Box], right: Sequence[Box]) -> bool:
    """Return whether two columns have a common stretch of lines."""
    begins = max(min(box.top for box in side) for side in (left, right))
    ends = min(max(box.bottom for box in side) for side in (left, right))
    return ends - begins > 2 * median(box.height for box in (*left, *right))
