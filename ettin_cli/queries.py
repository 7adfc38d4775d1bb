"""A file of queries -> queries: JSONL, TSV, or one a line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from ettin_cli.errors import CorpusError
from ettin_cli.records import Query
from ettin_cli.storage import UnreadableError, record_lines

ID_FIELDS = ("_id", "id", "query_id", "qid")
TEXT_FIELDS = ("text", "query", "question")
JSON = (".jsonl", ".ndjson", ".json")
HINT = 'a line is {"_id": "1", "text": "..."}, an id and a text with a tab between, or a text'
# JSON's larger whole numbers are read as floats, many of them as the same.
EXACT_BELOW = 2**63


def read_queries(path: Path) -> Iterator[Query]:
    """Yield queries as they are read; "-" is standard input.

    A line is JSON with `_id` and `text`, an id and a text with a tab between, or a text alone,
    whose id is then its line number. In JSON `text` may be a list: several forms of a question,
    the first of which is what a reranker reads. A file that is named as JSONL or TSV holds nothing
    else. Empty lines are passed over.

    Raises:
        CorpusError: The file cannot be read, or a line is no query; names the line.
    """
    seen: set[str] = set()
    with _opened(path) as file:
        for number, raw in enumerate(record_lines(file), start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
                if line.strip():
                    yield _new(_query(line, number, path.suffix.lower()), seen)
            except UnicodeDecodeError as error:
                raise CorpusError(f"{path}:{number}: not UTF-8", hint=HINT) from error
            except ValueError as error:
                raise CorpusError(f"{path}:{number}: {error}", hint=HINT) from error


def _new(query: Query, seen: set[str]) -> Query:
    if query.query_id in seen:
        raise ValueError(f'a second query with the id "{query.query_id}"')
    seen.add(query.query_id)
    return query


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            yield file
    except OSError as error:
        raise CorpusError(f"cannot read the queries in {path}: {error.strerror}") from error
    except UnreadableError as error:
        raise CorpusError(f"{path}: {error}", hint=HINT) from error


def _query(line: str, number: int, suffix: str) -> Query:
    """Return the query in a line of a file that is named so.

    Raises:
        ValueError: There is none; the message is the reason.
    """
    is_json = line.lstrip().startswith("{")
    if suffix in JSON and not is_json:
        raise ValueError("not a JSON object")
    if suffix == ".tsv" and not is_json and "\t" not in line:
        raise ValueError("no tab between an id and a query")
    query = _from_json(line, number) if is_json else _from_text(line, number)
    if not query.query_id.strip():
        raise ValueError("empty id")
    if not query.text.strip():
        raise ValueError("empty query")
    return query


def _from_text(line: str, number: int) -> Query:
    first, tab, rest = line.partition("\t")
    return Query(first, rest) if tab else Query(str(number), line)


def _from_json(line: str, number: int) -> Query:
    import orjson

    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"broken JSON: {error.msg} at column {error.colno}") from error
    text = next((record[name] for name in TEXT_FIELDS if name in record), None)
    forms: list[Any] = text if isinstance(text, list) else [text]
    if not forms or not all(isinstance(form, str) for form in forms):
        raise ValueError('no "text" of a query')
    if not all(form.strip() for form in forms):
        raise ValueError("empty query")
    query_id = next((record[name] for name in ID_FIELDS if name in record), number)
    if isinstance(query_id, bool) or not isinstance(query_id, (str, int, float)):
        raise ValueError("an id that is neither a string nor a number")
    if isinstance(query_id, float) and abs(query_id) >= EXACT_BELOW:
        raise ValueError("an id that is too large a number to be read exactly; make it a string")
    return Query(str(query_id), forms[0], tuple(forms[1:]))
