"""CSV and TSV: rows with their line numbers; a malformed row does not affect the others."""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from ettin_cli.corpus.content import count_replaced, repaired
from ettin_cli.corpus.dialects import Dialect, sample, sniffed, stated_delimiter
from ettin_cli.corpus.records import RecordError, ShortRowError, quoted
from ettin_cli.runtime import Lock
from ettin_cli.settings import MAX_COLUMNS
from ettin_cli.storage import UnreadableError

FIELD_CHARACTERS = 1 << 26

_ESCAPED = re.compile(r'\\(["\\])')


def delimited_rows(
    lines: Iterable[str], kind: str, encoding: str, columns: Sequence[str] = ()
) -> Iterator[tuple[dict[str, Any] | RecordError, int]]:
    """Yield each row as a mapping by the names in the first row, with its first line number.

    Columns without a name are named by their number: `column 3`. Empty cells after the last column
    do not count. A row without its last cells is a `ShortRowError`.

    Args:
        kind: csv or tsv; the delimiter is another one if that splits the first lines better.
        encoding: Encoding of the lines; undecodable bytes are surrogates.
        columns: The column names, if the first row does not contain them.

    Raises:
        UnreadableError: The first row is malformed, or has too many columns.
    """
    first_lines, every = sample(lines)
    stated = stated_delimiter(first_lines[0].lstrip("\ufeff")) if first_lines else None
    held = _Lines(every)
    if stated:
        next(held)
    dialect = Dialect(stated) if stated else sniffed(first_lines, kind, len(columns))
    rows = _rows(held, dialect, encoding)
    if columns:
        yield from _named(rows, columns, f"{len(columns)} column names")
        return
    first, begins = next(rows, ([], 0))
    if isinstance(first, RecordError):
        raise UnreadableError(f"the first row is not a header: {first}")
    require_narrow(first)
    header = [name.strip() or f"column {place}" for place, name in enumerate(first, start=1)]
    if error := repeated(header):
        yield error, begins
        return
    unnamed = {name for name, given in zip(header, first, strict=True) if not given.strip()}
    named = _named(rows, header, f"the header has {len(header)}", begins=1)
    if not unnamed:
        yield from named
        return
    for row, line in named:
        if isinstance(row, dict):
            row = {name: cell for name, cell in row.items() if cell or name not in unnamed}
        yield row, line


def _named(
    rows: Iterable[tuple[list[str] | RecordError, int]],
    columns: Sequence[str],
    wanted: str,
    begins: int = 0,
) -> Iterator[tuple[dict[str, Any] | RecordError, int]]:
    """Yield each row by the column names; a row 0 that repeats them is skipped.

    Args:
        wanted: The number of columns, for the message of a row of another width.
        begins: The number of the first row.
    """
    names = list(columns)
    for number, (row, line) in enumerate(rows, begins):
        if isinstance(row, RecordError):
            yield RecordError(str(row), names), line
            continue
        cells = row
        if len(row) > len(names) and not any(map(str.strip, row[len(names) :])):
            cells = row[: len(names)]
        if len(cells) == len(names):
            if number or [name.strip() for name in cells] != names:
                yield dict(zip(names, cells, strict=True)), line
            continue
        reason = f"{len(row)} fields, but {wanted}"
        if len(cells) > len(names):
            yield RecordError(reason, names), line
        else:
            yield ShortRowError(reason, dict(zip(names, cells, strict=False)), names), line


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
    return RecordError(f"{times} columns are named {quoted(name)}", names) if times > 1 else None


def _rows(
    lines: _Lines, dialect: Dialect, encoding: str
) -> Iterator[tuple[list[str] | RecordError, int]]:
    """Yield each row that is not empty, or the reason it is invalid, with its first line number."""
    reader = _reader(lines, dialect)
    tabs = dialect.delimiter == "\t"
    with _wide_fields:
        while True:
            begins = lines.begin_row()
            row: list[str] | RecordError
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                row = _escaped(lines, dialect) or RecordError(f"broken {dialect.name}: {error}")
                if isinstance(row, RecordError) and lines.quote_opens_again(dialect.delimiter):
                    lines.give_back()
            if tabs and (isinstance(row, RecordError) or _swallowed(row)):
                lines.give_back()
                row = lines.row[0].rstrip("\r\n").split("\t")
            if not _is_complete(lines.row):
                found = None if isinstance(row, RecordError) else repaired(row)
                row = RecordError(f"not {encoding.upper().removesuffix('-SIG')}")
                if found:
                    row, replaced = found
                    count_replaced(replaced, begins)
            if row:
                yield row, begins


def _reader(lines: Iterable[str], dialect: Dialect) -> Iterator[list[str]]:
    return csv.reader(
        lines, delimiter=dialect.delimiter, skipinitialspace=dialect.blanks, strict=True
    )


def _escaped(lines: _Lines, dialect: Dialect) -> list[str] | None:
    r"""Return a malformed row read with its quotation marks escaped as \"; None if it has none."""
    first, count = lines.row[0], len(lines.row)
    if not any('\\"' in line for line in lines.row):
        return None
    lines.give_back()
    again = (_ESCAPED.sub(_doubled, line) for line in chain([first], lines))
    try:
        return next(_reader(again, dialect))
    except (csv.Error, StopIteration):
        lines.restore(count)
        return None


def _doubled(match: re.Match[str]) -> str:
    return '""' if match[1] == '"' else "\\"


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
    return not any("\0" in line for line in lines)


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

    def restore(self, count: int) -> None:
        """Give the row this number of lines, from those that were read or returned."""
        self.give_back()
        while len(self.row) < count:
            next(self)

    def give_back(self) -> None:
        """Reduce the row to its first line."""
        self.again.extendleft(reversed(self.row[1:]))
        self.count -= len(self.row) - 1
        self.row = self.row[:1]
