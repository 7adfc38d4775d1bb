"""A row of candidates -> the query and the documents that it holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ettin_cli.corpus.records import (
    ID_FIELDS,
    TEXT_FIELDS,
    TITLE_FIELD,
    LoneSurrogateError,
    RecordError,
    shallow,
    spared,
)
from ettin_cli.records import Candidate, Passage

QUERY = ("query", "question")
QUERY_ID = ("query_id", "qid")
HITS = "hits"
DOCUMENTS = ("documents", "passages", "candidates", "ctxs", "docs", "contexts", HITS)
DOCUMENT = ("document", *TEXT_FIELDS)
DOCUMENT_ID = ("doc_id", "docno")
SCORE = ("score", "retrieval_score")
POSITIVE, NEGATIVES, NEGATIVE_IDS = "positive", "negatives", "negative_ids"
TEXT_LISTS = (POSITIVE, NEGATIVES)
# Where a hit of an answer is, as `ettin search` writes it.
PLACE = {"path": str, "start_line": int, "end_line": int, "page": int}
# What an answer says of itself, and a request's own fields cannot.
ANSWERED = frozenset({"query_id", "query", "reranker", "engine", HITS})


@dataclass(frozen=True, slots=True)
class RequestFields:
    """The names of the fields that hold what; None: the usual ones."""

    query: str | None = None
    documents: str | None = None
    text: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A row that holds a query and the list of its documents.

    Args:
        reasons: Why some of the documents are none.
    """

    query_id: str | None
    query: str
    candidates: Sequence[Candidate]
    fields: Mapping[str, Any]
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Pair:
    """A row that holds a query and one document."""

    query_id: str | None
    query: str
    candidate: Candidate

    @property
    def key(self) -> str:
        """What the rows of one query have in common."""
        return f"id {self.query_id}" if self.query_id is not None else f"text {self.query}"


@dataclass(frozen=True, slots=True)
class Example:
    """A row of training data: a query, texts that answer it, and texts that do not.

    Args:
        reasons: Why some of the texts are none.
    """

    query_id: str | None
    query: str
    positives: Sequence[str]
    negatives: Sequence[str]
    reasons: Sequence[str] = ()


def holds_list(record: object, fields: RequestFields) -> bool:
    """Say whether a record is a query with a list of documents, rather than a pair."""
    return _held_list(record, fields) is not None


def _held_list(record: object, fields: RequestFields) -> str | None:
    if isinstance(record, LoneSurrogateError):
        record = record.record
    return _documents(record, fields) if isinstance(record, dict) else None


def listed(record: object, fields: RequestFields) -> Listed:
    """Return the query and the documents of a row; documents that are none are left out.

    Raises:
        RecordError: It lacks a query or a list of documents.
    """
    lists = [name] if (name := _held_list(record, fields)) else []
    held, reasons = spared(record, _names(fields.query, QUERY), lists)
    record = _object(held if name else record)
    query = _query(record, fields)
    if name is None:
        raise RecordError(_missing("documents", fields.documents, "--documents-field"))
    candidates = []
    for place, document in enumerate(record[name]):
        if isinstance(document, RecordError):
            continue
        try:
            candidate = _candidate(document, fields)
            candidates.append(placed(_found_again(candidate) if name == HITS else candidate, place))
        except RecordError as error:
            reasons.append(f"{name}[{place}]: {error}")
    own = _kept(record, ANSWERED | {name})
    return Listed(_id(record, (*QUERY_ID, *ID_FIELDS)), query, candidates, own, reasons)


def pair(record: object, fields: RequestFields) -> Pair:
    """Return the query and the document of a row; its other fields are the document's own.

    Raises:
        RecordError: It lacks a query or a document, or a score is not finite.
    """
    record = _object(record)
    query = _query(record, fields)
    text = _text(record, (fields.text,) if fields.text else DOCUMENT, "document", fields)
    used = {_name(record, QUERY_ID), _name(record, _names(fields.query, QUERY))}
    document = {name: value for name, value in record.items() if name not in used}
    ids = (fields.id,) if fields.id else DOCUMENT_ID
    return Pair(_id(record, QUERY_ID), query, _from_object(document, text, ids))


def holds_example(record: object) -> bool:
    """Say whether a record is training data, rather than a pair."""
    if isinstance(record, LoneSurrogateError):
        record = record.record
    return isinstance(record, dict) and POSITIVE in record and _name(record, DOCUMENT) is None


def example(record: object) -> Example:
    """Return the query of a row of training data, and its texts.

    Raises:
        RecordError: It lacks a query or a positive, or one of its texts is none.
    """
    held, reasons = spared(record, (*QUERY, POSITIVE), TEXT_LISTS)
    record = _object(held)
    try:
        query = _query(record, RequestFields())
    except RecordError as error:
        # Here a field cannot be named.
        raise RecordError(str(error).partition(";")[0]) from error
    if POSITIVE not in record:
        raise RecordError(f'no "{POSITIVE}" field')
    positives = _texts(record, POSITIVE)
    if not positives:
        raise RecordError(f'"{POSITIVE}" is empty')
    ids = (*QUERY_ID, *ID_FIELDS)
    return Example(_id(record, ids), query, positives, _texts(record, NEGATIVES), reasons)


def placed(candidate: Candidate, place: int) -> Candidate:
    """Return a candidate at its place in the list, which is also its id if it has none."""
    passage = candidate.passage
    named = passage if passage.doc_id else replace(passage, doc_id=str(place))
    return replace(candidate, passage_id=place, passage=named)


def _candidate(document: object, fields: RequestFields) -> Candidate:
    if isinstance(document, str):
        return Candidate(0, Passage("", document), None)
    if not isinstance(document, dict):
        raise RecordError("neither a string nor an object")
    text = _text(document, (fields.text,) if fields.text else TEXT_FIELDS, "text", fields)
    return _from_object(document, text, (fields.id,) if fields.id else ID_FIELDS)


def _from_object(document: Mapping[str, Any], text: str, ids: Sequence[str]) -> Candidate:
    title = document.get(TITLE_FIELD)
    if title is not None and not isinstance(title, str):
        raise RecordError('"title" is not a string')
    used = {text, _name(document, ids), TITLE_FIELD}
    passage = Passage(
        doc_id=_id(document, ids) or "",
        text=document[text],
        title=title or "",
        metadata=_kept(document, used),
    )
    return Candidate(0, passage, _score(document))


def _found_again(hit: Candidate) -> Candidate:
    """Return a hit of an answer with its place and its metadata where a passage has them."""
    rest = dict(hit.passage.metadata)
    places = [name for name, kind in PLACE.items() if isinstance(rest.get(name), kind)]
    place = {name: rest.pop(name) for name in places}
    own = rest.pop("metadata") if isinstance(rest.get("metadata"), dict) else {}
    return replace(hit, passage=replace(hit.passage, **place, metadata=rest | own))


def _kept(record: Mapping[str, Any], used: Collection[str | None]) -> dict[str, Any]:
    return {name: shallow(value, name) for name, value in record.items() if name not in used}


def _object(record: object) -> dict[str, Any]:
    if isinstance(record, RecordError):
        raise record
    if not isinstance(record, dict):
        raise RecordError("not a JSON object")
    return record


def _query(record: Mapping[str, Any], fields: RequestFields) -> str:
    name = _name(record, _names(fields.query, QUERY))
    if name is None:
        raise RecordError(_missing("query", fields.query, "--query-field"))
    query = record[name]
    if not isinstance(query, str) or not query.strip():
        raise RecordError(f'"{name}" is empty or not a string')
    return query


def _documents(record: Mapping[str, Any], fields: RequestFields) -> str | None:
    names = _names(fields.documents, DOCUMENTS)
    return next((name for name in names if isinstance(record.get(name), list)), None)


def _text(
    record: Mapping[str, Any], names: Sequence[str], usual: str, fields: RequestFields
) -> str:
    """Return the name of the field that holds a document's text."""
    name = _name(record, names)
    if name is None:
        raise RecordError(_missing(usual, fields.text, "--text-field"))
    if not isinstance(record[name], str):
        raise RecordError(f'"{name}" is not a string')
    return name


def _texts(record: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts of a field that holds one or a list of them."""
    value = record.get(name, [])
    texts = value if isinstance(value, list) else [value]
    texts = [text for text in texts if not isinstance(text, RecordError)]
    if not all(isinstance(text, str) for text in texts):
        raise RecordError(f'"{name}" is neither a text nor a list of texts')
    return texts


def _id(record: Mapping[str, Any], names: Sequence[str]) -> str | None:
    name = _name(record, names)
    value = record[name] if name else None
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RecordError(f'"{name}" is neither a string nor a number')
    return str(value)


def _score(document: Mapping[str, Any]) -> float | None:
    """Return the score that retrieval gave, None where there is none.

    A number that a table holds as text is taken for a number.
    """
    name = _name(document, SCORE)
    try:
        value = float(document[name]) if name else None
    except (TypeError, ValueError):
        return None
    if value is not None and not math.isfinite(value):
        raise RecordError(f'"{name}" is not a finite number')
    return value


def _names(given: str | None, usual: Sequence[str]) -> Sequence[str]:
    return (given,) if given else usual


def _name(record: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in record), None)


def _missing(usual: str, given: str | None, option: str) -> str:
    return f'no "{given}" field' if given else f'no "{usual}" field; name it with {option}'
