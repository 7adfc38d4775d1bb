"""OpenDocument texts, spreadsheets and presentations -> documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ettin_cli.corpus.packages import Package, attribute, local_name, package
from ettin_cli.corpus.paged import paged_document
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.corpus.sheets import SheetError, SheetText
from ettin_cli.records import Document
from ettin_cli.settings import MAX_COLUMNS, MAX_TEXT_BYTES, MIB
from ettin_cli.storage import UnreadableError

CONTENT = "content.xml"
# Deleted text, definitions, and what the program writes on each page.
UNSEEN = frozenset(
    """tracked-changes forms sequence-decls variable-decls user-field-decls note-citation desc
    ruby-text page-number bookmark-start header-decl footer-decl date-time-decl""".split()
)
MARKS = {"tab": "\t", "line-break": "\n"}
ROWS = ("table-header-rows", "table-rows", "table-row-group")
MAX_SPACES = 100


class _Reader:
    """Reads the content of a package.

    Args:
        kind: The name of the format.
    """

    def __init__(self, file: Package, kind: str) -> None:
        self.file = file
        if b"encryption-data" in self._manifest():
            raise UnreadableError("needs a password")
        self.root = file.xml(CONTENT)
        bodies = list(self.root.iterfind("{*}body/*"))
        if not bodies:
            raise LookupError(f"{CONTENT} has no {kind}")
        self.body = bodies[0]
        self.asides: list[str] = []
        self.left = MAX_TEXT_BYTES

    def _manifest(self) -> bytes:
        name = "META-INF/manifest.xml"
        return self.file.read(name) if self.file.find(name) else b""

    def title(self) -> str:
        """Return the title among the properties; "" if there is none."""
        root = self.file.part("meta.xml") if self.file.find("meta.xml") else None
        title = None if root is None else root.findtext(".//{*}title")
        return " ".join((title or "").split())

    def blocks(self, container: Any) -> Iterator[str]:
        """Yield the text of each paragraph and table row, with headings marked."""
        for element in container.iterchildren("*"):
            name = local_name(element)
            if name in UNSEEN:
                continue
            if name in ("p", "h"):
                text = self.text(element).strip()
                level = _count(attribute(element, "outline-level"), 1) if name == "h" else 0
                if text:
                    yield f"{'#' * min(level, 9)} {text}" if level else text
            elif name == "table":
                rows = (" | ".join(self.cells(row)) for row in _rows(element))
                if text := "\n".join(row for row in rows if row.strip(" |")):
                    yield text
            elif name in ("annotation", "note"):
                self.asides.append("\n".join(self.blocks(element)))
            else:
                yield from self.blocks(element)

    def cells(self, row: Any) -> list[str]:
        """Return the text of each cell of a row."""
        return [
            "\n".join(self.blocks(cell))
            for cell in row.iterchildren("{*}table-cell", "{*}covered-table-cell")
        ]

    def text(self, element: Any) -> str:
        """Return the text of a paragraph; its notes and comments are put aside."""
        return "".join(self._pieces(element))

    def _pieces(self, element: Any) -> Iterator[str]:
        yield element.text or ""
        for child in element.iterchildren("*"):
            name = local_name(child)
            if name == "s":
                yield self._spaces(_count(attribute(child, "c"), 1))
            elif name in MARKS:
                yield MARKS[name]
            elif name in ("annotation", "note"):
                self.asides.append("\n".join(self.blocks(child)))
            elif name in ("p", "h"):
                # Of a text box.
                yield f"{self.text(child)}\n"
            elif name not in UNSEEN:
                yield from self._pieces(child)
            yield child.tail or ""

    def _spaces(self, count: int) -> str:
        count = min(count, MAX_SPACES)
        self.left -= count
        if self.left < 0:
            raise UnreadableError(f"more than {MAX_TEXT_BYTES // MIB} MiB of text")
        return " " * count


def _rows(table: Any) -> Iterator[Any]:
    for child in table.iterchildren("*"):
        if local_name(child) == "table-row":
            yield child
        elif local_name(child) in ROWS:
            yield from _rows(child)


def _count(text: str | None, otherwise: int) -> int:
    digits = text or ""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else otherwise


def odt_document(path: Path, doc_id: str) -> Document:
    """Return a text's paragraphs and tables, followed by its notes, comments and headers.

    Raises:
        UnreadableError: It is damaged or exceeds the limits when unpacked.
    """
    with package(path, "ODT") as file:
        reader = _Reader(file, "ODT")
        blocks = list(reader.blocks(reader.body))
        heading = next((text.lstrip("# ") for text in blocks if text.startswith("#")), "")
        styles = file.part("styles.xml") if file.find("styles.xml") else None
        repeated: list[str] = []
        for page in () if styles is None else styles.iterfind("{*}master-styles/{*}master-page"):
            repeated += reader.blocks(page)
        blocks += [text for text in reader.asides if text.strip()]
        blocks += dict.fromkeys(repeated)
        title = reader.title() or heading
    return Document(doc_id, "\n\n".join(blocks), title=title, kind="markdown", faults=file.faults)


def ods_document(path: Path, doc_id: str) -> Document:
    """Return a workbook's rows, each value with the header of its column, sheets as pages.

    Raises:
        UnreadableError: It is damaged or exceeds the limits when unpacked.
    """
    with package(path, "ODS") as file:
        reader = _Reader(file, "ODS")
        sheets = SheetText()
        for table in reader.body.iterchildren("{*}table"):
            name = attribute(table, "name") or ""
            sheets.begin(name)
            try:
                for row in _rows(table):
                    sheets.row(_sheet_cells(reader, row, sheets))
            except SheetError as error:
                file.faults.append(f'sheet "{name}" cannot be read: {error}')
            for text in reader.asides:
                sheets.line(" ".join(text.split()))
            reader.asides.clear()
        title = reader.title()
    return paged_document(doc_id, sheets.pages, title=title, faults=file.faults)


def _sheet_cells(reader: _Reader, row: Any, sheets: SheetText) -> dict[int, str]:
    """Return the cells of a row; repeated rows are alike and read once."""
    cells: dict[int, str] = {}
    column = 0
    for cell in row.iterchildren("{*}table-cell", "{*}covered-table-cell"):
        times = _count(attribute(cell, "number-columns-repeated"), 1)
        text = " ".join(" ".join(reader.blocks(cell)).split())
        if text and times + len(cells) > MAX_COLUMNS:
            raise SheetError(f"more than {MAX_COLUMNS:,} columns")
        if text:
            sheets.take(len(text) * times)
            cells |= dict.fromkeys(range(column, column + times), text)
        column += times
    return cells


def odp_document(path: Path, doc_id: str) -> Document:
    """Return a presentation's slides with their notes, slides as pages.

    Raises:
        UnreadableError: It is damaged or exceeds the limits when unpacked.
    """
    with package(path, "ODP") as file:
        reader = _Reader(file, "ODP")
        pages = []
        for page in reader.body.iterchildren("{*}page"):
            pages.append([*reader.blocks(page), *reader.asides])
            reader.asides.clear()
        title = reader.title()
    return paged_document(doc_id, pages, title=title, faults=file.faults)


ODT = DocumentReader(name="ODT", suffixes=(".odt", ".ott"), read=odt_document)
ODS = DocumentReader(name="ODS", suffixes=(".ods",), read=ods_document)
ODP = DocumentReader(name="ODP", suffixes=(".odp",), read=odp_document)
