"""The rows of an input file of any table format, or of a stream of JSONL."""

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
    """Return the rows of a table; broken rows are a `RecordError`.

    Args:
        path: A file, or a stream of JSONL.
        held: What the rows are, for error messages.
        formats: The readable formats, for error messages; None: every table format.
        columns: The column names of a CSV or TSV without a header.

    Raises:
        InvalidArgumentError: The format is not a table, or takes no column names. Raised by the
            call itself.
        CorpusError: The file cannot be read. Raised while iterating.
    """
    reader = JSONL if isinstance(path, Stream) else table_reader_of(path.name)
    if reader is None:
        raise InvalidArgumentError(
            f"{path} is not in a format that holds {held}",
            code="unknown-format",
            path=path,
            formats=formats or table_formats(),
        )
    if columns and not reader.named_rows:
        raise InvalidArgumentError(
            f"column names need a CSV or TSV, not {path}",
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
    """Turn read errors in the block into a `CorpusError` that gives the path.

    Raises:
        CorpusError: The file cannot be read.
    """
    try:
        yield
    except UnreadableError as error:
        raise CorpusError(f"{path}: {error}", code="cannot-read", path=path) from error
