"""CSV and TSV: rows with their line numbers; a malformed row does not affect the others."""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ettin_cli.corpus.records import RecordError
from ettin_cli.runtime import Lock
from ettin_cli.settings import MAX_COLUMNS
from ettin_cli.storage import UnreadableError

FIELD_CHARACTERS = 1 << 26
DELIMITERS = {"csv": ",", "tsv": "\t"}


def delimited_rows(
    lines: Iterable[str], kind: str, encoding: str, columns: Sequence[str] = ()
) -> Iterator[tuple[dict[str, Any] | RecordError, int]]:
    """Yield each row as a mapping by the names in the first row, with its first line number.

    Columns without a name are named by their number: `column 3`.

    Args:
        encoding: Encoding of the lines; undecodable bytes are surrogates.
        columns: The column names, if the first row does not contain them.

    Raises:
        UnreadableError: The first row is malformed, or has too many columns.
    """
    rows = _rows(_Lines(lines), kind, encoding)
    if columns:
        yield from _named(rows, columns)
        return
    first, begins = next(rows, ([], 0))
    if isinstance(first, RecordError):
        raise UnreadableError(f"the first row is not a header: {first}")
    require_narrow(first)
    header = [name.strip() or f"column {place}" for place, name in enumerate(first, start=1)]
    if error := repeated(header):
        yield error, begins
        return
    for row, line in rows:
        if isinstance(row, RecordError):
            yield RecordError(str(row), header), line
        elif len(row) != len(header):
            reason = f"{len(row)} fields, but the header has {len(header)}"
            yield RecordError(reason, header), line
        else:
            yield dict(zip(header, row, strict=True)), line


def _named(
    rows: Iterable[tuple[list[str] | RecordError, int]], columns: Sequence[str]
) -> Iterator[tuple[dict[str, Any] | RecordError, int]]:
    """Yield each row by the given column names; a first row that repeats them is skipped."""
    for number, (row, line) in enumerate(rows):
        if isinstance(row, RecordError):
            yield RecordError(str(row), columns), line
        elif len(row) != len(columns):
            reason = f"{len(row)} fields, but {len(columns)} column names"
            yield RecordError(reason, columns), line
        elif number or [name.strip() for name in row] != list(columns):
            yield dict(zip(columns, row, strict=True)), line


def require_narrow(names: Sequence[str]) -> None:
    """Check that a table has few enough columns to be read in bounded time.

    Raises:
        UnreadableError: It has too many.
    """
    if len(names) > MAX_COLUMNS:
        raise UnreadableError(f"{len(names):,} columns, more than {MAX_COLUMNS:,}")


def repeated(names: Sequence[str]) -> RecordError | None:
    """Return an error if two columns have the same name, else None."""
    name, times = next(iter(Counter(names).most_common(1)), ("", 0))
    return RecordError(f'{times} columns are named "{name}"', names) if times > 1 else None


def _rows(lines: _Lines, kind: str, encoding: str) -> Iterator[tuple[list[str] | RecordError, int]]:
    """Yield each row that is not empty, or the reason it is invalid, with its first line number."""
    reader = csv.reader(lines, delimiter=DELIMITERS[kind], strict=True)
    with _wide_fields:
        while True:
            begins = lines.begin_row()
            row: list[str] | RecordError
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                row = RecordError(f"broken {kind.upper()}: {error}")
                if lines.quote_opens_again(DELIMITERS[kind]):
                    lines.give_back()
            if kind == "tsv" and (isinstance(row, RecordError) or _swallowed(row)):
                lines.give_back()
                row = lines.row[0].rstrip("\r\n").split("\t")
            if not _is_complete(lines.row):
                row = RecordError(f"not {encoding.upper().removesuffix('-SIG')}")
            if row:
                yield row, begins


class _WideFields:
    """Raises the field size limit to that of records while any thread reads rows.

    The csv module has a single limit per process, which is then restored.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.reading = self.usual = 0

    def __enter__(self) -> None:
        with self.lock:
            if not self.reading:
                self.usual = csv.field_size_limit(FIELD_CHARACTERS)
            self.reading += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.reading -= 1
            if not self.reading:
                csv.field_size_limit(self.usual)


_wide_fields = _WideFields()


def _swallowed(row: list[str]) -> bool:
    """Return whether a stray quotation mark swallowed the rows after it."""
    return any("\t" in cell and "\n" in cell for cell in row)


def _is_complete(lines: list[str]) -> bool:
    try:
        for line in lines:
            line.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Lines:
    """Lines that can be returned to the input, if a row turns out to be shorter than it seemed."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = iter(lines)
        self.again: deque[str] = deque()
        self.row: list[str] = []
        self.count = 0
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self.lines, None)
        self.ended = line is None
        if line is None:
            raise StopIteration
        self.row.append(line)
        self.count += 1
        return line

    def begin_row(self) -> int:
        """Discard the lines of the previous row; return the number of the next line."""
        self.row = []
        return self.count + 1

    def quote_opens_again(self, delimiter: str) -> bool:
        """Return whether a quotation was left open: it ran to the end, or until another opened."""
        last = self.row[-1]
        quote = last.find('"')
        return self.ended or quote < 1 or last[quote - 1] == delimiter

    def give_back(self) -> None:
        """Reduce the row to its first line."""
        self.again.extendleft(reversed(self.row[1:]))
        self.count -= len(self.row) - 1
        self.row = self.row[:1]
