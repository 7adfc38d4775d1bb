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
    import pyarrow.parquet as pq

BATCH_ROWS = 1024
BUFFER_BYTES = 1 << 16
# The first bytes of the file format, and of the first version of Feather; a stream has neither.
ARROW_FILE, FEATHER_1 = b"ARROW1", b"FEA1"


def _parquet(path: Path) -> Iterator[Row]:
    with _opened_parquet(path) as file:
        yield from _rows(file.schema_arrow, file.iter_batches(batch_size=BATCH_ROWS))


@contextmanager
def _opened_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    import pyarrow.parquet as pq

    with opened(path):
        # Arrow would wait for a pipe's writer.
        pass
    # Else a row group, which may be all of a file, is read at once.
    buffered = {"buffer_size": BUFFER_BYTES, "pre_buffer": False}
    with _readable("Parquet"), pq.ParquetFile(path, **buffered) as file:
        yield file


def row_groups(path: Path) -> list[int]:
    """Return the number of rows of each row group of a Parquet file.

    Raises:
        UnreadableError: The file is not valid.
    """
    with _opened_parquet(path) as file:
        metadata = file.metadata
        return [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]


def batch_rows(path: Path, begin: int, end: int) -> Iterator[Row]:
    """Yield a range of the rows of a Parquet file, with the values that reading all of it gives.

    Only the row groups of the range are read. Values that Python lacks become text for all rows of
    a batch, so batches are cut as in reading all of it.

    Raises:
        UnreadableError: The file is not valid.
    """
    first, last = begin - begin % BATCH_ROWS, -(-end // BATCH_ROWS) * BATCH_ROWS
    groups: list[int] = []
    before = at = 0
    for number, rows in enumerate(row_groups(path)):
        if at + rows > first and at < last:
            before = before if groups else at
            groups.append(number)
        at += rows
    with _opened_parquet(path) as file:
        batches = file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups)
        aligned = _aligned(batches, first - before, last - first)
        for record, line, number in _rows(file.schema_arrow, aligned, first):
            if number > end:
                return
            if number > begin or not number:
                yield record, line, number


def _aligned(
    batches: Iterable[pa.RecordBatch], skipped: int, rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield batches of BATCH_ROWS rows from a place within others."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        if skipped >= batch.num_rows:
            skipped -= batch.num_rows
            continue
        held.append(batch.slice(skipped))
        count, skipped = count + held[-1].num_rows, 0
        while count >= BATCH_ROWS:
            whole = pa.Table.from_batches(held).combine_chunks()
            [first] = whole.slice(0, BATCH_ROWS).to_batches()
            yield first
            rows -= BATCH_ROWS
            if rows <= 0:
                return
            held = whole.slice(BATCH_ROWS).to_batches()
            count -= BATCH_ROWS
    if count:
        yield from pa.Table.from_batches(held).combine_chunks().to_batches()


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


def _rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch], number: int = 0) -> Iterator[Row]:
    require_narrow(schema.names)
    if error := repeated(schema.names):
        yield error, None, 0
        return
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
