"""What an agent is told of each tool: its purpose, its arguments and the shape of its answer."""

from __future__ import annotations

from typing import Any

MAX_HITS, MAX_TEXTS = 50, 200
# Characters of a hit's text: by default, and at most.
HIT_CHARACTERS, MAX_HIT_CHARACTERS = 600, 10_000
# Characters of a document in one answer.
FETCHED = 20_000
READ_ONLY = {
    "readOnlyHint": True,
    "destructiveHint": False,
    "idempotentHint": True,
    "openWorldHint": False,
}
UPDATES = {**READ_ONLY, "readOnlyHint": False}
TEMPLATE = {
    "uriTemplate": "ettin://{index}/{+doc_id}",
    "name": "document",
    "title": "Document",
    "description": "The text of a document of an index, by the id that search returns.",
    "mimeType": "text/plain",
}
Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer"}
_LINE: Schema = {"type": ["integer", "null"]}
_INDEX: Schema = {
    "type": "object",
    "properties": {"name": _TEXT, "generation": _TEXT},
    "required": ["name"],
}
_NOTE: Schema = {"type": "string", "description": "What was shortened or left out, and why."}


def _taking(required: list[str], **properties: Schema) -> Schema:
    """Return the schema of arguments; others are refused."""
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _answering(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


SEARCH: Schema = {
    "name": "search",
    "title": "Search documents",
    "description": (
        "Find the passages of the indexed documents that answer a query, best first. Ask in plain "
        'words. "a phrase" must occur, -word must not, field:value matches metadata. Read more of '
        "a result with fetch and its id."
    ),
    "inputSchema": _taking(
        ["query"],
        query={"type": "string", "minLength": 1, "description": "What to look for."},
        top_k={
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_HITS,
            "default": 10,
            "description": "Number of results.",
        },
        index=_described(_TEXT, "Name of the index, from status. By default the first."),
        filters={
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    {"type": ["string", "number", "boolean"]},
                    {"type": "array", "items": {"type": ["string", "number", "boolean"]}},
                ]
            },
            "description": "Search only documents whose metadata has this value, or one of these, "
            'as in {"port": ["west", "east"]}. The fields are in status.',
        },
        path=_described(_TEXT, 'Search only files whose path matches this glob, as in "*.md".'),
        by={
            "type": "string",
            "enum": ["document", "passage"],
            "default": "document",
            "description": "What a result is: a document by its best passage, or a passage.",
        },
        rerank={
            "type": "boolean",
            "default": True,
            "description": "Order by the reranker. false is faster and less exact.",
        },
        max_chars={
            "type": "integer",
            "minimum": 50,
            "maximum": MAX_HIT_CHARACTERS,
            "default": HIT_CHARACTERS,
            "description": "Characters of text for each result.",
        },
    ),
    "outputSchema": _answering(
        ["results", "index"],
        results={
            "type": "array",
            "items": _answering(
                ["id", "title", "url", "score", "text"],
                id=_described(_TEXT, "For fetch: document and lines."),
                title=_TEXT,
                url=_TEXT,
                path={"type": ["string", "null"]},
                start_line=_LINE,
                end_line=_LINE,
                page=_LINE,
                score=_described({"type": "number"}, "Comparable within this answer only."),
                probability=_described({"type": "number"}, "Of relevance, if it is calibrated."),
                text=_TEXT,
                cut=_described({"type": "boolean"}, "Whether the text is a part of the passage."),
                stale=_described({"type": "boolean"}, "Whether the file has changed since."),
            ),
        },
        searched=_described(_COUNT, "Passages in the index."),
        index=_INDEX,
        reranker=_TEXT,
        note=_NOTE,
    ),
    "annotations": {"title": "Search documents", **READ_ONLY},
}

FETCH: Schema = {
    "name": "fetch",
    "title": "Read a document",
    "description": (
        f"Read a document of the index, or lines of it, up to {FETCHED:,} characters at a time. "
        "For the rest, pass `next` of the answer as `lines`."
    ),
    "inputSchema": _taking(
        ["id"],
        id={
            "type": "string",
            "minLength": 1,
            "description": "An id from search, as guide/install.md:12-30; without :12-30 for the "
            "complete document.",
        },
        lines=_described(_TEXT, "Lines to read instead, as 12-60 or 12-, or `next`."),
    ),
    "outputSchema": _answering(
        ["id", "title", "text", "url", "metadata", "lines", "total_lines"],
        id=_TEXT,
        title=_TEXT,
        text=_TEXT,
        url=_TEXT,
        metadata={"type": "object"},
        lines={"type": "array", "items": _COUNT, "description": "First and last line."},
        total_lines=_COUNT,
        next=_described(_TEXT, "The lines that follow, for `lines`."),
        note=_NOTE,
    ),
    "annotations": {"title": "Read a document", **READ_ONLY},
}

RERANK: Schema = {
    "name": "rerank",
    "title": "Rerank texts",
    "description": (
        "Order texts by how well each answers a query, best first: lines that grep found, files, "
        "search results of another tool."
    ),
    "inputSchema": _taking(
        ["query", "texts"],
        query={"type": "string", "minLength": 1, "description": "What the texts should answer."},
        texts={
            "type": "array",
            "items": _TEXT,
            "minItems": 1,
            "maxItems": MAX_TEXTS,
            "description": f"The texts, at most {MAX_TEXTS}.",
        },
        top_n={
            "type": "integer",
            "minimum": 1,
            "description": "Number of results; all by default.",
        },
    ),
    "outputSchema": _answering(
        ["results"],
        results={
            "type": "array",
            "items": _answering(
                ["index", "score"],
                index=_described(_COUNT, "Position in texts, from 0."),
                score=_described({"type": "number"}, "Comparable within this answer only."),
            ),
        },
        model=_TEXT,
        note=_NOTE,
    ),
    "annotations": {"title": "Rerank texts", **READ_ONLY},
}

STATUS: Schema = {
    "name": "status",
    "title": "Indexes and models",
    "description": (
        "Show what is indexed: sources, counts, metadata fields with their most frequent values, "
        "files that have changed since, and the command that updates the index."
    ),
    "inputSchema": _taking([]),
    "outputSchema": _answering(
        ["indexes", "models"],
        indexes={"type": "array", "items": {"type": "object"}},
        models={"type": "array", "items": {"type": "object"}},
        note=_NOTE,
    ),
    "annotations": {"title": "Indexes and models", **READ_ONLY},
}

UPDATE: Schema = {
    "name": "update",
    "title": "Update the index",
    "description": "Index the files of the sources that are new or have changed.",
    "inputSchema": _taking(
        [],
        paths={
            "type": "array",
            "items": _TEXT,
            "description": "Files that have changed; each must be below a source of the index. "
            "All changes in the sources are indexed.",
        },
    ),
    "outputSchema": _answering(
        ["index", "report"],
        index=_TEXT,
        report={"type": "array", "items": _TEXT},
        note=_NOTE,
    ),
    "annotations": {"title": "Update the index", **UPDATES},
}
