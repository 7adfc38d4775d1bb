"""DOCX -> a document: all of its text, with headings marked as in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePath
from typing import IO, Any

from ettin_cli.corpus.content import decode
from ettin_cli.corpus.docx_styles import Styles
from ettin_cli.corpus.html import html_document
from ettin_cli.corpus.packages import DAMAGES, Package, attribute, local_name, outermost, package
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.corpus.rtf import rtf_text
from ettin_cli.errors import first_line
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError

MARKS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
# Deleted text, and properties, which have elements of the same names as text has.
UNSEEN = frozenset(["del", "moveFrom", "pPr", "rPr"])
# Parts with text of their own, by their relation; it follows in this order.
NOTES = ("footnotes", "endnotes")
ASIDES = (*NOTES, "comments", "diagramData", "chart", "header", "footer")
MAX_NESTED = 3


def docx_document(path: Path, doc_id: str) -> Document:
    """Return a DOCX file's paragraphs and tables in order, followed by its other text.

    That is its notes, comments, diagrams, headers and footers. A part that is missing or damaged
    is a fault of the document.

    Raises:
        UnreadableError: It is damaged or exceeds the limits when unpacked.
    """
    return _document(path, doc_id, depth=0)


def _document(path: Path | IO[bytes], doc_id: str, depth: int) -> Document:
    with package(path, "DOCX") as file:
        reading = _Reading(file, depth)
        blocks = list(reading.blocks())
        title = file.core_title() or reading.heading
    return Document(doc_id, "\n\n".join(blocks), title=title, kind="markdown", faults=file.faults)


class _Reading:
    """Reads the text of a DOCX file.

    Args:
        depth: The number of documents that it is inserted into.
    """

    def __init__(self, file: Package, depth: int) -> None:
        self.file, self.depth = file, depth
        self.heading = ""
        self.main = file.main_part("word/document.xml")
        self.part = self.main
        self.styles = Styles(self._first("styles"), self._first("numbering"))

    def _first(self, kind: str) -> Any | None:
        names = [name for name in self.file.related(self.main, kind) if self.file.find(name)]
        return self.file.part(names[0]) if names else None

    def blocks(self) -> Iterator[str]:
        """Yield the text of each paragraph and table."""
        root = self.file.xml(self.main)
        body = next((one for one in root.iterchildren("{*}body")), None)
        if body is None:
            raise LookupError(f"no body in {self.main}")
        yield from self._blocks(body)
        seen = set()
        for kind in ASIDES:
            for name in self.file.related(self.main, kind):
                blocks = list(self._aside(name))
                # Headers are often repeated for first, even and odd pages.
                if kind in NOTES or tuple(blocks) not in seen:
                    seen.add(tuple(blocks))
                    yield from blocks

    def _aside(self, name: str) -> Iterator[str]:
        root = self.file.part(name)
        if root is None:
            return
        self.part = name
        if local_name(root) in ("dataModel", "chartSpace"):
            for paragraph in outermost(root, "p"):
                if text := self._text(paragraph).strip():
                    yield text
            return
        for block in root.iterchildren("*"):
            if local_name(block) == "comment":
                author, text = attribute(block, "author"), "\n".join(self._blocks(block))
                if text:
                    yield f"{author}: {text}" if author else text
            else:
                yield from self._blocks([block])

    def _blocks(self, container: Any) -> Iterator[str]:
        """Yield the text of each paragraph and table, including those in content controls."""
        for element in container:
            name = local_name(element)
            if name == "p":
                text = self._paragraph(element)
            elif name == "tbl":
                text = "\n".join(self._row(row) for row in _inside(element, "tr"))
            elif name in UNSEEN or not name:
                text = ""
            elif name == "altChunk":
                text = self._inserted(element)
            else:
                yield from self._blocks(_seen(element))
                continue
            if text.strip("# \n|"):
                yield text

    def _paragraph(self, element: Any) -> str:
        level, number = self.styles.heading_level(element), self.styles.number(element)
        text = self._text(element).strip()
        if level and text and not self.heading and self.part == self.main:
            self.heading = " ".join(text.split())
        marks = f"{'#' * level} " if level else ""
        return f"{marks}{number} {text}" if number and text else marks + text

    def _row(self, row: Any) -> str:
        return " | ".join("\n".join(self._blocks(cell)) for cell in _inside(row, "tc"))

    def _text(self, element: Any) -> str:
        return "".join(self._runs(element))

    def _runs(self, element: Any) -> Iterator[str]:
        for child in _seen(element):
            name = local_name(child)
            if name == "t":
                yield child.text or ""
            elif name in MARKS:
                yield MARKS[name]
            elif name not in UNSEEN:
                yield from self._runs(child)
                # Paragraphs of a text box.
                yield "\n" if name == "p" else ""

    def _inserted(self, element: Any) -> str:
        """Return the text of a document in another format that is inserted here."""
        wanted = attribute(element, "id")
        of = self.file.relations(self.part)
        name = next((one.target for one in of if one.id == wanted), None)
        if name is None or self.file.find(name) is None:
            self.file.faults.append(f"inserted document {name or wanted} is missing")
            return ""
        try:
            return self._inserted_text(name, self.file.read(name))
        except UnreadableError as error:
            if self.file.left < 0:
                raise
            reason = str(error)
        except DAMAGES as error:
            reason = first_line(error)
        self.file.faults.append(f"inserted document {name} cannot be read: {reason}")
        return ""

    def _inserted_text(self, name: str, content: bytes) -> str:
        if content.startswith(b"PK"):
            if self.depth == MAX_NESTED:
                raise UnreadableError(f"documents nested more than {MAX_NESTED} deep")
            inner = _document(BytesIO(content), name, self.depth + 1)
            self.file.faults += [f"{name}: {fault}" for fault in inner.faults]
            return inner.text
        if content.lstrip().startswith(b"{\\rtf"):
            return rtf_text(content).text
        suffix = PurePath(name).suffix.lower()
        if suffix in (".mht", ".mhtml") or content.lstrip()[:13].lower() == b"mime-version:":
            content = _page_of_archive(content)
        text = decode(content)
        is_page = suffix != ".txt" and "<" in text
        return html_document(text, name).text if is_page else text.strip()


def _page_of_archive(content: bytes) -> bytes:
    """Return the page of a web archive.

    Raises:
        UnreadableError: It has none, or too many parts.
    """
    from email import message_from_bytes

    if content.lower().count(b"boundary=") > MAX_NESTED:
        raise UnreadableError("parts nested too deeply")
    for part in message_from_bytes(content).walk():
        payload = part.get_payload(decode=True)
        if part.get_content_maintype() == "text" and isinstance(payload, bytes):
            return payload
    raise UnreadableError("no page in the web archive")


def _inside(element: Any, name: str) -> Iterator[Any]:
    """Yield the elements of this name that are not nested in another one."""
    for child in _seen(element):
        if local_name(child) == name:
            yield child
        elif local_name(child) not in UNSEEN:
            yield from _inside(child, name)


def _seen(element: Any) -> Iterator[Any]:
    """Yield the child elements; of alternatives for different programs, those of the first.

    The last alternative, for old programs, repeats the text of the others.
    """
    if local_name(element) == "AlternateContent":
        chosen = element.find("{*}Choice")
        yield from element.iterchildren("*") if chosen is None else [chosen]
    else:
        yield from element.iterchildren("*")


DOCX = DocumentReader(name="DOCX", suffixes=(".docx", ".docm"), read=docx_document)
