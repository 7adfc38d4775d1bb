"""Answers of a server, to show in the search page."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from ettin_cli.serving.page.asked import Asked
from ettin_cli.serving.page.search_page import View

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOSTILE = [
    "<script>document.title = 'run'</script>",
    "<img src=x onerror=\"document.title = 'run'\">",
    "\"><a href='javascript:alert(1)'>x</a>",
    "</p></li></title></textarea><style>* { display: none }</style>",
    "\u202egnp.exe\u202c \u200frtl\u2066",
    "{{7*7}} ${7*7} &lt;b&gt; \x00\x1b[31m",
]
INDEX = {
    "name": "notes",
    "generation": "000001-abc",
    "documents": 39,
    "passages": 1282,
    "updated": "2026-03-01T09:30:00+00:00",
    "stale": 0,
    "watch": None,
}


def hit(rank: int, passage_id: int, retrieved: int, **fields: Any) -> dict[str, Any]:
    """Return a hit."""
    doc_id = fields.pop("doc_id", f"d{passage_id}.md")
    target = {"index": "notes", "id": doc_id, "passage": passage_id}
    return {
        "rank": rank,
        "doc_id": doc_id,
        "passage_id": passage_id,
        "score": 3.25 - rank,
        "retrieval_rank": retrieved,
        "retrieval_score": 9.0 - retrieved,
        "title": f"Title {passage_id}",
        "path": doc_id,
        "start_line": 10 * rank,
        "end_line": 10 * rank + 4,
        "text": f"Passage {passage_id} about ferries.",
        "highlights": [{"start": 16, "end": 23}] if passage_id < 10 else [],
        "metadata": {},
        "url": f"/read?{urlencode(target)}",
        **fields,
    }


def answer(*hits: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the answer of `/v1/search`, reranked."""
    return {
        "query": "ferry",
        "reranker": "cross-encoder/ettin-reranker-32m-v1",
        "hits": list(hits),
        "seconds": {"embed": 0.011, "retrieve": 0.03, "rerank": 0.38, "total": 0.43},
        "index": {"name": "notes", "generation": "000001-abc"},
        "facets": {},
        **fields,
    }


def varied() -> dict[str, Any]:
    """Return an answer whose hits have everything that a hit can have, and hostile text."""
    long_text = "\n".join(f"Line {at} of a text that has no highlight." for at in range(40))
    end = len(long_text) + 1
    flowing = "A line that is long enough to flow into the next one of a\nsentence.\n\n\nEnd."
    return answer(
        hit(1, 7, 4, probability=0.874, headings=["Title 7", "Fares"], page=12),
        hit(2, 2, 1, stale=True, truncated=True, duplicates=[{"doc_id": "x"}, {"doc_id": "y"}]),
        hit(3, 3, 3, score=-0.25, retrieval={"dense": {"rank": 2, "score": 0.5}}),
        hit(
            4,
            14,
            12,
            text=f"{long_text}\nThe \U0001f6a2 ferry\tsails.\n{long_text}",
            highlights=[{"start": end + 6, "end": end + 11}, {"start": end + 12, "end": end + 17}],
            retrieval={"dense": {"rank": None, "score": 0.1}, "bm25": {"rank": 21, "score": 0.5}},
        ),
        hit(5, 15, 11, text=flowing, start_line=None, end_line=None, score=-1e9),
        hit(6, 16, 112, path=None, title=None, probability=0.9999, end_line=60),
        *(
            hit(at, 20 + at, at, title=text, text=text, doc_id=text, path=text, headings=[text])
            for at, text in enumerate(HOSTILE, start=7)
        ),
        facets={
            "port": [{"value": f"port {at}", "count": 12 - at} for at in range(11)],
            "dc:type": [{"value": HOSTILE[0], "count": 3}, {"value": "map", "count": 1}],
            "unique": [{"value": "a", "count": 1}, {"value": "b", "count": 1}],
            "status": [{"value": "draft", "count": 4}],
        },
        warnings=["1 of 12 documents were cut at 7,999 tokens"],
    )


def view(*pairs: tuple[str, str], **fields: Any) -> View:
    """Return what the search page shows for a state."""
    plain = View(Asked.of(pairs), [INDEX], ["32m"], NOW)
    return dataclasses.replace(plain, **fields)
