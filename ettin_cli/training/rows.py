"""A data row -> an example: a pair with a teacher's score, or positives and negatives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ettin_cli.corpus import RecordError
from ettin_cli.files.requests import POSITIVE, QUERY, RequestFields, name_of, negative_fields, pair
from ettin_cli.records import NO_TEXT

SCORE = "score"


@dataclass(frozen=True, slots=True)
class Example:
    """A query, its texts, and the target of each.

    Args:
        targets: A teacher's scores, or 1 for a positive and 0 for a negative.
        scored: Whether the targets are a teacher's scores.
    """

    query: str
    texts: Sequence[str]
    targets: Sequence[float]
    scored: bool


def example_of(record: object) -> Example:
    """Return the example in a row.

    Raises:
        RecordError: The row is not an example.
    """
    if isinstance(record, RecordError):
        raise record
    if isinstance(record, dict) and record.get(POSITIVE) is not None:
        return _listed(record)
    request = pair(record, RequestFields())
    assert isinstance(record, dict)
    return Example(
        request.query, [request.candidate.passage.content], [_score(record)], scored=True
    )


def _score(record: Mapping[str, Any]) -> float:
    if record.get(SCORE) in (None, ""):
        raise RecordError('no "score" field')
    value = record[SCORE]
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise RecordError('"score" is not a finite number')
    if score <= NO_TEXT:
        raise RecordError(f'"score" {NO_TEXT:g} marks an empty text')
    return score


def _listed(record: Mapping[str, Any]) -> Example:
    query = record.get(name_of(record, QUERY) or QUERY[0])
    if not isinstance(query, str) or not query.strip():
        raise RecordError('"query" is missing, empty or not a string')
    positives = _texts(record, POSITIVE)
    names = negative_fields(record)
    if not names:
        raise RecordError('no "negatives"')
    negatives = list(dict.fromkeys(text for name in names for text in _texts(record, name)))
    if not positives or not all(text.strip() for text in positives):
        raise RecordError(f'"{POSITIVE}" has an empty text, or none')
    if not negatives:
        raise RecordError("no negative is left")
    if set(positives) & set(negatives):
        raise RecordError("a text is both a positive and a negative")
    targets = [1.0] * len(positives) + [0.0] * len(negatives)
    return Example(query, [*positives, *negatives], targets, scored=False)


def _texts(record: Mapping[str, Any], name: str) -> list[str]:
    """Return the distinct texts of a field that holds a text or a list."""
    value = record[name]
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list):
        texts = [text for text in texts if not isinstance(text, RecordError)]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RecordError(f'"{name}" is neither a string nor a list of strings')
    return list(dict.fromkeys(texts))
