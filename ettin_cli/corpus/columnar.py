"""Parquet, Feather and Arrow: tables in columns, read in batches of rows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.corpus.delimited import repeated, require_narrow
from ettin_cli.corpus.encodings import is_utf8
from ettin_cli.corpus.reader import Row, TableReader
from ettin_cli.storage import UnreadableError, opened

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1024
# The first bytes of the file format, and of the first version of Feather; a stream has neither.
ARROW_FILE, FEATHER_1 = b"ARROW1", b"FEA1"


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    with opened(path):
        # Arrow would wait for a pipe's writer.
        pass
    with _readable("Parquet"), pq.ParquetFile(path) as file:
        yield from _rows(file.schema_arrow, file.iter_batches(batch_size=BATCH_ROWS))


def _arrow(path: Path) -> Iterator[Row]:
    import pyarrow as pa

    with opened(path) as file:
        begins = file.read(len(ARROW_FILE))
    if begins.startswith(FEATHER_1):
        raise UnreadableError("Feather version 1, which is not read; write it as version 2")
    with _readable("Arrow"), pa.OSFile(str(path)) as source:
        if begins == ARROW_FILE:
            file = pa.ipc.open_file(source)
            batches = (file.get_batch(at) for at in range(file.num_record_batches))
            yield from _rows(file.schema, _checked(batches))
        else:
            stream = pa.ipc.open_stream(source)
            yield from _rows(stream.schema, _checked(stream))


def _checked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches in pieces of some rows; a damaged one is never looked into."""
    for batch in batches:
        batch.validate(full=True)
        for begin in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(begin, BATCH_ROWS)


@contextmanager
def _readable(kind: str) -> Iterator[None]:
    """Turn errors of Arrow into an `UnreadableError`."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise UnreadableError(f"cannot be read: {os.strerror(error.errno)}") from error
        reason = next(iter(str(error).splitlines()), "")
        raise UnreadableError(f"not a valid {kind} file: {reason}") from error


def _rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    require_narrow(schema.names)
    if error := repeated(schema.names):
        yield error, None, 0
        return
    number = 0
    for batch in batches:
        columns = [_values(column) for column in batch.columns]
        for row in zip(*columns, strict=True):
            number += 1
            yield dict(zip(schema.names, row, strict=True)), None, number


def _values(column: pa.Array) -> list[object]:
    """Return a column as JSON values; values that Python cannot represent become text."""
    import pyarrow as pa

    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        values = column.cast(pa.binary()).to_pylist()
    except (ValueError, OverflowError):
        # Times with nanoseconds, and dates after the year 9999.
        values = column.cast(pa.string()).to_pylist()
    return [_plain(value) for value in values]


def _plain(value: object) -> object:
    """Return a cell as a JSON value: dates and similar values as text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode() if is_utf8(value) else {"bytes": len(value)}
    return str(value)


def _parquet_count(path: Path) -> int:
    """Return the number of rows of a Parquet file; 0 if it is invalid, which reading reports."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with opened(path):
        # Arrow would wait for a pipe's writer.
        pass
    try:
        rows: int = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError):
        return 0
    return rows


PARQUET = TableReader(name="Parquet", suffixes=(".parquet",), rows=_parquet, count=_parquet_count)
ARROW = TableReader(name="Feather", suffixes=(".feather", ".arrow"), rows=_arrow)
