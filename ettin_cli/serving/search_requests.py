"""The bodies of search requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ettin_cli.index import Filter
from ettin_cli.serving.dialects import query_of
from ettin_cli.serving.fields import count_of, flag_of, kind_of, number_of, string_of
from ettin_cli.serving.problems import ProblemError, invalid
from ettin_cli.settings import AUTO, CANDIDATES, DOCUMENT, SAME, TOP_K

MAX_TOP_K, MAX_CANDIDATES, MAX_QUERIES = 1_000, 10_000, 64
_KNOWN = frozenset(
    """query index top_k candidates reranker retriever filters path by fold blend min_score
    min_probability expand facets stream""".split()
)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A request to search an index.

    Args:
        index: Its name; "": the first one.
        reranker: A name of a served reranker, a cascade of them, or "none"; None: the first.
        options: Arguments of `Searcher.search`.
        facets: Metadata fields whose values are counted in the hits; None: all.
        stream: Whether the answer is a stream of events.
        warnings: What of the request has no effect.
    """

    queries: Sequence[str]
    many: bool
    index: str
    reranker: str | None
    retriever: str
    expand: bool
    options: Mapping[str, Any]
    facets: Sequence[str] | None
    stream: bool
    warnings: Sequence[str] = ()


def search_request(body: Mapping[str, Any]) -> SearchRequest:
    """Return the request in a body.

    Raises:
        ProblemError: A field is missing, or has a wrong type or value.
    """
    queries, many = _queries(body)
    stream = bool(flag_of(body, "stream"))
    if stream and many:
        raise invalid("a stream answers one query; `query` must be a string", "query")
    unknown = sorted(name[:40] for name, value in body.items() if name not in _KNOWN and value)
    return SearchRequest(
        queries=queries,
        many=many,
        index=string_of(body, "index"),
        reranker=string_of(body, "reranker") or None,
        retriever=string_of(body, "retriever") or AUTO,
        expand=bool(flag_of(body, "expand")),
        options={
            "top_k": limited_count(body, "top_k", TOP_K, MAX_TOP_K),
            "candidates": limited_count(body, "candidates", CANDIDATES, MAX_CANDIDATES),
            "by": string_of(body, "by") or DOCUMENT,
            "min_score": number_of(body, "min_score"),
            "min_probability": number_of(body, "min_probability"),
            "blend": _blend(body),
            "filters": filters_of(body),
            "paths": _strings(body, "path"),
            "fold": string_of(body, "fold") or SAME,
        },
        facets=_facets(body),
        stream=stream,
        warnings=[f"no effect: {', '.join(f'`{name}`' for name in unknown[:10])}"]
        if unknown
        else [],
    )


def filters_of(body: Mapping[str, Any]) -> tuple[Filter, ...]:
    """Return the filters of a body: metadata fields with a value, or alternatives.

    >>> filters_of({"filters": {"port": ["west", "east"], "year": 2024}})
    (('port', ('west', 'east')), ('year', '2024'))
    """
    given = body.get("filters")
    if given is None:
        return ()
    if not isinstance(given, dict):
        raise invalid(f"`filters` must be an object of fields, not {kind_of(given)}", "filters")
    return tuple((name, _values(value, name)) for name, value in given.items())


def _values(value: object, name: str) -> str | tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_value(one, name) for one in value)
    return _value(value, name)


def _value(value: object, name: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise invalid(
        f"filter {name[:40]!r} must be a value or a list, not {kind_of(value)}", "filters"
    )


def _queries(body: Mapping[str, Any]) -> tuple[list[str], bool]:
    given = body.get("query")
    if not isinstance(given, list):
        return [query_of(body)], False
    if not given or len(given) > MAX_QUERIES:
        raise invalid(f"`query` must have 1 to {MAX_QUERIES} queries, not {len(given):,}", "query")
    return [query_of({"query": one}) for one in given], True


def limited_count(body: Mapping[str, Any], name: str, usual: int, most: int) -> int:
    """Return a whole number from 1 to `most`; `usual` if it is missing.

    Raises:
        ProblemError: It is something else.
    """
    number = count_of(body, name)
    if number is None:
        return usual
    if not 1 <= number <= most:
        raise invalid(f"`{name}` must be from 1 to {most:,}, not {number:,}", name)
    return number


def _blend(body: Mapping[str, Any]) -> float | str:
    if body.get("blend") == AUTO:
        return AUTO
    number = number_of(body, "blend")
    return AUTO if number is None else number


def _strings(body: Mapping[str, Any], name: str) -> list[str]:
    value = body.get(name)
    given = [] if value is None else [value] if isinstance(value, str) else value
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        return given
    raise invalid(f"`{name}` must be a string or a list of strings", name)


def _facets(body: Mapping[str, Any]) -> list[str] | None:
    value = body.get("facets")
    if value is True:
        return None
    return [] if value is False else _strings(body, "facets")


# Parameters of a URL that are not strings.
_COUNTS, _FLAGS = ("top_k", "candidates"), ("expand", "facets", "stream")
_NUMBERS = ("blend", "min_score", "min_probability")


def search_body(parameters: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the body that the parameters of a URL stand for; `q` is the query.

    >>> search_body([("q", "ferry"), ("top_k", "3"), ("f", "port:west")])
    {'query': 'ferry', 'top_k': 3, 'filters': {'port': ['west']}}
    """
    body: dict[str, Any] = {}
    for name, text in parameters:
        if not text:
            continue
        if name == "q":
            body["query"] = text
        elif name == "f":
            field, value = filter_parts(text)
            body.setdefault("filters", {}).setdefault(field, []).append(value)
        elif name == "path":
            body.setdefault("path", []).append(text)
        elif name in _FLAGS and text.lower() in ("true", "false", "1", "0"):
            body[name] = text.lower() in ("true", "1")
        elif name in (*_COUNTS, *_NUMBERS):
            body[name] = _as_number(name, text)
        elif name == "facets":
            body[name] = text.split(",")
        else:
            body[name] = text
    return body


def filter_parts(text: str) -> tuple[str, str]:
    """Return the field and the value of FIELD:VALUE; `%3A` in the field is a colon.

    >>> filter_parts("port:west:1"), filter_parts("dc%3Atype:map")
    (('port', 'west:1'), ('dc:type', 'map'))
    """
    field, colon, value = text.partition(":")
    if not colon:
        raise invalid(f"`f` must be FIELD:VALUE, not {text[:40]!r}", "f")
    return field.replace("%3A", ":").replace("%25", "%"), value


def _as_number(name: str, text: str) -> int | float:
    try:
        return int(text) if name in _COUNTS else float(text)
    except ValueError:
        raise invalid(f"`{name}` must be a number, not {text[:40]!r}", name) from None


def lines_of(text: str | None) -> tuple[int, int] | None:
    """Return the first and the last line that a parameter names.

    >>> lines_of("12-30"), lines_of("7"), lines_of(None)
    ((12, 30), (7, 7), None)
    """
    if not text:
        return None
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()) or len(text) > 20:
        raise invalid(f"`lines` must be FIRST-LAST, not {text[:40]!r}", "lines")
    begin, end = int(first), int(last or first)
    if not 1 <= begin <= end:
        raise ProblemError(400, f"`lines` {text} is no range", param="lines")
    return begin, end
