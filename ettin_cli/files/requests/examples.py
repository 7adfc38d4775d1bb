"""A row of training data -> its query, positives and negatives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ettin_cli.corpus import RecordError, among, as_read, without_surrogates
from ettin_cli.files.requests.values import (
    DOCUMENT,
    QUERY_ID,
    ROW_ID,
    id_of,
    name_of,
    object_of,
    query_fields,
    query_of,
)

POSITIVE, NEGATIVE_IDS = "positive", "negative_ids"
NEGATIVE = re.compile(r"(hard_)?negatives?(_?\d+)?")


@dataclass(frozen=True, slots=True)
class Example:
    """A row of training data: a query, its positives and its negatives.

    Args:
        negative_ids: Ids of the negatives; empty strings if the row has none.
        fields: The other fields of the row, including the query's.
        reasons: Why texts or fields were left out.
    """

    query_id: str | None
    query: str
    positives: Sequence[str]
    negatives: Sequence[str]
    negative_ids: Sequence[str]
    fields: Mapping[str, Any]
    reasons: Sequence[str]


def holds_example(record: object) -> bool:
    """Return whether a record is training data rather than a pair."""
    record = as_read(record)
    return isinstance(record, dict) and POSITIVE in record and name_of(record, DOCUMENT) is None


def example(record: object, query_field: str | None = None) -> Example:
    """Return the example in a row of training data.

    Args:
        query_field: The name or dotted path of the query field; None: the usual ones.

    Raises:
        RecordError: The query or the positive is missing, or a text is not a string.
    """
    held, reasons = without_surrogates(
        record, [*query_fields(query_field), POSITIVE], text_fields(record)
    )
    record = object_of(held)
    query, _ = query_of(record, query_field)
    if POSITIVE not in record:
        raise RecordError(f'no "{POSITIVE}" field' + among(record))
    positives = [text for text in _texts(record, POSITIVE) if isinstance(text, str)]
    if not positives:
        raise RecordError(f'"{POSITIVE}" is empty')
    texts = [text for name in negative_fields(record) for text in _texts(record, name)]
    named = zip(_negative_ids(record, len(texts)), texts, strict=True)
    negatives = [(name, text) for name, text in named if isinstance(text, str)]
    return Example(
        query_id=id_of(record, (*QUERY_ID, *ROW_ID)),
        query=query,
        positives=positives,
        negatives=[text for _, text in negatives],
        negative_ids=[name for name, _ in negatives],
        fields={name: value for name, value in record.items() if not _is_example_field(name)},
        reasons=reasons,
    )


def text_fields(record: object) -> list[str]:
    """Return the names of a row's fields that may hold a list of texts."""
    record = as_read(record)
    names = record if isinstance(record, dict) else ()
    return [name for name in names if name == POSITIVE or NEGATIVE.fullmatch(name)]


def negative_fields(record: Mapping[str, Any]) -> list[str]:
    """Return the names of the non-empty fields that hold negatives.

    >>> negative_fields({"query": "q", "negative_1": "a", "negative_2": "", "negative_ids": ["b"]})
    ['negative_1']
    """
    named = (name for name in record if NEGATIVE.fullmatch(name))
    return [name for name in named if record[name] not in (None, "", [])]


def _is_example_field(name: str) -> bool:
    return name in (POSITIVE, NEGATIVE_IDS) or NEGATIVE.fullmatch(name) is not None


def _negative_ids(record: Mapping[str, Any], count: int) -> Sequence[str]:
    ids = record.get(NEGATIVE_IDS)
    if (
        isinstance(ids, list)
        and len(ids) == count
        and all(isinstance(doc_id, str) for doc_id in ids)
    ):
        return ids
    return [""] * count


def _texts(record: Mapping[str, Any], name: str) -> list[str | RecordError]:
    """Return the texts of a field that holds a text or a list, or why a text was left out."""
    value = record[name]
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, (str, RecordError)) for text in texts):
        raise RecordError(f'"{name}" is neither a text nor a list of texts')
    return texts
