"""A row of training data -> its query, the texts that answer it, and those that do not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ettin_cli.corpus.records import RecordError
from ettin_cli.requests.values import (
    DOCUMENT,
    QUERY_ID,
    ROW_ID,
    id_of,
    name_of,
    object_of,
    query_of,
)

POSITIVE, NEGATIVE_IDS = "positive", "negative_ids"
NEGATIVE = re.compile(r"(hard_)?negatives?(_?\d+)?")


@dataclass(frozen=True, slots=True)
class Example:
    """A row of training data: a query, texts that answer it, and texts that do not."""

    query_id: str | None
    query: str
    positives: Sequence[str]
    negatives: Sequence[str]


def holds_example(record: object) -> bool:
    """Say whether a record is training data, rather than a pair."""
    return isinstance(record, dict) and POSITIVE in record and name_of(record, DOCUMENT) is None


def example(record: object, query_field: str | None = None) -> Example:
    """Return the query of a row of training data, and its texts.

    Args:
        query_field: The name or dotted path of the field of the query; None: the usual ones.

    Raises:
        RecordError: It lacks a query or a positive, or one of its texts is none.
    """
    record = object_of(record)
    try:
        query, _ = query_of(record, query_field)
    except RecordError as error:
        # Here a field cannot be named.
        raise RecordError(str(error).partition(";")[0]) from error
    if POSITIVE not in record:
        raise RecordError(f'no "{POSITIVE}" field')
    positives = _texts(record, POSITIVE)
    if not positives:
        raise RecordError(f'"{POSITIVE}" is empty')
    negatives = [text for name in negative_fields(record) for text in _texts(record, name)]
    return Example(id_of(record, (*QUERY_ID, *ROW_ID)), query, positives, negatives)


def negative_fields(record: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields that hold negatives, without those that are empty.

    >>> negative_fields({"query": "q", "negative_1": "a", "negative_2": "", "negative_ids": ["b"]})
    ['negative_1']
    """
    named = (name for name in record if NEGATIVE.fullmatch(name))
    return [name for name in named if record[name] not in (None, "", [])]


def is_example_field(name: str) -> bool:
    """Say whether a field of training data holds its texts or their ids."""
    return name in (POSITIVE, NEGATIVE_IDS) or NEGATIVE.fullmatch(name) is not None


def negative_ids(record: Mapping[str, Any], count: int) -> Sequence[str]:
    """Return the ids of so many negatives, empty ones where a row does not have that many."""
    ids = record.get(NEGATIVE_IDS)
    if isinstance(ids, list) and len(ids) == count and all(isinstance(one, str) for one in ids):
        return ids
    return [""] * count


def _texts(record: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts of a field that holds one or a list of them."""
    value = record[name]
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise RecordError(f'"{name}" is neither a text nor a list of texts')
    return texts
