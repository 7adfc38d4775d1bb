"""Searches of OpenAI's vector stores, whose ids are the names of the indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ettin_cli.serving.fields import kind_of, number_of
from ettin_cli.serving.problems import invalid
from ettin_cli.serving.scores import SIGMOID, Scale
from ettin_cli.serving.search_requests import SearchRequest, limited_count, search_request
from ettin_cli.settings import TOP_K

MAX_RESULTS = 50
MAX_DEPTH = 16


def store_request(body: Mapping[str, Any], name: str) -> SearchRequest:
    """Return the search that a request to a vector store stands for.

    Raises:
        ProblemError: A field is missing, or has a wrong type or value.
    """
    ranking, filters = _object(body, "ranking_options"), _object(body, "filters")
    number = limited_count(body, "max_num_results", TOP_K, MAX_RESULTS)
    return search_request(
        {
            "query": body.get("query"),
            "index": name,
            "top_k": number,
            "reranker": "none" if ranking.get("ranker") == "none" else None,
            "filters": _filters(filters) if filters else None,
        }
    )


def least_score(body: Mapping[str, Any]) -> float:
    """Return the score below which a request leaves out hits; 0 if it does not say.

    Raises:
        ProblemError: It is no number.
    """
    ranking = _object(body, "ranking_options")
    return number_of(ranking, "score_threshold") or 0.0


def store_page(
    queries: Sequence[str], answers: Sequence[Mapping[str, Any]], least: float
) -> dict[str, Any]:
    """Return the hits as OpenAI's clients read them, with scores from 0 to 1.

    Args:
        least: The score below which hits are left out.
    """
    scored = [(_score(hit), hit) for answer in answers for hit in answer["hits"]]
    data = [
        {
            "file_id": hit["doc_id"],
            "filename": hit.get("path") or hit["doc_id"],
            "score": score,
            "attributes": _attributes(hit),
            "content": [{"type": "text", "text": hit["text"]}],
        }
        for score, hit in scored
        if score >= least
    ]
    return {
        "object": "vector_store.search_results.page",
        "search_query": list(queries),
        "data": data,
        "has_more": False,
        "next_page": None,
    }


def _score(hit: Mapping[str, Any]) -> float:
    """Return the probability of a hit if there is one, else the sigmoid of its score."""
    probability = hit.get("probability")
    [score] = Scale(SIGMOID).of([hit["score"]])
    return score if probability is None else float(probability)


def _attributes(hit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that is a string, a number or a boolean, and where the passage is."""
    plain = {k: v for k, v in hit["metadata"].items() if isinstance(v, str | int | float)}
    return plain | {"hit_id": hit["id"], "title": hit.get("title") or ""}


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid(f"`{name}` must be an object, not {kind_of(value)}", name)
    return value or {}


def _filters(given: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return the fields that a filter of OpenAI's compares, with their values.

    >>> west, east = ({"type": "eq", "key": "port", "value": one} for one in ("west", "east"))
    >>> _filters({"type": "or", "filters": [west, east]})
    {'port': ['west', 'east']}
    """
    if depth > MAX_DEPTH:
        raise invalid(f"filters are nested more than {MAX_DEPTH} deep", "filters")
    kind = given.get("type")
    if kind in ("eq", "in"):
        key, value = given.get("key"), given.get("value")
        if not isinstance(key, str):
            raise invalid("a filter needs a `key`", "filters")
        return {key: value}
    if kind not in ("and", "or"):
        raise invalid(f"filters of type {kind!r} are not supported: eq, in, and, or", "filters")
    parts = [_filters(one, depth + 1) for one in _inner(given)]
    fields = [field for part in parts for field in part]
    if kind == "and":
        if len(set(fields)) < len(fields):
            raise invalid("two filters of one field cannot be joined by and", "filters")
        return {field: value for part in parts for field, value in part.items()}
    if len(set(fields)) > 1:
        raise invalid("filters joined by or must compare one field", "filters")
    values: list[Any] = []
    for part in parts:
        for value in part.values():
            values += value if isinstance(value, list) else [value]
    return {fields[0]: values}


def _inner(given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the filters that a filter joins."""
    inner = given.get("filters")
    if not isinstance(inner, list) or not inner:
        raise invalid("`filters` of a filter must be a list of filters", "filters")
    for one in inner:
        if not isinstance(one, dict):
            raise invalid(f"a filter must be an object, not {kind_of(one)}", "filters")
    return inner
