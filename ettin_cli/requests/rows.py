"""The rows of a file that is given as input, whatever its format; "-" is standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ettin_cli.corpus.reader import Row
from ettin_cli.corpus.registry import table_formats, table_reader_of
from ettin_cli.corpus.tables import JSONL, jsonl
from ettin_cli.errors import CorpusError, UsageError
from ettin_cli.storage import UnreadableError, record_lines

STDIN = "-"


def read_rows(
    path: Path, held: str, hint: str | None = None, columns: Sequence[str] = ()
) -> Iterator[Row]:
    """Return the rows of a table, those that are broken as a `RecordError`.

    Args:
        path: "-" is standard input, as JSONL.
        held: What the rows are, for an error message; `hint` is its hint, by default the formats.
        columns: The names of the columns of a CSV or TSV whose first row does not have them.

    Raises:
        UsageError: It is of no format that has rows, or of none that has columns; at once.
        CorpusError: The file, or the rest of it, cannot be read; when it is read.
    """
    reader = JSONL if str(path) == STDIN else table_reader_of(path.name)
    if reader is None:
        what = f"{path} is of no format that holds {held}"
        raise UsageError(what, hint=hint or table_formats())
    if columns and not reader.named_rows:
        raise UsageError(f"--fields names the columns of a CSV or TSV, and {path} is neither")
    if str(path) == STDIN:
        return _read(path, jsonl(record_lines(sys.stdin.buffer)))
    return _read(path, reader.table(path, columns))


def _read(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    with readable(path):
        yield from rows


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Name the file that cannot be read in the block.

    Raises:
        CorpusError: It cannot be read.
    """
    try:
        yield
    except UnreadableError as error:
        raise CorpusError(f"{path}: {error}") from error
