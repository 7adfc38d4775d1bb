"""What was typed into the forms of a PDF or onto its pages, and where it belongs in the text."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ettin_cli.corpus.pdf_glyphs import Character, page_characters

# How far a field is from its label at most: beside it in points, above it in heights of a letter.
_BESIDE = 250.0
_ABOVE = 2.0
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
    text = text.replace("\0", "")
    if page.count_chars() > _MOST_GLYPHS or len(values) > _MOST_VALUES:
        return text, list(values)
    characters = list(page_characters(page))
    if "".join(each.text for each in characters) != text:
        # Part of the text is beyond the page's edges.
        return text, list(values)
    after: dict[int, list[Value]] = defaultdict(list)
    others: list[Value] = []
    for value in values:
        at = _label_end(characters, value.box) if value.box else None
        (others if at is None else after[at]).append(value)
    out: list[str] = []
    for at, each in enumerate(characters):
        out.append(each.text)
        for value in sorted(after.get(at, ()), key=_reading_order):
            following = characters[at + 1].text if at + 1 < len(characters) else "\r"
            out.append(f" {value.text}" + ("" if following in " \r\n" else " "))
    return "".join(out), others


def _reading_order(value: Value) -> tuple[float, float]:
    left, _, _, top = value.box or (0.0, 0.0, 0.0, 0.0)
    return -top, left


def _label_end(characters: Sequence[Character], box: Box) -> int | None:
    """Return the number of the last character of the label that is left of a box, or above it."""
    left, right, bottom, top = box
    best: tuple[float, int] | None = None
    for at, each in enumerate(characters):
        if each.place is None or each.text.isspace():
            continue
        _, its_right, its_bottom, its_top = each.box
        height = its_top - its_bottom
        if its_right <= left + height and bottom - height / 2 < each.place[1] < top:
            distance = left - its_right
            if distance < _BESIDE and (best is None or distance < best[0]):
                best = (distance, at)
    if best:
        return _end(characters, best[1], " \r\n")
    for at, each in enumerate(characters):
        if each.place is None or each.text.isspace():
            continue
        its_left, its_right, its_bottom, its_top = each.box
        distance = its_bottom - top
        height = its_top - its_bottom
        over = its_left < right and its_right > left and -height < distance < _ABOVE * height
        if over and (best is None or distance <= best[0]):
            best = (distance, at)
    return _end(characters, best[1], "\r\n") if best else None


def _end(characters: Sequence[Character], at: int, ends: str) -> int:
    """Return the number of the last character before one of those that end a word or line."""
    while at + 1 < len(characters) and characters[at + 1].text not in ends:
        at += 1
    return at
