"""The rows of a file that is given as input, whatever its format; "-" is standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ettin_cli.corpus.delimited import DELIMITERS
from ettin_cli.corpus.suffixes import kind_of
from ettin_cli.corpus.tables import Row, jsonl, read_table
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.storage import UnreadableError, record_lines

STDIN = "-"
KINDS = ("jsonl", "json", "csv", "tsv", "parquet")


def read_rows(
    path: Path, held: str, formats: Sequence[str] = KINDS, columns: Sequence[str] = ()
) -> Iterator[Row]:
    """Return the rows of a table, those that are broken as a `RecordError`.

    Args:
        path: "-" is standard input, as JSONL.
        held: What the rows are, for an error message.
        formats: What can be read here, for the same.
        columns: The names of the columns of a CSV or TSV whose first row does not have them.

    Raises:
        InvalidArgumentError: It is of no format that has rows, or of none that has columns;
            at once.
        CorpusError: The file, or the rest of it, cannot be read; when it is read.
    """
    kind = "jsonl" if str(path) == STDIN else kind_of(path.name)
    if kind not in KINDS:
        raise InvalidArgumentError(
            f"{path} is of no format that holds {held}",
            code="unknown-format",
            path=path,
            formats=formats,
        )
    if columns and kind not in DELIMITERS:
        raise InvalidArgumentError(
            f"names of columns are for a CSV or TSV, and {path} is neither",
            argument="columns",
            value=columns,
        )
    if str(path) == STDIN:
        return _read(path, jsonl(record_lines(sys.stdin.buffer)))
    return _read(path, read_table(kind, path, columns))


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
        raise CorpusError(f"{path}: {error}", code="cannot-read", path=path) from error
