"""JSONL, JSON, CSV and TSV: one record at a time, streamed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from ettin_cli.corpus.content import given_encoding, read_text, text_encoding
from ettin_cli.corpus.delimited import delimited_rows
from ettin_cli.corpus.encodings import marked_encoding
from ettin_cli.corpus.json_values import each_value, leniently, parsed, without_comments
from ettin_cli.corpus.reader import Row, TableReader
from ettin_cli.corpus.records import LONE, LoneSurrogateError, RecordError, has_surrogate
from ettin_cli.settings import MAX_JSON_BYTES
from ettin_cli.storage import UnreadableError, opened, record_lines

HEAD_BYTES, HEAD_BLOCK = 1 << 20, 1 << 12
# Lines after a broken first one of which one that is a record tells JSON Lines from other JSON.
PROBED_LINES = 100
MARK = b"\xef\xbb\xbf"


def jsonl(lines: Iterable[bytes]) -> Iterator[Row]:
    """Yield the records of JSON lines; empty lines are skipped.

    JSON that is spread over lines, as an array or as one value after another, is read as well.
    """
    every = iter(lines)
    head: list[bytes] = []
    for line in every:
        head.append(line if head else line.removeprefix(MARK))
        if head[-1].strip():
            break
    begins = head[-1].lstrip()[:1] if head else b""
    if begins in (b"[", b"{") and isinstance(parsed(head[-1].rstrip(b"\r\n")), RecordError):
        yield from _spread(head, every)
    else:
        yield from each_line(chain(head, every))


def each_line(lines: Iterable[bytes], line: int = 0, row: int = 0) -> Iterator[Row]:
    """Yield a record per line; empty lines are skipped.

    Args:
        line: Number of lines before these.
        row: Number of rows before these.
    """
    for number, content in enumerate(lines, start=line + 1):
        if content.strip():
            row += 1
            # Without the line end, after which the parser restarts its column count.
            yield parsed(content.rstrip(b"\r\n"), number), number, row


def _spread(head: list[bytes], lines: Iterator[bytes]) -> Iterator[Row]:
    """Yield the records of JSON whose first line is not a record."""
    import orjson

    head += islice(lines, PROBED_LINES)
    by_line = any(isinstance(parsed(line.strip()), dict) for line in head[1:])
    size = sum(map(len, head))
    if not by_line or len(head) <= PROBED_LINES:
        for line in lines:
            head.append(line)
            size += len(line)
            if size > MAX_JSON_BYTES:
                break
        content = b"".join(head)
        with suppress(orjson.JSONDecodeError):
            if size <= MAX_JSON_BYTES:
                yield from _listed(orjson.loads(content), unfit=False)
                return
    if by_line or size > MAX_JSON_BYTES:
        yield from each_line(chain(head, lines))
        return
    try:
        text = content.decode()
    except UnicodeDecodeError:
        yield from each_line(head)
        return
    yield from _salvaged(text)


def _salvaged(text: str) -> Iterator[Row]:
    """Yield the values of broken JSON, or of several values, up to what is broken."""
    for number, (value, line) in enumerate(each_value(text), start=1):
        yield LoneSurrogateError(LONE, value) if has_surrogate(value) else value, line, number


def _listed(content: object, *, unfit: bool) -> Iterator[Row]:
    """Yield the records of an array, or a single one.

    Args:
        unfit: Whether a string somewhere has a lone surrogate.
    """
    for number, record in enumerate(content if isinstance(content, list) else [content], start=1):
        lone = unfit and has_surrogate(record)
        yield LoneSurrogateError(LONE, record) if lone else record, None, number


def _json_lines(path: Path) -> Iterator[Row]:
    with opened(path) as file:
        encoding = marked_encoding(file.read(4)) or given_encoding()
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


def _json(path: Path) -> Iterator[Row]:
    import orjson

    text = read_text(path, MAX_JSON_BYTES)
    try:
        content: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        first, *more = text.strip().split("\n", 1)
        if more and not isinstance(parsed(first.encode()), RecordError):
            yield from each_line(line.encode() for line in text.split("\n"))
            return
        content = leniently(text)
        if content is None:
            content = _configuration(text)
        if content is None:
            yield from _broken(text, f"broken JSON: {error.msg} at line {error.lineno}")
            return
    yield from _listed(content, unfit=True)


def _configuration(text: str) -> object | None:
    """Return JSON with comments, or None if it is broken otherwise."""
    import orjson

    with suppress(orjson.JSONDecodeError):
        content: object = orjson.loads(without_comments(text))
        return content
    return None


def _broken(text: str, reason: str) -> Iterator[Row]:
    """Yield the values before what is broken.

    Raises:
        UnreadableError: Always, unless the text is several values one after another.
    """
    rows = _salvaged(text)
    while True:
        try:
            record, _, number = next(rows)
        except StopIteration:
            return
        except UnreadableError as error:
            raise UnreadableError(reason) from error
        yield record, None, number


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
