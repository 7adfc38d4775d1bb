"""PPTX -> a document: the text of each slide with its notes, slides as pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ettin_cli.corpus.packages import Package, local_name, outermost, package
from ettin_cli.corpus.paged import paged_document
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document

# Parts of a slide with text of their own, by their relation.
ASIDES = ("diagramData", "chart", "notesSlide", "comments")
TITLES = ("title", "ctrTitle")
# Titles that PowerPoint gives a file without one.
NO_TITLES = ("", "PowerPoint Presentation")
# Placeholders with text that the program repeats on each slide.
REPEATED = ("sldNum", "dt", "sldImg", "hdr")


def pptx_document(path: Path, doc_id: str) -> Document:
    """Return a presentation's slides in their order.

    Each slide has its text, tables, diagrams, notes and comments. A slide that is missing or
    damaged is a fault of the document.

    Raises:
        UnreadableError: It is damaged or exceeds the limits when unpacked.
    """
    with package(path, "PPTX") as file:
        main = file.main_part("ppt/presentation.xml")
        root = file.xml(main)
        names = _slide_names(file, main, root)
        roots = [(name, file.part(name)) for name in names]
        slides = [_slide(file, name, slide) for name, slide in roots]
        title = file.core_title()
        if title in NO_TITLES:
            title = next((text for _, slide in roots if (text := _title(slide))), "")
    return paged_document(doc_id, slides, title=title, faults=file.faults)


def _slide_names(file: Package, main: str, root: Any) -> list[str]:
    targets = {one.id: one.target for one in file.relations(main)}
    names = []
    for slide in root.iterfind(".//{*}sldId"):
        wanted = next((slide.get(key) for key in slide.attrib if key.endswith("}id")), "")
        if wanted in targets:
            names.append(targets[wanted])
        else:
            file.faults.append(f"slide {wanted} is missing")
    return names


def _title(slide: Any | None) -> str:
    shapes = () if slide is None else outermost(slide, "sp")
    titles = (" ".join(_shapes(one)) for one in shapes if _placeholder(one) in TITLES)
    return next(filter(None, titles), "")


def _slide(file: Package, name: str, root: Any | None) -> list[str]:
    if root is None:
        return []
    lines = list(_shapes(root))
    for kind in ASIDES:
        for aside in file.related(name, kind):
            other = file.part(aside)
            if other is not None:
                lines += _shapes(other)
    return lines


def _shapes(container: Any) -> Iterator[str]:
    """Yield the lines of text of shapes, tables and groups, in the order of the file."""
    for element in container.iterchildren("*"):
        name = local_name(element)
        if name == "p" and element.find("{*}r") is None and element.find("{*}fld") is None:
            yield from ()
        elif name == "p":
            yield from filter(None, (line.strip() for line in _text(element).split("\n")))
        elif name == "tr":
            cells = [" ".join(_shapes(cell)) for cell in element.iterchildren("{*}tc")]
            if any(cells):
                yield " | ".join(cells)
        elif name == "AlternateContent":
            chosen = element.find("{*}Choice")
            yield from _shapes(element if chosen is None else chosen)
        elif name == "sp" and _placeholder(element) in REPEATED:
            continue
        elif name == "text" and element.text:
            # A comment.
            yield " ".join(element.text.split())
        elif name == "strCache":
            # Names in a chart.
            yield " | ".join(value.text or "" for value in element.iterfind(".//{*}v"))
        else:
            yield from _shapes(element)


def _placeholder(shape: Any) -> str:
    found = shape.find("{*}nvSpPr/{*}nvPr/{*}ph")
    return "" if found is None else found.get("type", "")


def _text(paragraph: Any) -> str:
    pieces = []
    for element in paragraph.iter("{*}t", "{*}br", "{*}tab"):
        name = local_name(element)
        pieces.append({"br": "\n", "tab": "\t"}.get(name) or element.text or "")
    return "".join(pieces)


PPTX = DocumentReader(name="PPTX", suffixes=(".pptx", ".pptm", ".ppsx"), read=pptx_document)
