"""The rows of an input file of any table format, or of a stream of JSONL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ettin_cli.corpus import (
    JSONL,
    Piece,
    Row,
    ScatteredError,
    cut,
    jsonl,
    piece_rows,
    table_formats,
    table_reader_of,
)
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.storage import Stream, UnreadableError, record_lines

Group = Callable[[object], int | None]


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


def piece_of(path: Path, piece: Piece, columns: Sequence[str] = ()) -> Iterator[Row]:
    """Return the rows of a piece of a table, as `read_rows` returns those of all of it."""
    return _read(path, piece_rows(path, piece, columns))


def cut_rows(path: Path, rows: int, group: Group | None = None) -> Iterator[Piece]:
    """Yield the pieces of a table that can be scored apart.

    Args:
        rows: The least number of rows of a piece, except for the last one.
        group: Returns the query of a record; the rows of a query stay together.

    Raises:
        CorpusError: The file cannot be read, or the rows of a query are not adjacent.
    """
    try:
        with readable(path):
            yield from cut(path, rows, group)
    except ScatteredError as error:
        place = f"{path}:{error.line}" if error.line else f"{path}: row {error.row}"
        raise CorpusError(
            f"{place}: the query appeared before, and its rows are not adjacent",
            code="rows-scattered",
            path=path,
        ) from error


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
