"""JSONL, JSON, CSV, TSV and Parquet: one record at a time, streamed."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ettin_cli.corpus.content import read_text, text_encoding
from ettin_cli.corpus.delimited import delimited_rows, repeated, require_narrow
from ettin_cli.corpus.encodings import is_utf8, marked_encoding
from ettin_cli.corpus.reader import Row, TableReader
from ettin_cli.corpus.records import LONE, LoneSurrogateError, RecordError, has_surrogate
from ettin_cli.settings import MAX_JSON_BYTES
from ettin_cli.storage import UnreadableError, opened, record_lines

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

HEAD_BYTES, HEAD_BLOCK = 1 << 20, 1 << 12
PARQUET_ROWS = 1024


def jsonl(lines: Iterable[bytes]) -> Iterator[Row]:
    """Yield the records of JSON lines; empty lines are skipped."""
    number = 0
    for line_number, line in enumerate(lines, start=1):
        content = line.removeprefix(b"\xef\xbb\xbf") if line_number == 1 else line
        if content.strip():
            number += 1
            # Without the line end, after which the parser restarts its column count.
            yield _parsed(content.rstrip(b"\r\n")), line_number, number


def _json_lines(path: Path) -> Iterator[Row]:
    with opened(path) as file:
        encoding = marked_encoding(file.read(4))
    with opened(path) as file:
        if encoding in (None, "utf-8-sig"):
            yield from jsonl(record_lines(file))
        else:
            with _text(file, encoding) as text:
                yield from jsonl(
                    line.encode("utf-8", "surrogateescape") for line in record_lines(text)
                )


@contextmanager
def _text(file: BinaryIO, encoding: str) -> Iterator[io.TextIOWrapper]:
    """Decode a file, with surrogates for undecodable bytes."""
    text = io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline="")
    try:
        yield text
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not {encoding}, contrary to its byte order mark") from error
    finally:
        text.detach()


def _parsed(content: bytes) -> object | RecordError:
    import orjson

    try:
        parsed: object = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        # The parser misreports bytes that are not UTF-8.
        reason = f"broken JSON: {error.msg} at column {error.colno}"
        if not is_utf8(content):
            return RecordError("not UTF-8")
        record = _with_surrogates(content.decode())
        return RecordError(reason) if record is None else LoneSurrogateError(LONE, record)
    return parsed


def _with_surrogates(text: str) -> object | None:
    """Return JSON that is valid except for lone surrogates; None if it is otherwise invalid."""
    if "\\ud" not in text.lower():
        return None
    try:
        # All other values are parsed as by the parser that rejects surrogates.
        value: object = json.loads(text, parse_int=_number, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return value if has_surrogate(value) else None


def _number(digits: str) -> object:
    import orjson

    return orjson.loads(digits)


def _no_number(name: str) -> object:
    raise ValueError(name)


def _json(path: Path) -> Iterator[Row]:
    import orjson

    text = read_text(path, MAX_JSON_BYTES)
    broken = False
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        first, *more = text.strip().split("\n", 1)
        if more and not isinstance(_parsed(first.encode()), RecordError):
            yield from jsonl(line.encode() for line in text.split("\n"))
            return
        reason = f"broken JSON: {error.msg} at line {error.lineno}"
        content = _with_surrogates(text)
        if content is None:
            raise UnreadableError(reason) from error
        broken = True
    for number, record in enumerate(content if isinstance(content, list) else [content], start=1):
        unfit = broken and has_surrogate(record)
        yield LoneSurrogateError(LONE, record) if unfit else record, None, number


def _delimited(path: Path, columns: Sequence[str] = (), *, kind: str) -> Iterator[Row]:
    encoding = text_encoding(_head(path))
    with opened(path) as file, _text(file, encoding) as text:
        rows = delimited_rows(record_lines(text), kind, encoding, columns)
        for number, (row, line) in enumerate(rows, start=1):
            yield row, line, number


def _head(path: Path) -> bytes:
    """Return the first bytes of a file, as far as it can be read."""
    head = b""
    with suppress(UnreadableError), opened(path) as file:
        while len(head) < HEAD_BYTES and (block := file.read(HEAD_BLOCK)):
            head += block
    return head


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with opened(path):
        # Arrow would wait for a pipe's writer.
        pass
    try:
        with pq.ParquetFile(path) as file:
            require_narrow(file.schema_arrow.names)
            if error := repeated(file.schema_arrow.names):
                yield error, None, 0
                return
            for number, record in enumerate(_parquet_records(file), start=1):
                yield record, None, number
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise UnreadableError(f"cannot be read: {os.strerror(error.errno)}") from error
        reason = next(iter(str(error).splitlines()), "")
        raise UnreadableError(f"not a valid Parquet file: {reason}") from error


def _parquet_records(file: pq.ParquetFile) -> Iterator[dict[str, object]]:
    for batch in file.iter_batches(batch_size=PARQUET_ROWS):
        columns = [_values(column) for column in batch.columns]
        for row in zip(*columns, strict=True):
            yield dict(zip(batch.schema.names, row, strict=True))


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


JSONL = TableReader(
    name="JSONL", suffixes=(".jsonl", ".ndjson"), rows=_json_lines, lines=True, compressed=True
)
JSON = TableReader(name="JSON", suffixes=(".json",), rows=_json, compressed=True)
_csv, _tsv = partial(_delimited, kind="csv"), partial(_delimited, kind="tsv")
CSV = TableReader(
    name="CSV", suffixes=(".csv",), rows=_csv, named_rows=_csv, lines=True, compressed=True
)
TSV = TableReader(
    name="TSV", suffixes=(".tsv",), rows=_tsv, named_rows=_tsv, lines=True, compressed=True
)
PARQUET = TableReader(name="Parquet", suffixes=(".parquet",), rows=_parquet, count=_parquet_count)
