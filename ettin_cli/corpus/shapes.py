"""Records inside of what programs put around them: API answers, search engine dumps, chats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ettin_cli.corpus.paths import field_of
from ettin_cli.corpus.reader import Row
from ettin_cli.corpus.records import (
    ID_FIELDS,
    Fields,
    NoTextFieldError,
    RecordError,
    text_of_value,
)

# Fields that hold the records of an answer, of an export or of a search.
LISTS = (
    *("data", "documents", "docs", "records", "rows", "items", "results", "result", "hits"),
    *("passages", "chunks", "paragraphs", "entries", "articles", "pages", "posts", "corpus"),
    *("response", "value", "comments", "messages"),
)
# Fields that hold the turns of a chat, who speaks, and what is said.
CHATS = ("messages", "conversations", "conversation", "chat_messages", "turns", "dialog")
SPEAKERS = ("role", "from", "sender", "author", "speaker", "user", "name")
SAID = ("content", "value", "text", "message")
# The actions of a bulk request to Elasticsearch or OpenSearch.
ACTIONS = ("index", "create", "update", "delete")
SOURCE = "_source"
MOST_NESTED = 4


def records_within(rows: Iterator[Row], fields: Fields) -> Iterator[Row]:
    """Yield the records of a table: rows that hold a list of records become these.

    A hit of Elasticsearch becomes its source with its id, a line of a bulk request is joined to
    the action before it, and a chat becomes one record whose text has a line per turn.
    """
    action: dict[str, Any] | None = None
    number = 0
    for row, line, at in rows:
        if isinstance(row, RecordError) or (
            action is None
            and isinstance(row, dict)
            and SOURCE not in row
            and _has_text(row, fields)
        ):
            number += 1
            yield row, line, at
        elif (begun := _action(row)) is not None:
            number += 1
            action = begun
        else:
            record = row if action is None else _of_action(row, action)
            action = None
            inner = _list_of(record, fields)
            if inner is None:
                number += 1
                yield _plain(record, fields), line, at
                continue
            for one in inner:
                number += 1
                yield _plain(one, fields), None, number


def _action(record: object) -> dict[str, Any] | None:
    """Return the metadata of a bulk action, with which a line of the request begins."""
    if not isinstance(record, dict) or len(record) != 1:
        return None
    ((name, about),) = record.items()
    if name not in ACTIONS or not isinstance(about, dict):
        return None
    return about if all(key.startswith("_") or key == "routing" for key in about) else None


def _of_action(record: object, action: Mapping[str, Any]) -> object:
    if not isinstance(record, dict):
        return record
    source = record["doc"] if isinstance(record.get("doc"), dict) else record
    return _identified(source, action)


def _identified(source: dict[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the id that its envelope gives it."""
    return source if about.get("_id") is None else {**source, "_id": about["_id"]}


def _list_of(record: object, fields: Fields) -> list[Any] | None:
    """Return the records that a row holds in a list, or under their ids; None if it is one."""
    for _ in range(MOST_NESTED):
        if isinstance(record, list):
            full = bool(record) and all(isinstance(one, dict) for one in record)
            return record if full else None
        if not isinstance(record, dict) or SOURCE in record or _has_text(record, fields):
            return None
        if _chat(_unfolded(record)) is not None:
            return None
        inner = next((record[name] for name in LISTS if _holds(record.get(name))), None)
        if inner is None:
            return _by_id(record, fields)
        if isinstance(inner, list) and not any(_is_document(one, fields) for one in inner):
            return None
        record = inner
    return None


def _holds(value: object) -> bool:
    """Return whether a value may hold records."""
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
    )


def _by_id(record: dict[str, Any], fields: Fields) -> list[Any] | None:
    """Return the records of an object that has them under their ids."""
    if not record or not all(
        isinstance(one, dict) and _has_text(one, fields, only_string=True)
        for one in record.values()
    ):
        return None
    return [
        one if any(name in one for name in ID_FIELDS) else {**one, "_id": name}
        for name, one in record.items()
    ]


def _is_document(record: object, fields: Fields) -> bool:
    if not isinstance(record, dict):
        return False
    source = record.get(SOURCE)
    if isinstance(source, dict):
        return _has_text(source, fields)
    return _has_text(record, fields) or _chat(_unfolded(record)) is not None


def _has_text(record: Mapping[str, Any], fields: Fields, *, only_string: bool = False) -> bool:
    """Return whether a record has a text under one of the usual names, or the given one."""
    value = None if fields.text else record.get("text")
    if not (isinstance(value, str) and value):
        try:
            value = field_of(record, fields.text_of(record))
        except NoTextFieldError:
            return False
    return bool(text_of_value(value)) and (isinstance(value, str) or not only_string)


def _plain(record: object, fields: Fields) -> object:
    """Return a record without its envelope, and a chat with its turns as text."""
    if not isinstance(record, dict):
        return record
    source = record.get(SOURCE)
    if isinstance(source, dict) and not _has_text(record, fields):
        return _identified(source, record)
    if fields.text or _has_text(record, fields):
        return record
    record = _unfolded(record)
    name = _chat(record)
    if name is None:
        return record
    rest = {key: value for key, value in record.items() if key != name}
    title = rest.pop("name") if "title" not in rest and isinstance(rest.get("name"), str) else None
    turns = (_turn(turn) for turn in record[name])
    chat = {**rest, "text": "\n\n".join(turn for turn in turns if turn)}
    return chat if title is None else {**chat, "title": title}


def _chat(record: Mapping[str, Any]) -> str | None:
    """Return the name of the field with the turns of a chat, or None."""
    for name in CHATS:
        turns = record.get(name)
        if isinstance(turns, list) and any(_turn(turn) for turn in turns):
            return name
    return None


def _unfolded(record: dict[str, Any]) -> dict[str, Any]:
    """Return a chat whose turns are the nodes of a tree, as ChatGPT exports it, with a list."""
    nodes = record.get("mapping")
    if not isinstance(nodes, dict):
        return record
    turns = [node.get("message") for node in nodes.values() if isinstance(node, dict)]
    rest = {name: value for name, value in record.items() if name != "mapping"}
    return {**rest, CHATS[0]: turns} if any(map(_turn, turns)) else record


def _turn(turn: object) -> str:
    """Return who speaks and what is said, or an empty text.

    >>> _turn({"role": "user", "content": [{"type": "text", "text": "When does it sail?"}]})
    'user: When does it sail?'
    """
    if not isinstance(turn, dict):
        return ""
    said = next((text for name in SAID if (text := _said(turn.get(name)))), "")
    speaker = next((turn[name] for name in SPEAKERS if turn.get(name)), "")
    if isinstance(speaker, dict):
        speaker = next((speaker[name] for name in SPEAKERS if speaker.get(name)), "")
    return f"{speaker}: {said}" if said and isinstance(speaker, str) and speaker else said


def _said(value: object) -> str:
    """Return the text of a turn: a string, or the texts of its parts."""
    if isinstance(value, dict) and isinstance(value.get("parts"), list):
        value = value["parts"]
    parts = value if isinstance(value, list) else [value]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str) and text.strip())
