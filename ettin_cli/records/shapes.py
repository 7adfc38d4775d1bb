"""Answers and hits in the shapes that formats share: JSON objects and rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

from ettin_cli.records.answers import Answer, Hit, Stage
from ettin_cli.records.documents import Passage

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = {
    "query_id": "string",
    "rank": "int32",
    "doc_id": "string",
    "passage_id": "int64",
    "score": "float64",
    "rerank_score": "float64",
    "probability": "float64",
    "retrieval_rank": "int32",
    "retrieval_score": "float64",
    "retrieval": "string",
    "title": "string",
    "path": "string",
    "start_line": "int32",
    "end_line": "int32",
    "page": "int32",
    "truncated": "bool",
    "stale": "bool",
    "text": "string",
    "metadata": "string",
    "duplicates": "string",
    "query": "string",
    "query_fields": "string",
}
# Characters of a text that a notebook shows.
SHOWN = 200
WHERE_THEY_APPLY = frozenset(
    (
        *("rerank_score", "probability", "retrieval", "page", "text", "truncated", "stale"),
        "duplicates",
    )
)


def answer_json(answer: Answer, *, text: bool = True) -> dict[str, Any]:
    """Return an answer in the shape of `-f json`; keys that do not apply are left out."""
    hits = [hit_json(hit, rank, text=text) for rank, hit in enumerate(answer.hits, start=1)]
    shape = {
        "query_id": answer.query.query_id,
        "query": answer.query.text,
        **answer.fields,
        **({"retriever": answer.retriever} if answer.retriever is not None else {}),
        **({"embedder": answer.embedder} if answer.embedder is not None else {}),
        "reranker": answer.reranker,
        "engine": answer.backend,
        **({"stages": [_stage_json(stage) for stage in answer.stages]} if answer.stages else {}),
        "hits": hits,
    }
    return {**shape, "seconds": dict(answer.seconds)} if answer.seconds else shape


def _stage_json(stage: Stage) -> dict[str, Any]:
    return {
        "reranker": stage.reranker,
        "engine": stage.backend,
        "scored": stage.scored,
        "truncated": stage.truncated,
        "kept": stage.kept,
    }


def hit_json(hit: Hit, rank: int, *, text: bool = True) -> dict[str, Any]:
    """Return a hit in the shape of `-f json`; keys that do not apply are left out."""
    passage = hit.passage
    shape = {
        "rank": rank,
        "doc_id": passage.doc_id,
        "passage_id": hit.passage_id,
        "score": hit.score,
        "rerank_score": hit.rerank_score,
        "probability": hit.probability,
        "retrieval_rank": hit.retrieval_rank,
        "retrieval_score": hit.retrieval_score,
        "retrieval": {name: asdict(place) for name, place in hit.by_retriever.items()} or None,
        "title": passage.title,
        "path": passage.path,
        "start_line": passage.start_line,
        "end_line": passage.end_line,
        "page": passage.page,
        "text": passage.text if text else None,
        "metadata": dict(passage.metadata),
        "duplicates": [_duplicate(*item) for item in hit.duplicates.items()] or None,
        "truncated": hit.truncated or None,
        "stale": hit.stale or None,
    }
    return {k: v for k, v in shape.items() if v is not None or k not in WHERE_THEY_APPLY}


def _duplicate(passage_id: int, passage: Passage) -> dict[str, Any]:
    return {
        "doc_id": passage.doc_id,
        "passage_id": passage_id,
        "path": passage.path,
        "start_line": passage.start_line,
    }


def columns(*, text: bool = True) -> list[str]:
    """Return the columns of the formats with a row per hit."""
    return [name for name in COLUMNS if text or name != "text"]


def answer_rows(answer: Answer, *, text: bool = True) -> Iterator[dict[str, Any]]:
    """Yield a row per hit with its query; objects and lists are JSON strings."""
    of_query = {"query_id": answer.query.query_id, "query": answer.query.text}
    if answer.fields:
        of_query["query_fields"] = dumps(dict(answer.fields)).decode()
    for rank, hit in enumerate(answer.hits, start=1):
        shape = hit_json(hit, rank, text=text)
        shape["metadata"] = dumps(shape["metadata"]).decode()
        for name in {"retrieval", "duplicates"} & shape.keys():
            shape[name] = dumps(shape[name]).decode()
        shape |= of_query
        shape["truncated"], shape["stale"] = hit.truncated, hit.stale
        yield {name: shape.get(name) for name in columns(text=text)}


def dumps(value: object, *, indent: bool = False) -> bytes:
    """Return a value as JSON."""
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None)


def hits_schema(*, text: bool = True) -> pa.Schema:
    """Return the columns of a table with one row per hit, with their types."""
    import pyarrow as pa

    return pa.schema([(name, pa.type_for_alias(COLUMNS[name])) for name in columns(text=text)])


def answer_table(answer: Answer, *, text: bool = True) -> pa.Table:
    """Return a table with one row per hit."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(answer_rows(answer, text=text)), hits_schema(text=text))


def answer_html(answer: Answer) -> str:
    """Return an HTML table of the hits, as notebooks show it."""
    rows = [
        (
            str(rank),
            f"{hit.score:.4g}",
            hit.passage.title or hit.passage.doc_id,
            hit.passage.path or "",
            beginning(hit.passage.text),
        )
        for rank, hit in enumerate(answer.hits, start=1)
    ]
    head = "".join(f"<th>{name}</th>" for name in ("rank", "score", "title", "path", "text"))
    cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    caption = escape(f"{answer.query.text} ({answer.reranker})")
    return f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table>"


def beginning(text: str) -> str:
    """Return the beginning of a text, on one line."""
    flowing = " ".join(text.split())
    return flowing if len(flowing) <= SHOWN else flowing[:SHOWN].rstrip() + " …"
