"""A data row -> an example: a pair with a teacher's score, or positives and negatives."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ettin_cli.corpus import RecordError, Row, without_surrogates
from ettin_cli.errors import CorpusError
from ettin_cli.files.requests import (
    DOCUMENT,
    POSITIVE,
    QUERY,
    RequestFields,
    name_of,
    negative_fields,
    pair,
    text_fields,
)
from ettin_cli.records import NO_TEXT
from ettin_cli.training.recipe import BCE, LISTWISE, MARGIN_MSE, MSE

# The usual name, and that of the datasets of sentence-transformers.
SCORE, LABEL = "score", "label"
ROWS = "a row is query, document and score (or label); or query, positive and negatives"
# Required fields of a row.
NEEDED = (*QUERY, *DOCUMENT, POSITIVE)


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


def read_row(row: Row) -> tuple[Mapping[str, Any], Example, Sequence[str]]:
    """Return the record of a row, the example in it, and why some of its texts were left out.

    Raises:
        RecordError: The row is not an example.
    """
    record, reasons = without_surrogates(row[0], NEEDED, text_fields(row[0]))
    example = example_of(record)
    assert isinstance(record, dict)
    return record, example, reasons


def require_usable(example: Example, loss: str | None, place: str) -> None:
    """Check that a loss can use an example; others of the same data will not differ.

    Args:
        place: The row, for the error.

    Raises:
        CorpusError: It cannot.
    """
    if not example.scored and loss in (MSE, MARGIN_MSE):
        raise CorpusError(
            f"{place}: the loss {loss} needs scores, not a positive and negatives",
            code="invalid-examples",
            loss=loss,
            losses=(LISTWISE, BCE),
        )
    if loss == BCE and not all(0 <= target <= 1 for target in example.targets):
        raise CorpusError(
            f"{place}: the loss {BCE} needs probabilities, but the score is {example.targets[0]:g}",
            code="invalid-examples",
            loss=loss,
            losses=(MSE,),
        )


def are_scored(columns: Collection[str]) -> bool | None:
    """Return whether rows with these columns have scores; None: they are not examples at all.

    >>> are_scored(["query", "document", "label"]), are_scored(["query", "positive", "negative_1"])
    (True, False)
    >>> are_scored(["text", "label"])
    """
    record = dict.fromkeys(columns, "text")
    if len(record) < len(columns) or name_of(record, QUERY) is None:
        return None
    if POSITIVE in record:
        return False if negative_fields(record) else None
    scored = name_of(record, DOCUMENT) and (SCORE in record or LABEL in record)
    return True if scored else None


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
    name = next((name for name in (SCORE, LABEL) if record.get(name) not in (None, "")), None)
    if name is None:
        raise RecordError(f'no "{SCORE}" field')
    value = record[name]
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise RecordError(f'"{name}" is not a finite number')
    if score <= NO_TEXT:
        raise RecordError(f'"{name}" {NO_TEXT:g} marks an empty text')
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
