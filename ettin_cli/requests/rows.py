"""The rows of a file that is given as input, whatever its format, or of a stream of JSONL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ettin_cli.corpus.delimited import DELIMITERS
from ettin_cli.corpus.suffixes import kind_of
from ettin_cli.corpus.tables import Row, jsonl, read_table
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.storage import Stream, UnreadableError, record_lines

KINDS = ("jsonl", "json", "csv", "tsv", "parquet")


def read_rows(
    path: Path | Stream, held: str, formats: Sequence[str] = KINDS, columns: Sequence[str] = ()
) -> Iterator[Row]:
    """Return the rows of a table, those that are broken as a `RecordError`.

    Args:
        path: A stream holds JSONL.
        held: What the rows are, for an error message.
        formats: What can be read here, for the same.
        columns: The names of the columns of a CSV or TSV whose first row does not have them.

    Raises:
        InvalidArgumentError: It is of no format that has rows, or of none that has columns;
            at once.
        CorpusError: The file, or the rest of it, cannot be read; when it is read.
    """
    kind = "jsonl" if isinstance(path, Stream) else kind_of(path.name)
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
    if isinstance(path, Stream):
        return _read(path, jsonl(record_lines(path.file)))
    return _read(path, read_table(kind, path, columns))


def _read(path: Path | Stream, rows: Iterator[Row]) -> Iterator[Row]:
    with readable(path):
        yield from rows


@contextmanager
def readable(path: Path | Stream) -> Iterator[None]:
    """Name the file that cannot be read in the block.

    Raises:
        CorpusError: It cannot be read.
    """
    try:
        yield
    except UnreadableError as error:
        raise CorpusError(f"{path}: {error}", code="cannot-read", path=path) from error
