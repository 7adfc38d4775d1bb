"""The answer to a search -> JSON, with what a page needs to show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from ettin_cli.records import Answer, Passage
from ettin_cli.serving.served_index import listed, values_of
from ettin_cli.text import query_words, spans


def search_answer(
    answer: Answer, index: str, generation: str, facets: Sequence[str] | None
) -> dict[str, Any]:
    """Return an answer as JSON: that of `ettin search -f json`, with links and highlights.

    Args:
        index: Its name.
        facets: Metadata fields whose values are counted in the hits; None: all.
    """
    shown = answer.to_dict()
    words = query_words(answer.wanted)
    for hit, body in zip(answer.hits, shown["hits"], strict=True):
        passage = hit.passage
        target = {"index": index, "id": passage.doc_id, "passage": hit.passage_id}
        body["id"] = _hit_id(passage, hit.passage_id)
        body["url"] = f"/read?{urlencode(target)}"
        body["highlights"] = [
            {"start": start, "end": end} for start, end in spans(passage.text, words)
        ]
    return {
        **shown,
        "index": {"name": index, "generation": generation},
        "facets": _facets(answer, facets),
    }


def _hit_id(passage: Passage, passage_id: int) -> str:
    """Return an id that leads to a passage: its document with the lines, else the passage."""
    first, last = passage.start_line, passage.end_line
    if first and last and passage.text.count("\n") <= last - first and last > first:
        return f"{passage.doc_id}:{first}-{last}"
    return f"{passage.doc_id}#{passage_id}"


def _facets(answer: Answer, fields: Sequence[str] | None) -> dict[str, Any]:
    """Return the values of metadata fields in the hits, with their counts."""
    counts: dict[str, Counter[str]] = {}
    for hit in answer.hits:
        for name, value in hit.passage.metadata.items():
            if fields is None or name in fields:
                counts.setdefault(name, Counter()).update(values_of(value))
    return {name: listed(values) for name, values in counts.items()}
