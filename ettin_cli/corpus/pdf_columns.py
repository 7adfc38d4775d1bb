"""Pages of several columns whose content goes across them, row by row."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import fmean
from typing import Any

from ettin_cli.corpus.pdf_glyphs import Character, page_characters

# PDFium's mark in place of a hyphen at the end of a line.
_HYPHEN = "\x02"
# Parts of a page's middle that are looked at first, and the rows that columns have at least.
_SAMPLE = 120
_FIRST = 24
_ROWS = 6
# The share of rows that are as rows of columns are; tables have ragged cells.
_MOST = 0.6
# The share of a column's width that its lines fill.
_FILLED = 0.75
_MOST_COLUMNS = 4
# Points within which lines begin at the same edge.
_EDGE = 1.5
# Gaps in heights of a line: between parts of a row, and between blocks of lines.
_GAP = 1.0
_BLOCK = 2.5
_WORDS = 3.0
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(slots=True)
class Part:
    """A part of a line, without a wide gap.

    Args:
        left: Left edge.
        right: Right edge.
        middle: Height of its middle.
        height: Its own height.
        text: What it says.
    """

    left: float
    right: float
    middle: float
    height: float
    text: str = ""

    def is_beside(self, other: Part) -> bool:
        """Return whether another part is on the same line."""
        return abs(self.middle - other.middle) < 0.6 * max(self.height, other.height)


def text_in_columns(page: Any, text: str) -> str:
    """Return a page's text, column by column if its content has it row by row.

    Args:
        page: A text page of pypdfium2.
        text: Its text in the order of the content, returned if that is not of columns.
    """
    from pypdfium2 import raw

    lines = text.count("\n") + 1
    parts = raw.FPDFText_CountRects(page, 0, -1)
    # A row of columns has at least one part for each.
    if lines < _ROWS or parts < 1.6 * lines or not column_starts(_sample(page, parts)):
        return text
    pieces = list(_pieces(page_characters(page)))
    starts = column_starts(pieces)
    prose = [len(_WORD.findall(piece.text)) for piece in pieces]
    if not starts or fmean(prose) < _WORDS:
        return text
    return _by_columns(pieces, starts)


def _sample(page: Any, parts: int) -> list[Part]:
    """Return the parts of lines in the middle of the content."""
    from pypdfium2 import raw

    found: list[Part] = []
    wide_gaps = 0
    left, top, right, bottom = (ctypes.c_double() for _ in range(4))
    first = max(0, (parts - _SAMPLE) // 2)
    get_rect, handle = raw.FPDFText_GetRect, page.raw
    for at in range(first, min(parts, first + _SAMPLE)):
        get_rect(handle, at, left, top, right, bottom)
        height = top.value - bottom.value
        part = Part(left.value, right.value, (top.value + bottom.value) / 2, height)
        last = found[-1] if found else None
        if last and part.is_beside(last) and abs(part.left - last.right) < _GAP * last.height:
            last.right = max(last.right, part.right)
            continue
        found.append(part)
        wide_gaps += last is not None and part.left > last.right and part.is_beside(last)
        if at - first > _FIRST and not wide_gaps:
            return []
    return found


def column_starts(parts: Sequence[Part]) -> list[float]:
    """Return the left edges of columns, or nothing if the parts are not rows of columns.

    Rows are of columns if most have as many parts, each of which begins where those above do, and
    fills its column, and if the columns are about as wide as each other.
    """
    rows: list[list[Part]] = []
    for part in parts:
        if rows and part.is_beside(rows[-1][-1]) and part.left > rows[-1][-1].right:
            rows[-1].append(part)
        else:
            rows.append([part])
    across = Counter(len(row) for row in rows if 1 < len(row) <= _MOST_COLUMNS)
    if not across:
        return []
    columns, count = across.most_common(1)[0]
    which = [at for at, row in enumerate(rows) if len(row) == columns]
    if count < _ROWS or count < _MOST * (which[-1] - which[0] + 1):
        return []
    rows = [rows[at] for at in which]
    starts: list[float] = []
    widths: list[float] = []
    for column in range(columns):
        lefts = sorted(row[column].left for row in rows)
        # The edge of most lines; letters begin at various distances from it.
        start = max(lefts, key=lambda left: sum(0 <= other - left < _EDGE for other in lefts))
        if sum(0 <= left - start < _EDGE for left in lefts) < _MOST * count:
            return []
        ends = sorted(row[column].right for row in rows)
        width = ends[int(0.9 * (count - 1))] - start
        filled = sum(row[column].right - row[column].left > _FILLED * width for row in rows)
        if filled < _MOST * count:
            return []
        starts.append(start)
        widths.append(width)
    return starts if min(widths) > _MOST * max(widths) else []


def _pieces(characters: Iterable[Character]) -> Iterator[Part]:
    """Yield the parts of lines with their text."""
    part: Part | None = None
    for character in characters:
        if character.place is None:
            if part and character.text not in "\r\n":
                part.text += character.text
            continue
        left, right, bottom, top = character.box
        here = Part(left, right, (bottom + top) / 2, top - bottom, character.text)
        if (
            part
            and here.is_beside(part)
            and -here.height < left - part.right < _GAP * here.height * 0.7
        ):
            part.right = max(part.right, right)
            part.text += character.text
            continue
        if part:
            yield part
        part = here
    if part:
        yield part


def _by_columns(parts: Sequence[Part], starts: Sequence[float]) -> str:
    out: list[str] = []
    columns: list[list[str]] = [[] for _ in starts]
    last: Part | None = None
    for part in parts:
        column = sum(start <= part.left + part.height / 2 for start in starts[1:])
        across = column + 1 < len(starts) and part.right > starts[column + 1]
        apart = last is not None and last.middle - part.middle > _BLOCK * part.height
        if across or apart:
            out.extend(_flushed(columns))
        if text := part.text.strip(" "):
            (out if across else columns[column]).append(text)
        last = part
    out.extend(_flushed(columns))
    return "\r\n".join(out)


def _flushed(columns: Sequence[list[str]]) -> Iterator[str]:
    """Yield the lines of each column, and empty them; a word that a hyphen divides is marked."""
    for lines in columns:
        divided = ""
        for line, following in zip_longest(lines, lines[1:], fillvalue=""):
            text = divided + line
            if re.search(rf"[^\W\d_][-{_HYPHEN}]$", text) and following[:1].islower():
                divided = text[:-1] + _HYPHEN
            else:
                divided = ""
                yield text.replace(_HYPHEN, "-") if text.endswith(_HYPHEN) else text
        lines.clear()
