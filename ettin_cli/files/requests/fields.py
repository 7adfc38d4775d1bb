"""A row of candidates -> its query and documents."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ettin_cli.corpus import (
    TITLE_FIELD,
    RecordError,
    as_read,
    field_of,
    has_field,
    without_surrogates,
)
from ettin_cli.files.requests.examples import example, holds_example
from ettin_cli.files.requests.values import (
    DOCUMENT,
    DOCUMENT_IDS,
    QUERY,
    QUERY_ID,
    ROW_ID,
    TEXT,
    id_field,
    id_of,
    kept,
    missing,
    name_of,
    names_of,
    object_of,
    query_fields,
    query_of,
    score_of,
    text_name,
)
from ettin_cli.records import Candidate, Passage

HITS = "hits"
DOCUMENTS = ("documents", "passages", "candidates", "ctxs", "docs", "contexts", HITS)
# The field of a candidate that nests its document beside an id and a score.
NESTED = "doc"
# The location fields of a hit in the output of `ettin search`.
PLACE = {"path": str, "start_line": int, "end_line": int, "page": int}
# Keys that an answer sets itself, so that a request's fields cannot.
ANSWERED = frozenset({"query_id", "query", "reranker", "engine", HITS})


@dataclass(frozen=True, slots=True)
class RequestFields:
    """The names or dotted paths of the input fields; None: the usual ones.

    Args:
        columns: The column names of a CSV or TSV without a header.
    """

    query: str | None = None
    documents: str | None = None
    text: str | None = None
    id: str | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """A row with a query and a list of documents.

    Args:
        reasons: Why some documents were left out.
        unnamed: The number of documents without an id.
    """

    query_id: str | None
    query: str
    candidates: Sequence[Candidate]
    fields: Mapping[str, Any]
    reasons: Sequence[RecordError] = ()
    unnamed: int = 0


@dataclass(frozen=True, slots=True)
class PairRow:
    """A row with a query and one document."""

    query_id: str | None
    query: str
    candidate: Candidate

    @property
    def key(self) -> str:
        """The key shared by the rows of one query."""
        return f"id {self.query_id}" if self.query_id is not None else f"text {self.query}"


def holds_list(record: object, fields: RequestFields) -> bool:
    """Return whether a record is a query with a list of documents rather than a pair."""
    return _documents(as_read(record), fields) is not None or _holds_example(record, fields)


def listed(record: object, fields: RequestFields) -> Listed:
    """Return the query and the documents of a row; invalid documents are left out.

    Raises:
        RecordError: The query or the list of documents is missing.
    """
    name = _documents(as_read(record), fields)
    if name is None and _holds_example(record, fields):
        return _from_example(record, fields)
    needed = [*query_fields(fields.query), *([name.partition(".")[0]] if name else [])]
    rest, left_out = without_surrogates(record, needed, [name] if name else [])
    reasons = [RecordError(reason) for reason in left_out]
    record = object_of(rest if name else record)
    query, held = query_of(record, fields.query)
    if name is None or not has_field(record, name):
        raise missing("documents", fields.documents, "documents", record)
    candidates: list[tuple[int, Candidate]] = []
    for place, document in enumerate(field_of(record, name)):
        if isinstance(document, RecordError):
            continue
        try:
            candidate = _candidate(document, fields)
            candidates.append((place, _from_answer(candidate) if name == HITS else candidate))
        except RecordError as error:
            reason = f"{name}[{place}]: {error}"
            reasons.append(RecordError(reason, missing=error.missing))
    ids = (*QUERY_ID, *ROW_ID)
    own = kept(record, ANSWERED | {name})
    of_query = {*ids, "text", "title"}
    more = {key: value for key, value in held.items() if key not in of_query | own.keys()}
    query_id = id_of(record, ids) or id_of(held, ids)
    own |= kept(more, ANSWERED)
    unnamed = sum(not candidate.passage.doc_id for _, candidate in candidates)
    return Listed(query_id, query, renumbered(candidates), own, reasons, unnamed)


def pair(record: object, fields: RequestFields) -> PairRow:
    """Return the query and the document of a row; other fields become the document's metadata.

    Raises:
        RecordError: The query or the document is missing, or the score is not finite.
    """
    record = object_of(record)
    query, held = query_of(record, fields.query)
    text = text_name(record, fields.text, DOCUMENT)
    used = [name_of(record, QUERY_ID), name_of(record, names_of(fields.query, QUERY))]
    # The row id is the document's id, unless a document id field is filled.
    ids = names_of(fields.id, (*DOCUMENT_IDS, *ROW_ID))
    query_id = id_of(record, QUERY_ID) or id_of(held, (*QUERY_ID, *ROW_ID))
    return PairRow(query_id, query, _from_object(record, text, ids, used))


def renumbered(candidates: Iterable[tuple[int, Candidate]]) -> list[Candidate]:
    """Return candidates numbered by their list positions, which serve as ids if they have none.

    If the id is taken, position 2 becomes #2.
    """
    numbered = list(candidates)
    taken = {candidate.passage.doc_id for _, candidate in numbered}
    return [
        replace(candidate, passage_id=at, passage=_named(candidate.passage, at, taken))
        for at, candidate in numbered
    ]


def _named(passage: Passage, place: int, taken: Container[str]) -> Passage:
    if passage.doc_id:
        return passage
    name = str(place)
    while name in taken:
        name = f"#{name}"
    return replace(passage, doc_id=name)


def _holds_example(record: object, fields: RequestFields) -> bool:
    return not (fields.documents or fields.text) and holds_example(record)


def _from_example(record: object, fields: RequestFields) -> Listed:
    """Return a row of training data with its positives and then its negatives as documents."""
    held = example(record, fields.query)
    positives = [Passage("", text, metadata={"label": 1}) for text in held.positives]
    negatives = [
        Passage(doc_id, text, metadata={"label": 0})
        for doc_id, text in zip(held.negative_ids, held.negatives, strict=True)
    ]
    passages = [*positives, *negatives]
    candidates = renumbered(enumerate(Candidate(0, passage, None) for passage in passages))
    own = kept(held.fields, ANSWERED)
    unnamed = sum(not passage.doc_id for passage in passages)
    reasons = [RecordError(reason) for reason in held.reasons]
    return Listed(held.query_id, held.query, candidates, own, reasons, unnamed)


def _candidate(document: object, fields: RequestFields) -> Candidate:
    if isinstance(document, str):
        return Candidate(0, Passage("", document), None)
    if not isinstance(document, dict):
        raise RecordError("neither a string nor an object")
    ids = names_of(fields.id, (*ROW_ID, *DOCUMENT_IDS))
    usual = names_of(fields.text, TEXT)
    inner = document.get(NESTED)
    if inner is not None and name_of(document, usual) is None:
        outer = {name: value for name, value in document.items() if name != NESTED}
        document, ids = _unnested(inner, outer, usual, ids)
    return _from_object(document, text_name(document, fields.text, TEXT), ids)


def _unnested(
    inner: object, outer: dict[str, Any], texts: Sequence[str], ids: Sequence[str]
) -> tuple[dict[str, Any], Sequence[str]]:
    """Return a candidate merged with its nested document, and the names of its id field."""
    if isinstance(inner, str):
        return {TEXT[0]: inner, **outer}, ids
    if not isinstance(inner, dict):
        raise RecordError(f'"{NESTED}" is neither a string nor an object')
    own = id_field(outer, ids)
    document = {**inner, **outer}
    if name_of(inner, texts) is None and TITLE_FIELD in inner:
        document[TEXT[0]] = document.pop(TITLE_FIELD)
    return document, (own,) if own else ids


def _from_object(
    document: Mapping[str, Any], text: str, ids: Sequence[str], used: Sequence[str | None] = ()
) -> Candidate:
    title = document.get(TITLE_FIELD)
    if title is not None and not isinstance(title, str):
        raise RecordError('"title" is not a string')
    named = id_field(document, ids) or name_of(document, ids)
    passage = Passage(
        doc_id=id_of(document, ids) or "",
        text=field_of(document, text),
        title=title or "",
        metadata=kept(document, {text, named, TITLE_FIELD, *used}),
    )
    return Candidate(0, passage, score_of(document))


def _from_answer(hit: Candidate) -> Candidate:
    """Return a hit read from an answer, with location and metadata moved to the passage."""
    rest = dict(hit.passage.metadata)
    names = [name for name, kind in PLACE.items() if isinstance(rest.get(name), kind)]
    place = {name: rest.pop(name) for name in names}
    above = rest.get("headings")
    if isinstance(above, list) and all(isinstance(one, str) for one in above):
        place["headings"] = tuple(rest.pop("headings"))
    own = rest.pop("metadata") if isinstance(rest.get("metadata"), dict) else {}
    return replace(hit, passage=replace(hit.passage, **place, metadata=rest | own))


def _documents(record: object, fields: RequestFields) -> str | None:
    if not isinstance(record, dict):
        return None
    names = names_of(fields.documents, DOCUMENTS)
    there = (name for name in names if has_field(record, name))
    return next((name for name in there if isinstance(field_of(record, name), list)), None)
