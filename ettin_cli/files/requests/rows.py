"""The rows of a file that is given as input, whatever its format, or of a stream of JSONL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ettin_cli.corpus import JSONL, Row, jsonl, table_formats, table_reader_of
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.storage import Stream, UnreadableError, record_lines


def read_rows(
    path: Path | Stream, held: str, formats: str | None = None, columns: Sequence[str] = ()
) -> Iterator[Row]:
    """Return the rows of a table, those that are broken as a `RecordError`.

    Args:
        path: A stream holds JSONL.
        held: What the rows are, for an error message.
        formats: What can be read here, for the same; None: every format that has rows.
        columns: The names of the columns of a CSV or TSV whose first row does not have them.

    Raises:
        InvalidArgumentError: It is of no format that has rows, or of none that has columns;
            at once.
        CorpusError: The file, or the rest of it, cannot be read; when it is read.
    """
    reader = JSONL if isinstance(path, Stream) else table_reader_of(path.name)
    if reader is None:
        raise InvalidArgumentError(
            f"{path} is of no format that holds {held}",
            code="unknown-format",
            path=path,
            formats=formats or table_formats(),
        )
    if columns and not reader.named_rows:
        raise InvalidArgumentError(
            f"names of columns are for a CSV or TSV, and {path} is neither",
            argument="columns",
            value=columns,
        )
    if isinstance(path, Stream):
        return _read(path, jsonl(record_lines(path.file)))
    return _read(path, reader.table(path, columns))


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
