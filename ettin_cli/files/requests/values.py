"""Values of a row: its query, ids, texts and scores, by usual or given field names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ettin_cli.corpus import (
    TEXT_FIELDS,
    RecordError,
    among,
    field_of,
    has_field,
    id_text,
    named_alike,
    shallow,
    without_fields,
)

QUERY = ("query", "question")
QUERY_ID = ("query_id", "qid", "query-id", "queryid")
ROW_ID = ("_id", "id")
DOCUMENT_ID = ("doc_id", "docno", "pid", "docid", "passage_id", "document_id", "corpus_id")
DOCUMENT_IDS = (*DOCUMENT_ID, "corpus-id")
TEXT = TEXT_FIELDS
DOCUMENT = ("document", *TEXT)
SCORE = ("score", "retrieval_score")


def object_of(record: object) -> dict[str, Any]:
    """Return a record, checked to be an object.

    Raises:
        RecordError: The record is not an object, or is already an error.
    """
    if isinstance(record, RecordError):
        raise record
    if not isinstance(record, dict):
        raise RecordError("not a JSON object")
    return record


def name_of(record: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the first of these names or paths that exists in a record.

    Of several usual names, one in another case, as in a CSV, is found too.
    """
    wanted = list(names)
    exact = next((name for name in wanted if has_field(record, name)), None)
    return exact or (named_alike(record, wanted) if len(wanted) > 1 else None)


def kept(record: Mapping[str, Any], used: Iterable[str | None]) -> dict[str, Any]:
    """Return a record without the used fields, serialisable as JSON.

    Raises:
        RecordError: A value is nested too deeply.
    """
    rest = without_fields(record, [name for name in used if name is not None])
    return {name: shallow(value, name) for name, value in rest.items()}


def query_of(record: Mapping[str, Any], given: str | None) -> tuple[str, Mapping[str, Any]]:
    """Return the query text, and the object that contains it if it is nested.

    Raises:
        RecordError: The record has no query.
    """
    names = names_of(given, QUERY)
    name = name_of(record, names)
    if name is None:
        raise missing("query", given, "query", record)
    query, held = field_of(record, name), {}
    if isinstance(query, dict):
        held, inner = query, name_of(query, ("text", *QUERY, "title"))
        query = held[inner] if inner else None
    if not isinstance(query, str) or not query.strip():
        raise RecordError(f'"{name}" is empty or not a string')
    return query, held


def text_name(record: Mapping[str, Any], given: str | None, usual: Sequence[str]) -> str:
    """Return the name of the field with a document's text.

    Raises:
        RecordError: The field is missing, or is not a string.
    """
    name = name_of(record, names_of(given, usual))
    if name is None:
        raise missing(usual[0], given, "text", record)
    if not isinstance(field_of(record, name), str):
        raise RecordError(f'"{name}" is not a string')
    return name


def id_field(record: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the first of these names whose field is not empty."""
    filled = (name for name in names if has_field(record, name))
    return next((name for name in filled if field_of(record, name) not in (None, "")), None)


def id_of(record: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the id of a record under one of these names.

    Raises:
        RecordError: The id is neither a string nor a number, or too large to be read exactly.
    """
    name = id_field(record, names)
    return None if name is None else id_text(field_of(record, name), name)


def score_of(document: Mapping[str, Any]) -> float | None:
    """Return the retrieval score, None if there is none.

    A numeric string, as in a CSV, counts as a number.

    Raises:
        RecordError: The score is not finite.
    """
    name = name_of(document, SCORE)
    try:
        value = float(document[name]) if name else None
    except (TypeError, ValueError):
        return None
    if value is not None and not math.isfinite(value):
        raise RecordError(f'"{name}" is not a finite number')
    return value


def names_of(given: str | None, usual: Sequence[str]) -> Sequence[str]:
    """Return the given name, else the usual ones."""
    return (given,) if given else usual


def query_fields(given: str | None) -> list[str]:
    """Return the top-level fields of a row that may hold its query."""
    return [name.partition(".")[0] for name in names_of(given, QUERY)]


def missing(usual: str, given: str | None, what: str, record: Mapping[str, Any]) -> RecordError:
    """Return the error for a missing field.

    Args:
        usual: The first of its usual names.
        given: The name that was requested; None: one of the usual ones.
        what: The content of the field: query, documents or text.
        record: The record that lacks it, whose fields the message names.
    """
    reason = f'no "{given or usual}" field' + among(record)
    return RecordError(reason, missing=None if given else what)
