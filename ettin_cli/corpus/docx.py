"""DOCX -> a document: all of its text, with headings marked as in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ettin_cli.corpus.packages import package, require_small_markup
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.errors import first_line
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError

MARKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
# Deleted text, and the copy of a text box for old programs.
UNSEEN = frozenset(["del", "moveFrom", "Fallback"])
NOTES = ("/footnotes", "/endnotes")


def docx_document(path: Path, doc_id: str) -> Document:
    """Return a DOCX file's paragraphs and tables in order, followed by its notes.

    Raises:
        UnreadableError: It is damaged or exceeds the limits when unpacked.
    """
    import docx
    from docx.exceptions import PythonDocxError
    from docx.opc.exceptions import OpcError
    from docx.oxml.exceptions import XmlchemyError

    with package(path, "DOCX"):
        require_small_markup(path)
        try:
            file = docx.Document(str(path))
            blocks = [*_blocks(file.element.body, file), *_notes(file)]
            title = (file.core_properties.title or "").strip()
        except (OpcError, PythonDocxError, XmlchemyError) as error:
            raise UnreadableError(f"not a valid DOCX: {first_line(error)}") from error
    heading = next((text.lstrip("# ") for text in blocks if text.startswith("#")), "")
    return Document(doc_id, "\n\n".join(blocks), title=title or heading, kind="markdown")


def _blocks(container: Any, file: Any) -> Iterator[str]:
    """Yield the text of each paragraph and table, including those in content controls."""
    for element in container.iterchildren("*"):
        name = _name(element)
        if name == "p":
            text = _heading_marks(element, file) + _text(element).strip()
        elif name == "tbl":
            text = "\n".join(_row(row, file) for row in _inside(element, "tr"))
        elif name in UNSEEN:
            text = ""
        else:
            yield from _blocks(element, file)
            continue
        if text.strip("# \n|"):
            yield text


def _row(row: Any, file: Any) -> str:
    return " | ".join("\n".join(_blocks(cell, file)) for cell in _inside(row, "tc"))


def _inside(element: Any, name: str) -> Iterator[Any]:
    """Yield the elements of this name that are not nested in another one."""
    for child in element.iterchildren("*"):
        if _name(child) == name:
            yield child
        elif _name(child) not in UNSEEN:
            yield from _inside(child, name)


def _heading_marks(paragraph: Any, file: Any) -> str:
    from docx.text.paragraph import Paragraph

    style = Paragraph(paragraph, file).style
    name = style.name or "" if style is not None else ""
    if name != "Title" and not name.startswith("Heading"):
        return ""
    level = name.removeprefix("Heading").strip()
    return "#" * (int(level) if level.isdigit() else 1) + " "


def _text(element: Any) -> str:
    return "".join(_runs(element))


def _runs(element: Any) -> Iterator[str]:
    for child in element.iterchildren("*"):
        name = _name(child)
        if name == "t":
            yield child.text or ""
        elif name in MARKS:
            yield MARKS[name]
        elif name not in UNSEEN:
            yield from _runs(child)
            # Paragraphs of a text box.
            yield "\n" if name == "p" else ""


def _notes(file: Any) -> Iterator[str]:
    from docx.oxml import parse_xml

    for relation in file.part.rels.values():
        if relation.reltype.endswith(NOTES) and not relation.is_external:
            yield from _blocks(parse_xml(relation.target_part.blob), file)


def _name(element: Any) -> str:
    tag: str = element.tag
    return tag.rpartition("}")[2]


DOCX = DocumentReader(name="DOCX", suffixes=(".docx",), read=docx_document)
