"""A file of queries -> queries: JSONL, TSV, or one a line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ettin_cli.errors import CorpusError
from ettin_cli.records import Query

ID_FIELDS = ("_id", "id", "query_id", "qid")
TEXT_FIELDS = ("text", "query", "question")


def read_queries(path: Path) -> Iterator[Query]:
    """Yield queries as they are read; "-" is standard input.

    A line is JSON with `_id` and `text`, an id and a text with a tab between, or a text alone,
    whose id is then its line number. Empty lines are passed over.

    Raises:
        CorpusError: The file cannot be read, or a line is no query; names the line.
    """
    with _opened(path) as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError as error:
                raise CorpusError(f"{path}:{number}: not UTF-8") from error
            if line.strip():
                yield _query(line, f"{path}:{number}", str(number))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise CorpusError(f"cannot read the queries in {path}: {error.strerror}") from error
    with file:
        yield file


def _query(line: str, place: str, number: str) -> Query:
    query = (
        _from_json(line, place, number)
        if line.lstrip().startswith("{")
        else _from_text(line, number)
    )
    if not query.text.strip():
        raise CorpusError(f"{place}: empty query")
    return query


def _from_text(line: str, number: str) -> Query:
    first, tab, rest = line.partition("\t")
    return Query(first, rest) if tab else Query(number, line)


def _from_json(line: str, place: str, number: str) -> Query:
    import orjson

    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CorpusError(f"{place}: broken JSON: {error}") from error
    text = next((record[name] for name in TEXT_FIELDS if name in record), None)
    if not isinstance(text, str):
        raise CorpusError(f'{place}: no "text" of a query')
    query_id = next((record[name] for name in ID_FIELDS if name in record), number)
    return Query(str(query_id), text)
