"""A file of queries -> queries: JSONL, a table with a header, TREC topics, TSV, or plain lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from ettin_cli.corpus import (
    COMPRESSED,
    CSV,
    EXACT_BELOW,
    JSON,
    JSONL,
    TSV,
    RecordError,
    among,
    delimited_rows,
    marked_encoding,
    sniffed,
    stated_delimiter,
)
from ettin_cli.errors import CorpusError
from ettin_cli.records import Query
from ettin_cli.storage import Stream, UnreadableError, opened, record_lines

ID_FIELDS = ("_id", "id", "query_id", "qid", "query-id", "queryid", "topic_id")
TEXT_FIELDS = ("text", "query", "question")
OBJECTS = (*JSONL.suffixes, *JSON.suffixes)
HEADER = "the first row names the columns: id and text"
LINES = 'a line is {"_id": "1", "text": "..."}, an id and a text separated by a tab, or a text'

_NAME = re.compile(r"[a-z_ -]+")
_TOPIC = "<top>"
# Up to the next tag: a title may contain a "<" that starts no tag.
_UNTAGGED = r"((?:[^<]|<(?![/a-z]))*)"
_NUMBER = re.compile(rf"<num>\s*(?:Number\s*:)?{_UNTAGGED}", re.IGNORECASE)
_TITLE = re.compile(rf"<title>\s*(?:Topic\s*:)?{_UNTAGGED}", re.IGNORECASE)
_TOPIC_NUMBERS = ("number", "num", "id", "qid", "topic_id")
_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_DOCTYPE = re.compile(r"<!(doctype|entity)", re.IGNORECASE)
_TOPIC_TEXTS = ("title", "query", "question", "text")
_MARKUP = re.compile(r"<(\?xml|!doctype|topics?|queries|query|doc)\b", re.IGNORECASE)

Numbered = Iterator[tuple[int, str]]


def read_queries(path: Path | Stream) -> Iterator[Query]:
    """Yield queries as they are read.

    A line is JSON with `_id` and `text`, an id and a text separated by a tab, or a text alone,
    whose id is its line number. In JSON, `text` may be a list of paraphrases; rerankers read the
    first. A CSV, and a TSV with a header, is read by its column names, with any delimiter. TREC
    topics give the number and the title, or in XML the title, the query or the text. A file with
    the suffix of JSONL, CSV or TSV is read only as such, and one that ends in .gz or .zst is
    decompressed. Empty lines are skipped.

    Raises:
        CorpusError: The file cannot be read, or a line is not a query; gives the line number.
    """
    seen: set[str] = set()
    with _opened(path) as file:
        for number, query in _queries(_lines(path, file), path):
            try:
                yield _new(query, seen)
            except ValueError as error:
                raise CorpusError(f"{path}:{number}: {error}", expected=LINES) from error


def _lines(path: Path | Stream, file: BinaryIO) -> Numbered:
    """Yield the lines with their numbers, without line endings."""
    lines = record_lines(file)
    first = next(lines, b"")
    encoding = marked_encoding(first)
    if encoding in ("utf-16", "utf-32"):
        yield from _wide_lines(path, first + b"".join(lines), encoding)
        return
    for number, raw in enumerate(chain([first], lines) if first else (), start=1):
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
        except UnicodeDecodeError as error:
            raise CorpusError(f"{path}:{number}: not UTF-8", expected=LINES) from error


def _wide_lines(path: Path | Stream, content: bytes, encoding: str) -> Numbered:
    """Yield the lines of a file whose byte order mark is not that of UTF-8."""
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        reason = f"not {encoding}, contrary to its byte order mark"
        raise CorpusError(f"{path}: {reason}", expected=LINES) from error
    for number, line in enumerate(text.split("\n"), start=1):
        yield number, line.strip("\r")


def _queries(lines: Numbered, path: Path | Stream) -> Iterator[tuple[int, Query]]:
    """Yield the queries of a file with their line numbers; the first line decides the format."""
    suffix = _suffix(path)
    for number, line in lines:
        if not line.strip():
            continue
        rest = chain([(number, line)], lines)
        kind = _table(line, suffix)
        if kind:
            yield from _from_table(rest, path, kind)
        elif suffix in JSON.suffixes and line.lstrip().startswith("["):
            yield from _from_array(rest, path)
        elif line.lstrip()[: len(_TOPIC)].lower() == _TOPIC:
            yield from _from_topics(rest, path)
        elif suffix not in OBJECTS and _MARKUP.match(line.lstrip()):
            yield from _from_xml(rest, path, number)
        else:
            yield from _from_lines(rest, path)


def _from_lines(lines: Numbered, path: Path | Stream) -> Iterator[tuple[int, Query]]:
    for number, line in lines:
        try:
            if line.strip():
                yield number, _query(line, number, _suffix(path))
        except ValueError as error:
            raise CorpusError(f"{path}:{number}: {error}", expected=LINES) from error


def _table(line: str, suffix: str) -> str | None:
    """Return the kind of table if the line is a header, else None."""
    if suffix in CSV.suffixes:
        return "csv"
    if suffix in OBJECTS or line.lstrip().startswith("{"):
        return None
    kind = "tsv" if suffix in TSV.suffixes or "\t" in line else "csv"
    if stated_delimiter(line):
        return kind
    names = [_plain(name) for name in line.split(sniffed([line], kind).delimiter)]
    has_text = any(name in TEXT_FIELDS for name in names)
    has_id = any(name in ID_FIELDS for name in names)
    # "number<TAB>query" is a header too: column names have no digits, unlike most ids.
    named = kind == "tsv" and names[-1] in TEXT_FIELDS and _NAME.fullmatch(names[0])
    evident = has_id or named
    return kind if len(names) > 1 and has_text and evident else None


def _from_table(lines: Numbered, path: Path | Stream, kind: str) -> Iterator[tuple[int, Query]]:
    """Yield the queries of a table by the column names in its first row."""
    first, header = next(lines)
    content = (line + "\n" for _, line in chain([(first, header)], lines))
    number = 0
    for record, at in delimited_rows(content, kind, "utf-8"):
        number = first + at - 1
        try:
            if isinstance(record, RecordError):
                raise ValueError(str(record))
            yield number, _from_row(record, number)
        except ValueError as error:
            raise CorpusError(f"{path}:{number}: {error}", expected=HEADER) from error
    if not number:
        # The only row may be a query rather than a header.
        try:
            delimiter = stated_delimiter(header) or sniffed([header], kind).delimiter
            _columns(next(csv.reader([header], delimiter=delimiter)))
        except ValueError as error:
            raise CorpusError(f"{path}:{first}: {error}", expected=HEADER) from error


def _from_row(record: Mapping[str, Any], number: int) -> Query:
    query_id, text = _columns(list(record))
    return _checked(Query(str(number) if query_id is None else record[query_id], record[text]))


def _columns(header: Sequence[str]) -> tuple[str | None, str]:
    """Return the names of the id column (None if there is only a text column) and text column.

    Raises:
        ValueError: The text column is missing, or the id column among several columns.
    """
    named = {_plain(name): name for name in header}
    text = next((named[name] for name in TEXT_FIELDS if name in named), None)
    query_id = next((named[name] for name in ID_FIELDS if name in named), None)
    if text is None:
        raise ValueError(f"the header has no column {_either(TEXT_FIELDS)}{_columns_of(header)}")
    if query_id is None and len(named) > 1:
        raise ValueError(f"the header has no column {_either(ID_FIELDS)}{_columns_of(header)}")
    return query_id, text


def _columns_of(header: Sequence[str]) -> str:
    return among(header).replace("fields", "columns")


def _from_topics(lines: Numbered, path: Path | Stream) -> Iterator[tuple[int, Query]]:
    """Yield each TREC topic as a query: its number and title."""
    begins, held = 0, list[str]()
    for number, line in lines:
        if not held:
            if not line.strip():
                continue
            if line.strip()[: len(_TOPIC)].lower() != _TOPIC:
                raise CorpusError(f"{path}:{number}: expected {_TOPIC} at the start of a topic")
            begins = number
        held.append(line)
        if "</top>" in line.lower():
            yield begins, _topic("\n".join(held), f"{path}:{begins}")
            held.clear()
    if held:
        raise CorpusError(f"{path}:{begins}: a topic without </top>")


def _from_array(lines: Numbered, path: Path | Stream) -> Iterator[tuple[int, Query]]:
    """Yield the queries of a JSON array, numbered by their places."""
    import orjson

    begins, text = next(lines)
    try:
        records = orjson.loads("\n".join([text, *(line for _, line in lines)]))
    except orjson.JSONDecodeError as error:
        place = f"{path}:{begins + error.lineno - 1}"
        raise CorpusError(f"{place}: broken JSON: {error.msg}", expected=LINES) from error
    for number, record in enumerate(records, start=1):
        try:
            if not isinstance(record, dict):
                raise ValueError("not a JSON object")
            yield number, _checked(_from_record(record, number))
        except ValueError as error:
            raise CorpusError(f"{path}: query {number}: {error}", expected=LINES) from error


def _from_xml(lines: Numbered, path: Path | Stream, begins: int) -> Iterator[tuple[int, Query]]:
    """Yield the topics of an XML file: `<topic number="1">` with a title, a query or a text."""
    from xml.etree.ElementTree import ParseError, fromstring

    text = _DECLARATION.sub("", "\n".join(line for _, line in lines))
    if _DOCTYPE.search(text):
        raise CorpusError(f"{path}:{begins}: XML with a document type declaration")
    try:
        every = [*fromstring(f"<all>{text}</all>").iter("topic")]
    except ParseError as error:
        place = f"{path}:{begins + error.position[0] - 1}"
        raise CorpusError(f"{place}: broken XML: {error}") from error
    if not every:
        raise CorpusError(
            f"{path}:{begins}: XML that is not a list of TREC topics (<top>, <topic>)",
            expected="TREC topics, or a table with the columns id and text",
        )
    for at, topic in enumerate(every, start=1):
        parts = {part.tag.lower(): " ".join("".join(part.itertext()).split()) for part in topic}
        parts |= {name.lower(): value for name, value in topic.attrib.items()}
        number = next((parts[name] for name in _TOPIC_NUMBERS if parts.get(name)), "")
        title = next((parts[name] for name in _TOPIC_TEXTS if parts.get(name)), "")
        title = title or " ".join((topic.text or "").split())
        if not number or not title:
            missing = "a title, query or text" if number else "a number"
            raise CorpusError(f"{path}: topic {at} without {missing}")
        yield at, Query(number, title)


def _topic(text: str, place: str) -> Query:
    matches = [pattern.search(text) for pattern in (_NUMBER, _TITLE)]
    number, title = (" ".join(match[1].split()) if match else "" for match in matches)
    if not number or not title:
        raise CorpusError(f"{place}: a topic without a {'<title>' if number else '<num>'}")
    return Query(number, title)


def _suffix(path: Path | Stream) -> str:
    """Return the suffix of a file, before that of its compression; "" for a stream."""
    if isinstance(path, Stream):
        return ""
    suffix = path.suffix.lower()
    return path.with_suffix("").suffix.lower() if suffix in COMPRESSED else suffix


def _plain(name: str) -> str:
    return name.strip().strip('"').lower()


def _either(names: tuple[str, ...]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]])


def _new(query: Query, seen: set[str]) -> Query:
    if query.query_id in seen:
        raise ValueError(f'duplicate query id "{query.query_id}"')
    seen.add(query.query_id)
    return query


@contextmanager
def _opened(path: Path | Stream) -> Iterator[BinaryIO]:
    try:
        with opened(path, pipes=True) as file:
            yield file
    except UnreadableError as error:
        if isinstance(error.__cause__, OSError):
            raise CorpusError(
                f"cannot read the queries in {path}: {error.__cause__.strerror or error.__cause__}",
                code="cannot-read",
                path=path,
            ) from error
        raise CorpusError(f"{path}: {error}", expected=LINES) from error


def _query(line: str, number: int, suffix: str) -> Query:
    """Return the query in a line of a file with this suffix.

    Raises:
        ValueError: The line is not a query; the message is the reason.
    """
    is_json = line.lstrip().startswith("{")
    if suffix in OBJECTS and not is_json:
        raise ValueError("not a JSON object")
    if suffix in TSV.suffixes and not is_json and "\t" not in line:
        raise ValueError("no tab between an id and a query")
    return _checked(_from_json(line, number) if is_json else _from_text(line, number))


def _checked(query: Query) -> Query:
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
    return _from_record(record, number)


def _from_record(record: Mapping[str, Any], number: int) -> Query:
    text = next((record[name] for name in TEXT_FIELDS if name in record), None)
    forms: list[Any] = text if isinstance(text, list) else [text]
    if not forms or not all(isinstance(form, str) for form in forms):
        raise ValueError('no "text" of a query')
    if not all(form.strip() for form in forms):
        raise ValueError("empty query")
    query_id = next((record[name] for name in ID_FIELDS if name in record), number)
    if isinstance(query_id, bool) or not isinstance(query_id, (str, int, float)):
        raise ValueError("the id is neither a string nor a number")
    if isinstance(query_id, float) and abs(query_id) >= EXACT_BELOW:
        raise ValueError("the id is too large a number to read exactly; make it a string")
    return Query(str(query_id), forms[0], tuple(forms[1:]))
