"""The answer of a search -> the results that an agent reads, within the budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ettin_cli.serving.mcp.texts import (
    BUDGET,
    TITLE,
    TOKENS,
    address,
    excerpt,
    longest,
    marked,
    size,
)

# Room for the note, which is written last.
NOTE = 1000


def results(
    body: Mapping[str, Any],
    characters: int,
    searched: int,
    shown: Callable[[str, str, str], str],
    *,
    plain: bool,
) -> dict[str, Any]:
    """Return the hits of an answer of `/v1/search` as results, shorter if they are too long.

    Args:
        characters: Characters of each text.
        searched: Number of passages of the index.
        shown: Returns the address of a document, given the index, its id and its page.
        plain: Whether ids need not have the index.
    """
    index, hits = body["index"], body["hits"]

    def build(hits: Sequence[Mapping[str, Any]], characters: int) -> dict[str, Any]:
        return {
            "results": [
                {
                    "id": hit["id"] if plain else address(index["name"], hit["id"]),
                    **_result(hit, characters, shown(index["name"], hit["doc_id"], hit["url"])),
                }
                for hit in hits
            ],
            "searched": searched,
            "index": index,
            "reranker": body["reranker"],
        }

    room = BUDGET - NOTE
    answer, kept = longest(lambda limit: build(hits, limit), characters, room)
    notes = [str(warning) for warning in body.get("warnings") or []]
    if kept < characters:
        notes.append(f"texts are cut at {kept:,} characters, to stay below {TOKENS:,} tokens")
    if size(answer) > room:
        answer, count = longest(lambda count: build(hits[:count], 0), len(hits), room)
        notes.append(f"{len(hits) - count:,} of {len(hits):,} results are left out")
    if not hits:
        notes.append("nothing matches")
    return {**answer, **({"note": "; ".join(notes)[:NOTE]} if notes else {})}


def _result(hit: Mapping[str, Any], characters: int, url: str) -> dict[str, Any]:
    text = hit["text"]
    spans = [(span["start"], span["end"]) for span in hit.get("highlights") or []]
    kept = excerpt(text, characters, spans) if characters else ""
    return {
        "title": (hit["title"] or hit["doc_id"])[:TITLE],
        "url": url,
        "path": hit["path"],
        "start_line": hit["start_line"],
        "end_line": hit["end_line"],
        **({"page": hit["page"]} if hit.get("page") else {}),
        "score": hit["score"],
        **({"probability": hit["probability"]} if "probability" in hit else {}),
        "text": marked(kept),
        **({"cut": True} if kept != text else {}),
        **({"stale": True} if hit.get("stale") else {}),
    }
