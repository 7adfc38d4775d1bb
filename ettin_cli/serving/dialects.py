"""The bodies of rerank requests, as the clients of many services send them.

Cohere, Jina, vLLM, llama.cpp and infinity send `documents`; Voyage too, with `top_k`;
text-embeddings-inference (TEI) `texts`; Mixedbread `input`. The fields tell them apart, so that
every path answers every client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ettin_cli.serving.fields import count_of, flag_of, kind_of, string_of, unicode_of
from ettin_cli.serving.problems import ProblemError, invalid

Dialect = Literal["cohere", "infinity", "voyage", "tei", "mixedbread"]

MAX_DOCUMENTS = 10_000
MAX_QUERY = 32_768

# Fields that are understood, or accepted as they need nothing: the others are named in a warning.
_KNOWN = frozenset(
    """model query documents texts input top_n top_k return_documents return_text return_input
    max_tokens_per_doc max_chunks_per_doc overlap_tokens truncate truncation truncate_prompt_tokens
    truncation_side truncation_direction raw_scores use_activation priority rank_fields user
    encoding_format""".split()
)
_TEXTS = {"tei": "texts", "mixedbread": "input"}


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """A request to rerank texts.

    Args:
        top_n: The number of results; None: all.
        raw: Whether scores are the model's own, on no scale; None: as the server is set.
        max_tokens: Tokens that are read of each text, if that is less than the model's limit.
        priority: A lower one is served first.
        warnings: What of the request has no effect.
    """

    dialect: Dialect
    model: str
    query: str
    texts: list[str]
    top_n: int | None = None
    return_texts: bool = False
    raw: bool | None = None
    max_tokens: int | None = None
    priority: int = 0
    warnings: Sequence[str] = ()


def dialect_of(body: Mapping[str, Any]) -> Dialect:
    """Return the service whose client sent a body.

    >>> dialect_of({"query": "q", "texts": []}), dialect_of({"query": "q", "documents": []})
    ('tei', 'cohere')
    """
    if "texts" in body:
        return "tei"
    if "input" in body:
        return "mixedbread"
    if (body.get("top_k") or body.get("truncation")) and not body.get("top_n"):
        return "voyage"
    return "infinity" if "raw_scores" in body else "cohere"


def rerank_request(body: Mapping[str, Any], most: int = MAX_DOCUMENTS) -> RerankRequest:
    """Return the request in a body.

    Args:
        most: Maximum number of documents.

    Raises:
        ProblemError: A field is missing or has a wrong type, or there are too many documents.
    """
    dialect = dialect_of(body)
    name = _TEXTS.get(dialect, "documents")
    return RerankRequest(
        dialect=dialect,
        model=string_of(body, "model"),
        query=query_of(body),
        texts=texts_of(body, name, most),
        top_n=count_of(body, "top_n") or count_of(body, "top_k") or None,
        # A list, so that each is checked.
        return_texts=any(
            [flag_of(body, one) for one in ("return_documents", "return_text", "return_input")]
        ),
        raw=asks_raw(body),
        max_tokens=count_of(body, "max_tokens_per_doc") or count_of(body, "truncate_prompt_tokens"),
        priority=count_of(body, "priority") or 0,
        warnings=_warnings(body),
    )


def asks_raw(body: Mapping[str, Any]) -> bool | None:
    """Return whether a body asks for the model's own scores; None if it does not say.

    Raises:
        ProblemError: A field is not a boolean.
    """
    raw, activated = (flag_of(body, name) for name in ("raw_scores", "use_activation"))
    return not activated if raw is None and activated is not None else raw


def query_of(body: Mapping[str, Any], name: str = "query") -> str:
    """Return the query of a body.

    Raises:
        ProblemError: It is missing, empty, too long or not a string.
    """
    query = body.get(name)
    if not isinstance(query, str):
        raise invalid(f"`{name}` must be a string, not {kind_of(query)}", name)
    if not query.strip():
        raise invalid(f"`{name}` is empty", name)
    if len(query) > MAX_QUERY:
        raise ProblemError(413, f"`{name}` has more than {MAX_QUERY:,} characters", param=name)
    return unicode_of(query, name)


def texts_of(body: Mapping[str, Any], name: str, most: int) -> list[str]:
    """Return the texts of a body.

    Raises:
        ProblemError: They are missing, too many, or no texts.
    """
    given = body.get(name)
    if not isinstance(given, list):
        raise invalid(f"`{name}` must be a list of texts, not {kind_of(given)}", name)
    if not given:
        raise invalid(f"`{name}` is empty", name)
    if len(given) > most:
        limit = f"`{name}` has {len(given):,} texts, more than {most:,} (--max-documents)"
        raise ProblemError(413, limit, param=name)
    fields = body.get("rank_fields")
    if fields is not None and not _is_strings(fields):
        raise invalid("`rank_fields` must be a list of strings", "rank_fields")
    return [_text(one, f"{name}[{at}]", fields or ()) for at, one in enumerate(given)]


def pairs_of(body: Mapping[str, Any], most: int) -> tuple[list[str], list[str]]:
    """Return the queries and texts of a request for scores; one query may have many texts.

    Raises:
        ProblemError: They are missing, too many, or not as many as each other.
    """
    names = (
        ("text_1", "text_2"),
        ("queries", "documents"),
        ("queries", "items"),
        ("data_1", "data_2"),
    )
    first, second = next(
        ((one, other) for one, other in names if one in body and other in body), names[0]
    )
    queries, texts = (strings_of(body, name, most) for name in (first, second))
    if len(queries) == 1:
        queries *= len(texts)
    if len(queries) != len(texts):
        counts = f"{len(queries):,} and {len(texts):,}"
        raise invalid(f"`{first}` and `{second}` must be equally long, not {counts}", second)
    return queries, texts


def strings_of(body: Mapping[str, Any], name: str, most: int) -> list[str]:
    """Return the texts of a field that is a string or a list of them.

    Raises:
        ProblemError: They are missing, too many, or token ids.
    """
    given = body.get(name)
    if isinstance(given, str):
        given = [given]
    flat = given if isinstance(given, list) else []
    if any(isinstance(one, int) or (isinstance(one, list) and one) for one in flat[:1]):
        message = f"`{name}` has token ids; send text (check_embedding_ctx_length=False)"
        raise invalid(message, name)
    return texts_of({name: given}, name, most)


def _text(given: object, name: str, fields: Sequence[str]) -> str:
    """Return a document as text: of an object its text, or the given fields, or all of them."""
    if isinstance(given, str):
        return unicode_of(given, name)
    if not isinstance(given, dict):
        raise invalid(f"`{name}` must be a string or an object, not {kind_of(given)}", name)
    chosen = {field: given[field] for field in fields if field in given} or given
    if not fields and isinstance(given.get("text"), str):
        return unicode_of(given["text"], name)
    if fields:
        return unicode_of("\n".join(_scalar(value) for value in chosen.values()), name)
    lines = (f"{field}: {_scalar(value)}" for field, value in chosen.items())
    return unicode_of("\n".join(lines), name)


def _scalar(value: object) -> str:
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _warnings(body: Mapping[str, Any]) -> list[str]:
    unknown = sorted(name for name, value in body.items() if name not in _KNOWN and value)
    shown = ", ".join(f"`{name[:40]}`" for name in unknown[:10])
    return [f"no effect: {shown}"] if unknown else []


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
