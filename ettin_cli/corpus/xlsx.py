"""XLSX -> a document: the rows of each sheet, sheets as pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from ettin_cli.corpus.packages import DAMAGES, Package, local_name, outermost, package
from ettin_cli.corpus.paged import paged_document
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.corpus.sheets import SheetError, SheetText
from ettin_cli.errors import first_line
from ettin_cli.records import Document
from ettin_cli.settings import MAX_COLUMNS, MAX_SHEET_BYTES, MAX_SHEET_TAGS

DATES, TIMES = (
    frozenset([*range(14, 18), 22, *range(27, 32), *range(50, 59)]),
    frozenset([18, 19, 20, 21, 45, 46, 47]),
)
PERCENT = frozenset([9, 10])
EPOCH, EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)
# Before this day, Excel's calendar is a day behind: it has a 29 February 1900.
FALSE_LEAP_DAY = 60
DAY_S = 86_400
_COLUMN = re.compile(r"([A-Za-z]{1,3})\d*$")
_NO_FORMAT = re.compile(r"\"[^\"]*\"|\\.|\[[^\[\]]*\]|_.")


def xlsx_document(path: Path, doc_id: str) -> Document:
    """Return a workbook's rows, each value with the header of its column, and its comments.

    A sheet that is missing or damaged is a fault of the document.

    Raises:
        UnreadableError: It is damaged or exceeds the limits when unpacked.
    """
    with package(path, "XLSX", most=MAX_SHEET_BYTES, whole=False) as file:
        book = _Workbook(file)
        book.read()
        title = file.core_title()
    return paged_document(doc_id, book.text.pages, title=title, faults=file.faults)


class _Workbook:
    """Reads the sheets of a workbook, row by row."""

    def __init__(self, file: Package) -> None:
        self.file = file
        self.text = SheetText()
        self.main = file.main_part("xl/workbook.xml")
        self.root = file.xml(self.main)
        properties = self.root.find("{*}workbookPr")
        later = properties is not None and properties.get("date1904") in ("1", "true")
        self.epoch = EPOCH_1904 if later else EPOCH
        self.formats = self._formats()
        self.strings = self._strings()

    def read(self) -> None:
        """Read all sheets."""
        targets = {one.id: one.target for one in self.file.relations(self.main)}
        for sheet in self.root.iterfind(".//{*}sheet"):
            wanted = next((sheet.get(key) for key in sheet.attrib if key.endswith("}id")), "")
            name = targets.get(wanted, "")
            label = sheet.get("name", "")
            self.text.begin(label)
            if self.file.find(name) is None:
                self.file.faults.append(f'sheet "{label}" is missing')
                continue
            try:
                self._sheet(name)
            except DAMAGES as error:
                self.file.faults.append(f'sheet "{label}" cannot be read: {first_line(error)}')
            self._asides(name)

    def _sheet(self, name: str) -> None:
        cells: dict[int, str] = {}
        column = seen = 0
        for element in _elements(self.file, name, ("c", "row")):
            if local_name(element) == "row":
                self.text.row(cells)
                cells, column, seen = {}, 0, 0
                continue
            found = _COLUMN.match(element.get("r", ""))
            column = _column(found.group(1)) if found else column + 1
            seen += 1
            if seen > MAX_COLUMNS:
                raise SheetError(f"more than {MAX_COLUMNS:,} columns")
            cells[column] = self._value(element)
            self.text.take(len(cells[column]))

    def _value(self, cell: Any) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _string(cell)
        value = (cell.findtext("{*}v") or "").strip()
        if kind == "s":
            return self._shared(value)
        if kind == "b":
            return {"1": "TRUE", "0": "FALSE"}.get(value, value)
        if kind == "n" and value:
            style = cell.get("s", "")
            form = self.formats.get(int(style), "") if style.isdigit() else ""
            return _shown(value, form, self.epoch)
        return " ".join(value.split())

    def _shared(self, number: str) -> str:
        at = int(number) if number.isascii() and number.isdigit() else -1
        if 0 <= at < len(self.strings):
            return self.strings[at]
        if not self.file.faults:
            self.file.faults.append("some cells refer to strings that are missing")
        return ""

    def _strings(self) -> list[str]:
        """Return the strings that cells refer to by number."""
        strings: list[str] = []
        for name in self.file.related(self.main, "sharedStrings"):
            if self.file.find(name) is None:
                self.file.faults.append(f"{name} is missing")
                continue
            try:
                for item in _elements(self.file, name, ("si",)):
                    strings.append(_string(item))
            except DAMAGES as error:
                self.file.faults.append(f"{name} cannot be read: {first_line(error)}")
        return strings

    def _formats(self) -> dict[int, str]:
        """Return the formats of dates, times and percentages by the number of the style."""
        names = [one for one in self.file.related(self.main, "styles") if self.file.find(one)]
        root = self.file.part(names[0]) if names else None
        if root is None:
            return {}
        own = {
            one.get("numFmtId"): _kind(one.get("formatCode", ""))
            for one in root.iterfind("{*}numFmts/{*}numFmt")
        }
        styles = root.iterfind("{*}cellXfs/{*}xf")
        return {
            at: form
            for at, style in enumerate(styles)
            if (form := own.get(style.get("numFmtId")) or _usual(style.get("numFmtId", "")))
        }

    def _asides(self, sheet: str) -> None:
        """Add the comments and text boxes of a sheet."""
        for name in self.file.related(sheet, "comments", "threadedComment", "drawing"):
            root = self.file.part(name)
            if root is None:
                continue
            for comment in outermost(root, "comment"):
                self.text.line(f"{comment.get('ref', '')}: {_string(comment)}")
            for comment in outermost(root, "threadedComment"):
                text = " ".join((comment.findtext("{*}text") or "").split())
                self.text.line(f"{comment.get('ref', '')}: {text}")
            for body in outermost(root, "txBody"):
                for paragraph in body.iterchildren("{*}p"):
                    if text := _string(paragraph):
                        self.text.line(text)


class _Markup:
    """A stream of XML that ends with an error if too much of it is not what is looked for.

    The parser keeps what comes between the elements that are taken from it.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.tags = stream, 0

    def read(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            SheetError: There were too many tags since the last element that was taken.
        """
        block = self.stream.read(size)
        self.tags += block.count(b"<")
        if self.tags > MAX_SHEET_TAGS:
            raise SheetError(f"more than {MAX_SHEET_TAGS:,} tags in a row that are not of cells")
        return block


def _elements(file: Package, name: str, tags: tuple[str, ...]) -> Iterator[Any]:
    """Yield elements as they end, and free them.

    Raises:
        SheetError: There is too much other markup between them.
    """
    from lxml import etree

    with file.stream(name) as stream:
        markup = _Markup(stream)
        found = etree.iterparse(
            markup,
            events=("end",),
            tag=[f"{{*}}{tag}" for tag in tags],
            resolve_entities=False,
            no_network=True,
            remove_comments=True,
            remove_pis=True,
        )
        for _, element in found:
            markup.tags = 0
            yield element
            element.clear(keep_tail=False)
            parent = element.getparent()
            # Elements before this one are done.
            while parent is not None and element.getprevious() is not None:
                del parent[0]


def _string(element: Any) -> str:
    """Return the text of rich text, without its phonetic reading."""
    runs = (run.text or "" for run in element.iter("{*}t") if local_name(run.getparent()) != "rPh")
    return " ".join("".join(runs).split())


def _column(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _usual(number: str) -> str:
    code = int(number) if number.isascii() and number.isdigit() else 0
    if code in PERCENT:
        return "percent"
    return "date" if code in DATES else "time" if code in TIMES else ""


def _kind(code: str) -> str:
    """Return whether a format shows dates, times or percentages; "" if none of these."""
    first = _NO_FORMAT.sub("", code.split(";")[0]).lower()
    if "%" in first:
        return "percent"
    if "y" in first or "d" in first:
        return "date"
    return "time" if "h" in first or "s" in first else "date" if "m" in first else ""


def _shown(value: str, form: str, epoch: datetime) -> str:
    """Return a number as text.

    >>> [_shown(*one, EPOCH) for one in (("45000.5", "date"), ("0.25", "time"), ("0.1230", ""))]
    ['2023-03-15 12:00', '06:00', '0.123']
    """
    try:
        number = float(value)
        if form == "percent":
            return f"{number * 100:.10g}%"
        if form:
            return _date(number, form, epoch)
    except (ValueError, OverflowError):
        return value
    return value if value.lstrip("-").isdigit() else f"{number:.15g}"


def _date(number: float, form: str, epoch: datetime) -> str:
    early = epoch == EPOCH and number < FALSE_LEAP_DAY
    seconds = round(number * DAY_S)
    moment = epoch + timedelta(days=early, seconds=seconds)
    clock = f"{moment:%H:%M:%S}".removesuffix(":00")
    if form == "time" and number < 1:
        return clock
    return f"{moment:%Y-%m-%d}" + (f" {clock}" if seconds % DAY_S else "")


XLSX = DocumentReader(name="XLSX", suffixes=(".xlsx", ".xlsm"), read=xlsx_document)
