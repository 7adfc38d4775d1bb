"""The glyphs of a PDF's page: their characters and places."""

from __future__ import annotations

import ctypes
import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ettin_cli.corpus.bidi import RIGHT_TO_LEFT, glyph_text
from ettin_cli.corpus.pdf_lines import Glyph, ordered_text

# Where PDFium has no size for a glyph.
_EM = 10.0


@dataclass(slots=True)
class Character:
    """A character of a page, before the page is turned; without a place, PDFium has added it."""

    text: str
    place: tuple[float, float] | None = None
    box: tuple[float, float, float, float] = (0, 0, 0, 0)
    em: float = _EM
    angle: float = 0

    def is_within(self, bounds: tuple[float, float, float, float]) -> bool:
        """Return whether any of it is within bounds, as what PDFium has added always is."""
        left, right, bottom, top = self.box
        across = left <= bounds[2] and right >= bounds[0]
        return self.place is None or (across and bottom <= bounds[3] and top >= bounds[1])


def right_to_left_text(page: Any, bounds: tuple[float, float, float, float]) -> str:
    """Return a page's text with lines that have right-to-left letters in reading order.

    PDFium reverses some words and not others, and spoils ligatures, brackets and numbers.

    Args:
        page: A text page of pypdfium2.
        bounds: The left, bottom, right and top edge of what is shown of the page.
    """
    characters = [each for each in page_characters(page, sized=True) if each.is_within(bounds)]
    lines = "".join(each.text for each in characters).replace("\r\n", "\n").split("\n")
    return ordered_text(_glyphs(characters), lines)


def page_characters(text_page: Any, *, sized: bool = False) -> Iterator[Character]:
    """Yield the characters of a page, in the order of its content.

    Args:
        text_page: A text page of pypdfium2.
        sized: Whether their font sizes and angles are needed too.
    """
    from pypdfium2 import raw

    page = text_page.raw
    across, up = ctypes.c_double(), ctypes.c_double()
    box, matrix = raw.FS_RECTF(), raw.FS_MATRIX()
    for at in range(text_page.count_chars()):
        text = chr(raw.FPDFText_GetUnicode(page, at))
        if text == "\0":
            continue
        if text in "\r\n" or not raw.FPDFText_GetTextObject(page, at):
            yield Character(text)
            continue
        raw.FPDFText_GetCharOrigin(page, at, across, up)
        raw.FPDFText_GetLooseCharBox(page, at, box)
        place = (across.value, up.value)
        edges = (box.left, box.right, box.bottom, box.top)
        if not sized:
            yield Character(text, place, edges)
            continue
        em = raw.FPDFText_GetFontSize(page, at)
        if raw.FPDFText_GetMatrix(page, at, matrix):
            em *= math.hypot(matrix.c, matrix.d)
        yield Character(text, place, edges, em or _EM, raw.FPDFText_GetCharAngle(page, at))


def _glyphs(characters: list[Character]) -> list[Glyph]:
    """Return the glyphs of a page that is turned so that right-to-left text runs across."""
    turn = next((each.angle for each in characters if RIGHT_TO_LEFT.match(each.text)), 0.0)
    glyphs: list[Glyph] = []
    line = 0
    spaced = False
    for place, group in groupby(characters, key=lambda each: each.place):
        drawn = list(group)
        if place is None:
            line += sum(each.text == "\n" for each in drawn)
            spaced = True
            continue
        left, base = _turned(place[0], place[1], turn)
        boxes = [_turned_box(each.box, turn) for each in drawn]
        text = _text(drawn, [box[0] for box in boxes])
        # Letters may overlap, but not their origins; a mark's origin may be anywhere.
        if unicodedata.combining(text[0]):
            left = min(box[0] for box in boxes)
        right = max(box[1] for box in boxes)
        glyphs.append(Glyph(text, left, right, base, drawn[0].em, len(glyphs), line, spaced))
        spaced = False
    _widen(glyphs)
    return glyphs


def _text(drawn: list[Character], lefts: list[float]) -> str:
    """Return the characters of one glyph in logical order."""
    pairs: list[tuple[str, float]] = []
    for each, left in zip(drawn, lefts, strict=True):
        if RIGHT_TO_LEFT.match(each.text):
            pairs.extend((char, left) for char in unicodedata.normalize("NFKC", each.text))
        else:
            pairs.append((each.text, left))
    whole = "".join(char for char, _ in pairs)
    return glyph_text(pairs) if len(drawn) > 1 and RIGHT_TO_LEFT.search(whole) else whole


def _widen(glyphs: list[Glyph]) -> None:
    """Give letters with marks, whose box has the ink alone, the width of the letter elsewhere."""
    widths: dict[str, float] = {}
    for glyph in glyphs:
        if len(glyph.text) == 1:
            width = (glyph.right - glyph.left) / glyph.em
            widths[glyph.text] = min(width, widths.get(glyph.text, width))
    for glyph in glyphs:
        if len(glyph.text) > 1:
            glyph.right = max(glyph.right, glyph.left + widths.get(glyph.text[0], 0) * glyph.em)


def _turned(across: float, up: float, angle: float) -> tuple[float, float]:
    if not angle:
        return across, up
    sine, cosine = math.sin(angle), math.cos(angle)
    return across * cosine + up * sine, up * cosine - across * sine


def _turned_box(box: tuple[float, float, float, float], angle: float) -> tuple[float, float]:
    """Return the left and right edge of a box after a turn."""
    left, right, bottom, top = box
    ends = [_turned(x, y, angle)[0] for x in (left, right) for y in (bottom, top)]
    return min(ends), max(ends)
