"""What was typed into the forms of a PDF or onto its pages, and where it belongs in the text."""

from __future__ import annotations

import ctypes
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# How far a field is from its label at most: beside it in points, above it in heights of a letter.
_BESIDE = 250.0
_ABOVE = 2.0
# Points from a field's edges within which baselines of labels are.
_NEAR = 12.0
# Glyphs that a page has at most for values to be placed; others follow the page's text.
_MOST_GLYPHS = 50_000
_MOST_VALUES = 500

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a form field, a note, or text typed onto a page.

    Args:
        text: What was typed.
        box: Left, right, bottom and top edge where the page shows it; `None` for a note.
    """

    text: str
    box: Box | None


def page_values(page: Any, pdf: Any) -> list[Value]:
    """Return what was typed into the fields of a page of pypdfium2, and onto it."""
    return [value for value in _values(page, pdf) if value.text]


def _values(page: Any, pdf: Any) -> Iterator[Value]:
    from pypdfium2 import raw

    for number in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        if kind == raw.FPDF_ANNOT_WIDGET and pdf.formenv:
            form = pdf.formenv.raw
            if raw.FPDFAnnot_GetFormFieldType(form, annotation) in (
                raw.FPDF_FORMFIELD_TEXTFIELD,
                raw.FPDF_FORMFIELD_COMBOBOX,
                raw.FPDF_FORMFIELD_LISTBOX,
            ):
                text = _string(raw.FPDFAnnot_GetFormFieldValue, form, annotation)
                yield Value(text, _box(annotation))
        elif kind in (raw.FPDF_ANNOT_FREETEXT, raw.FPDF_ANNOT_TEXT):
            text = _string(raw.FPDFAnnot_GetStringValue, annotation, b"Contents")
            yield Value(text, _box(annotation) if kind == raw.FPDF_ANNOT_FREETEXT else None)
        raw.FPDFPage_CloseAnnot(annotation)


def _box(annotation: Any) -> Box | None:
    from pypdfium2 import raw

    box = raw.FS_RECTF()
    if not raw.FPDFAnnot_GetRect(annotation, box):
        return None
    return box.left, box.right, box.bottom, box.top


def _string(read: Any, *arguments: Any) -> str:
    """Return the string that one of PDFium's functions writes into a buffer, in UTF-16."""
    size = read(*arguments, None, 0)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    read(*arguments, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    text = buffer.raw.decode("utf-16-le", "replace").rstrip("\0")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def with_values(page: Any, text: str, values: Sequence[Value]) -> tuple[str, list[Value]]:
    """Return a page's text with each value after its label, and the values that have none.

    Args:
        page: A text page of pypdfium2.
        text: Its text in the order of the content.
        values: What was typed into its fields and onto it.
    """
    from pypdfium2 import raw

    count = page.count_chars()
    if count > _MOST_GLYPHS or len(values) > _MOST_VALUES or len(text) != count:
        # In the last case, part of the text is beyond the page's edges.
        return text, list(values)
    across, up = ctypes.c_double(), ctypes.c_double()
    places: list[tuple[float, int]] = []
    for at, char in enumerate(text):
        if not char.isspace():
            raw.FPDFText_GetCharOrigin(page.raw, at, across, up)
            places.append((up.value, at))
    places.sort()
    after: dict[int, list[Value]] = defaultdict(list)
    others: list[Value] = []
    for value in values:
        label = _label_end(page.raw, text, places, value.box) if value.box else None
        (others if label is None else after[label]).append(value)
    out: list[str] = []
    begin = 0
    for at in sorted(after):
        out.append(text[begin : at + 1])
        begin = at + 1
        out.extend(f" {value.text}" for value in sorted(after[at], key=_reading_order))
        if text[begin : begin + 1].strip():
            out.append(" ")
    return "".join(out) + text[begin:], others


def _reading_order(value: Value) -> tuple[float, float]:
    left, _, _, top = value.box or (0.0, 0.0, 0.0, 0.0)
    return -top, left


def _label_end(page: Any, text: str, places: Sequence[tuple[float, int]], box: Box) -> int | None:
    """Return the number of the last character of the label that is left of a box, or above it.

    Args:
        page: The page in PDFium.
        text: The page's text.
        places: Baseline and number of each character, from the bottom of the page.
        box: Edges of the field.
    """
    from pypdfium2 import raw

    left, right, bottom, top = box
    its = raw.FS_RECTF()
    beside: tuple[float, int] | None = None
    above: tuple[float, int] | None = None
    begin, end = bisect_left(places, (bottom - _NEAR, 0)), bisect_left(places, (top + 3 * _NEAR, 0))
    for base, at in places[begin:end]:
        raw.FPDFText_GetLooseCharBox(page, at, its)
        height = its.top - its.bottom
        away = left - its.right
        if bottom - height / 2 < base < top and -height <= away < _BESIDE:
            beside = min(beside or (away, at), (away, at))
        over = its.bottom - top
        if its.left < right and its.right > left and -height < over < _ABOVE * height:
            above = min(above or (over, -at), (over, -at))
    if beside:
        return _end(text, beside[1], " \r\n")
    return _end(text, -above[1], "\r\n") if above else None


def _end(text: str, at: int, ends: str) -> int:
    """Return the number of the last character before one of those that end a word or line."""
    while at + 1 < len(text) and text[at + 1] not in ends:
        at += 1
    return at
