"""JSONL, JSON, CSV, TSV and Parquet: a record each, streamed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.records import RecordError
from ettin_cli.storage import UnreadableError, opened

CSV_FIELD_BYTES = 1 << 28
PARQUET_ROWS = 1024

# A record or the reason why it is none, its line in the file (None where the format has no
# lines), and its number, from 1.
Row = tuple[object | RecordError, int | None, int]


def read_table(kind: str, path: Path) -> Iterator[Row]:
    """Yield the rows of a table, those that are broken as a `RecordError`.

    Raises:
        UnreadableError: The file, or the rest of it, cannot be read.
    """
    if kind == "parquet":
        yield from _parquet(path)
    elif kind == "json":
        yield from _json(path)
    else:
        with opened(path) as file:
            yield from (jsonl(file) if kind == "jsonl" else _delimited(file, kind))


def jsonl(file: BinaryIO) -> Iterator[Row]:
    """Yield the records of JSON lines; empty lines are passed over."""
    number = 0
    for line_number, line in enumerate(file, start=1):
        content = line.removeprefix(b"\xef\xbb\xbf") if line_number == 1 else line
        if content.strip():
            number += 1
            yield _parsed(content), line_number, number


def _parsed(content: bytes) -> object | RecordError:
    import orjson

    try:
        parsed: object = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        return RecordError(f"broken JSON: {error.msg} at column {error.colno}")
    return parsed


def _json(path: Path) -> Iterator[Row]:
    import orjson

    try:
        content = orjson.loads(read_text(path))
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"broken JSON: {error.msg} at line {error.lineno}") from error
    for number, record in enumerate(content if isinstance(content, list) else [content], start=1):
        yield record, None, number


def _delimited(file: BinaryIO, kind: str) -> Iterator[Row]:
    csv.field_size_limit(CSV_FIELD_BYTES)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, delimiter="\t" if kind == "tsv" else ",", strict=True)
    try:
        header = next(reader, [])
        begins = reader.line_num + 1
        for number, row in enumerate(reader, start=1):
            if row:
                yield _cells(header, row), begins, number
            begins = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not UTF-8 after line {reader.line_num}") from error
    except csv.Error as error:
        raise UnreadableError(
            f"broken {kind.upper()} at line {reader.line_num}: {error}"
        ) from error
    finally:
        text.detach()


def _cells(header: list[str], row: list[str]) -> dict[str, Any] | RecordError:
    if len(row) != len(header):
        return RecordError(f"{len(row)} fields where the header has {len(header)}")
    return dict(zip(header, row, strict=True))


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                for record in batch.to_pylist():
                    number += 1
                    yield {name: _plain(value) for name, value in record.items()}, None, number
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UnreadableError(f"not a whole Parquet file: {reason}") from error


def _plain(value: object) -> object:
    """Return a cell as a JSON value: dates and the like as their text."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    plain = value is None or isinstance(value, (bool, int, float, str))
    return value if plain else str(value)
