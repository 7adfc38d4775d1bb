"""The lines of a page in reading order, from the places of its glyphs."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ettin_cli.corpus.bidi import RIGHT_TO_LEFT, logical, right_to_left_share, with_brackets

# Distances in ems: of the baselines of one line, and of the parts of a line, such as cells.
_SAME_LINE = 0.3
_PART = 1.2
# Gaps that are a space: usually, where PDFium has a space, and after several characters drawn as
# one, whose box is too small.
_SPACE = 0.2
_LIKELY_SPACE = 0.1
_SPACE_AFTER_SEVERAL = 0.4
# Share of right-to-left letters in a line of a page that is mainly right-to-left.
_RTL_LINE = 0.2
# Glyphs that overlap by this part of their width are not of the same text.
_OVERLAP = 0.6


@dataclass(slots=True)
class Glyph:
    """One or more characters that are drawn as one, and where.

    Args:
        text: The characters, in logical order.
        left: Left edge on the line.
        right: Right edge.
        base: Height of the baseline.
        em: Font size.
        at: Number in the order of the page's content.
        line: Number of the line in that order.
        spaced: Whether a space is likely before it in that order.
    """

    text: str
    left: float
    right: float
    base: float
    em: float
    at: int
    line: int = 0
    spaced: bool = False


def ordered_text(glyphs: Sequence[Glyph], lines: Sequence[str]) -> str:
    """Return a page's text with each line that has right-to-left letters in reading order.

    Lines stay in the order of the content. Parts of one line that are far apart, as cells are, are
    on one line only if the content has them one after another.

    Args:
        glyphs: The page's glyphs.
        lines: The lines of the page in the order of its content. Those without right-to-left
            letters are kept as they are.

    >>> shown = [Glyph(x, at, at + 1, 0, 1, at) for at, x in enumerate("2024 ,םולש")]
    >>> ordered_text(shown, ["2024 ,םולש"])
    'שלום, 2024'
    """
    mostly = right_to_left_share("".join(lines)) > 1 / 2
    turned = {number for number, line in enumerate(lines) if RIGHT_TO_LEFT.search(line)}
    parts = [part for part in _parts(glyphs) if any(glyph.line in turned for glyph in part)]
    # A line of which something stands elsewhere stays as it is.
    count: dict[int, int] = defaultdict(int)
    for glyph in glyphs:
        count[glyph.line] += 1
    for part in parts:
        for glyph in part:
            count[glyph.line] -= 1
    turned.update(number for number, left in count.items() if not left)
    placed: dict[int, list[list[Glyph]]] = defaultdict(list)
    for part in parts:
        if kept := [glyph for glyph in part if glyph.line in turned]:
            placed[min(kept, key=lambda glyph: glyph.at).line].append(kept)
    out: list[str] = []
    for number, line in enumerate(lines):
        if number in turned:
            out.extend(_line_text(parts, mostly) for parts in _same_line(placed[number]))
        else:
            out.append(line)
    return "\n".join(out)


def _same_line(parts: Sequence[list[Glyph]]) -> Iterator[list[list[Glyph]]]:
    """Yield the parts that are on one line."""
    line: list[list[Glyph]] = []
    for part in sorted(parts, key=lambda part: min(glyph.at for glyph in part)):
        if line and abs(line[-1][0].base - part[0].base) > _SAME_LINE * part[0].em:
            yield line
            line = []
        line.append(part)
    if line:
        yield line


def _line_text(parts: Sequence[Sequence[Glyph]], mostly: bool) -> str:
    """Return the text of a line's parts, given whether the page is mainly right-to-left."""
    share = right_to_left_share("".join(glyph.text for part in parts for glyph in part))
    rtl = share > (_RTL_LINE if mostly else 1 - _RTL_LINE)
    across = sorted(parts, key=lambda part: part[0].left, reverse=rtl)
    text = " ".join(logical([glyph.text for glyph in _spaced(part)], rtl) for part in across)
    text = re.sub(" +", " ", text).strip(" ")
    return with_brackets(text) if share else text


def _parts(glyphs: Sequence[Glyph]) -> Iterator[list[Glyph]]:
    """Yield the parts of lines, each a list of glyphs from left to right."""
    row: list[Glyph] = []
    for glyph in sorted(glyphs, key=lambda glyph: -glyph.base):
        if row and row[0].base - glyph.base > _SAME_LINE * max(row[0].em, glyph.em):
            yield from _split(row)
            row = []
        row.append(glyph)
    yield from _split(row)


def _split(row: Sequence[Glyph]) -> Iterator[list[Glyph]]:
    """Yield the parts of a row; lines that are drawn over each other stay apart."""
    for part in _split_at_gaps(row):
        if not _is_overdrawn(part):
            yield part
            continue
        for number in sorted({glyph.line for glyph in part}):
            yield from _split_at_gaps([glyph for glyph in part if glyph.line == number])


def _split_at_gaps(row: Sequence[Glyph]) -> Iterator[list[Glyph]]:
    part: list[Glyph] = []
    right = 0.0
    for glyph in sorted(row, key=lambda glyph: (glyph.left, glyph.at)):
        if part and glyph.left - right > _PART * glyph.em:
            yield part
            part = []
        right = max(right, glyph.right) if part else glyph.right
        part.append(glyph)
    if part:
        yield part


def _is_overdrawn(part: Sequence[Glyph]) -> bool:
    letters = [glyph for glyph in part if glyph.text.strip() and not _is_mark(glyph.text)]
    return any(
        left.line != right.line and _overlap(left, right) > _OVERLAP * (right.right - right.left)
        for left, right in pairwise(letters)
    )


def _spaced(part: Sequence[Glyph]) -> list[Glyph]:
    """Return the glyphs with marks joined to their letters, and spaces where there are gaps."""
    letters: list[Glyph] = []
    for glyph in (glyph for glyph in part if not _is_mark(glyph.text)):
        if letters:
            last = letters[-1]
            if _covers(last, glyph):
                continue
            if _covers(glyph, last):
                letters.pop()
            elif _is_apart(last, glyph):
                letters.append(replace(glyph, text=" ", left=last.right, right=glyph.left))
        letters.append(replace(glyph))
    at = 0
    for mark in (glyph for glyph in part if _is_mark(glyph.text)):
        while at < len(letters) - 1 and letters[at].right < mark.left:
            at += 1
        near = [letter for letter in letters[at : at + 3] if letter.text.strip()]
        if near:
            letter = max(near, key=lambda letter: _overlap(letter, mark))
            letter.text = unicodedata.normalize("NFC", letter.text + mark.text)
        else:
            letters.append(replace(mark))
    return letters


def _covers(glyph: Glyph, space: Glyph) -> bool:
    """Return whether a glyph is drawn over a space, which is then no gap."""
    if not glyph.text.strip() or space.text.strip():
        return False
    return _overlap(glyph, space) > (space.right - space.left) / 2


def _is_apart(left: Glyph, right: Glyph) -> bool:
    """Return whether there is a space between two glyphs that are side by side."""
    if not left.text.strip() or not right.text.strip():
        return False
    likely = max(left, right, key=lambda glyph: glyph.at).spaced and abs(left.at - right.at) == 1
    usual = _SPACE if len(left.text) == 1 else _SPACE_AFTER_SEVERAL
    return right.left - left.right > (_LIKELY_SPACE if likely else usual) * right.em


def _overlap(glyph: Glyph, other: Glyph) -> float:
    return min(glyph.right, other.right) - max(glyph.left, other.left)


def _is_mark(text: str) -> bool:
    return all(unicodedata.combining(char) for char in text)
