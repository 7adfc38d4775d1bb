"""The dialect of a delimited table: its delimiter, and whether a blank follows it."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

DELIMITERS = {"csv": ",", "tsv": "\t"}
OTHERS = (",", ";", "\t", "|")
# Lines that are compared to tell the delimiter from others.
SAMPLE_LINES, SAMPLE_CHARACTERS = 50, 1 << 16

_STATED = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_QUOTED_AFTER_BLANK = re.compile(r'[ \t]+".*"\s*', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the cells of a row are separated.

    Args:
        delimiter: The character between two cells.
        blanks: Whether blanks after a delimiter are not part of the cell.
    """

    delimiter: str
    blanks: bool = False

    @property
    def name(self) -> str:
        """Return the name of the format: TSV or CSV."""
        return "TSV" if self.delimiter == "\t" else "CSV"


def stated_delimiter(line: str) -> str | None:
    r"""Return the delimiter that a first line such as `sep=;` states, or None.

    >>> stated_delimiter("sep=;\r\n"), stated_delimiter("separator;text")
    (';', None)
    """
    match = _STATED.fullmatch(line)
    return match[1] if match else None


def sniffed(lines: Sequence[str], kind: str, columns: int = 0) -> Dialect:
    r"""Return the dialect of a table from its first lines.

    The delimiter of its format is used unless another one splits the first row, and more of the
    other rows into as many cells.

    Args:
        kind: csv or tsv, by the name of the file.
        columns: The number of columns, if the first row does not name them.

    >>> sniffed(["id;text\n", "1;one, two\n"], "csv")
    Dialect(delimiter=';', blanks=False)
    """
    usual = DELIMITERS[kind]
    best, most = Dialect(usual), _fitness(lines, Dialect(usual), columns)
    for delimiter in dict.fromkeys((usual, *OTHERS)):
        for blanks in (False, True) if delimiter != "\t" else (False,):
            dialect = Dialect(delimiter, blanks)
            fitness = _fitness(lines, dialect, columns)
            if fitness > most:
                best, most = dialect, fitness
    return best


def _fitness(lines: Sequence[str], dialect: Dialect, columns: int) -> tuple[float, float]:
    """Return the share of rows of the right width, and of cells that are cleanly quoted."""
    reader = csv.reader(lines, delimiter=dialect.delimiter, skipinitialspace=dialect.blanks)
    rows: list[list[str]] = []
    # An error is a cell above the size limit.
    with suppress(csv.Error):
        rows.extend(row for row in reader if row)
    width = columns or (len(rows[0]) if rows else 0)
    if not rows or width < 2:
        return -1.0, 0.0
    first, *more = rows
    fit = [_width(row) <= width and len(row) > 1 for row in (more if not columns else rows)]
    cells = [cell for row in rows for cell in row]
    unclean = sum(_QUOTED_AFTER_BLANK.fullmatch(cell) is not None for cell in cells)
    # Names after a blank, as in `id, title, text`.
    named = [name for name in first[1:] if name.strip()]
    unclean += not columns and bool(named) and all(name.startswith(" ") for name in named)
    return (sum(fit) / len(fit) if fit else 1.0), -unclean / len(cells)


def _width(row: Sequence[str]) -> int:
    """Return the number of cells without the empty ones at the end."""
    width = len(row)
    while width and not row[width - 1].strip():
        width -= 1
    return width


def sample(lines: Iterable[str]) -> tuple[list[str], Iterator[str]]:
    """Return the first lines, and an iterator over all lines."""
    every = iter(lines)
    first: list[str] = []
    for line in every:
        first.append(line)
        if len(first) >= SAMPLE_LINES or sum(map(len, first)) >= SAMPLE_CHARACTERS:
            break
    waiting = deque(first)

    def again() -> Iterator[str]:
        while waiting:
            yield waiting.popleft()
        yield from every

    return list(islice(first, SAMPLE_LINES)), again()
