"""The columns of a table of hits, and how values are written in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
# Characters of a text in a table.
SHOWN = 200


def columns(*, text: bool = True) -> list[str]:
    """Return the columns of the formats with a row per hit."""
    return [name for name in COLUMNS if text or name != "text"]


def hits_schema(*, text: bool = True) -> pa.Schema:
    """Return the columns of a table with one row per hit, with their types."""
    import pyarrow as pa

    return pa.schema([(name, pa.type_for_alias(COLUMNS[name])) for name in columns(text=text)])


def dumps(value: object, *, indent: bool = False) -> bytes:
    """Return a value as JSON."""
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None)


def beginning(text: str) -> str:
    """Return the beginning of a text, on one line."""
    flowing = " ".join(text.split())
    return flowing if len(flowing) <= SHOWN else flowing[:SHOWN].rstrip() + " …"
