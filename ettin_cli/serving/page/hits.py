"""Hits, and what is said of them, as HTML. page.js makes the same elements. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ettin_cli.serving.page.asked import Asked, editor_url, hit_url
from ettin_cli.serving.page.words import (
    DASH,
    counted,
    duration,
    excerpt,
    percent,
    plain,
    score_text,
    where,
)
from ettin_cli.text import Markup, element, exact

NO_RERANKER = "none"
RETRIEVERS = {"dense": "meaning", "multi-vector": "meaning", "bm25": "words"}


def hit_list(
    answer: Mapping[str, Any], asked: Asked, editor: str = "", id_: str | None = "hits"
) -> Markup:
    """Return the hits of an answer, best first."""
    items = [hit_item(hit, asked, answer, editor) for hit in answer["hits"]]
    return element("ol", *items, id=id_, class_="hits")


def hit_item(
    hit: Mapping[str, Any], asked: Asked, answer: Mapping[str, Any], editor: str = ""
) -> Markup:
    """Return a hit: its rank, how it moved, title, place, text and scores."""
    reranked = answer["reranker"] != NO_RERANKER
    link = element("a", title_of(hit), href=exact(hit_url(hit, asked, answer)))
    rank = [element("b", str(hit["rank"])), *(_moved(hit) if reranked else [])]
    return element(
        "li",
        element("div", *rank, class_="rank"),
        element("h2", link, dir="auto"),
        _place(hit, editor),
        element("p", _text(hit), class_="text", dir="auto"),
        element("p", *_why(hit, reranked=reranked), class_="why"),
        class_="hit",
        data_key=str(hit["passage_id"]),
    )


def title_of(hit: Mapping[str, Any]) -> str:
    """Return the title of a hit's document, and the headings above its passage."""
    title = plain(str(hit.get("title") or "")) or str(hit["doc_id"])
    headings = [plain(str(one)) for one in hit.get("headings") or ()]
    return " \u203a ".join([title, *(one for one in headings if one and one != title)])


def _moved(hit: Mapping[str, Any]) -> list[Markup]:
    moved = hit["retrieval_rank"] - hit["rank"]
    sign, way = ("\u25b2", "up") if moved > 0 else ("\u25bc", "down") if moved else ("=", "same")
    shown = f"{sign}{abs(moved)}" if moved else sign
    spoken = f" {way} {abs(moved)}" if moved else " unmoved"
    return [
        element("span", shown, class_=f"moved {way}", aria_hidden="true"),
        element("span", spoken, class_="hidden"),
    ]


def _place(hit: Mapping[str, Any], editor: str) -> Markup:
    badges = []
    if hit.get("page") is not None:
        badges.append(element("span", f"page {hit['page']}", class_="badge"))
    if hit.get("stale"):
        badges.append(
            element("span", "stale", class_="badge warn", title="The file has changed since.")
        )
    if hit.get("truncated"):
        badges.append(
            element("span", "cut", class_="badge warn", title="The reranker read its beginning.")
        )
    if hit.get("duplicates"):
        badges.append(element("span", f"{len(hit['duplicates'])} same", class_="badge"))
    if editor and hit.get("path"):
        address = exact(editor_url(editor, hit["path"], hit.get("start_line") or 1))
        badges.append(element("a", "edit", href=address, class_="editor"))
    return element("p", element("bdi", where(hit)), *badges, class_="where")


def _text(hit: Mapping[str, Any]) -> Markup:
    spans = [(one["start"], one["end"]) for one in hit.get("highlights") or ()]
    return excerpt(hit.get("text") or "", spans)


def _why(hit: Mapping[str, Any], *, reranked: bool) -> list[str]:
    """Return a hit's score, and where retrieval found it."""
    said = [f"score {score_text(hit['score'])}"]
    if hit.get("probability") is not None:
        said.append(f"{percent(hit['probability'])} likely relevant")
    if reranked:
        said.append(f"retrieved {ordinal(hit['retrieval_rank'])}")
    for name, place in (hit.get("retrieval") or {}).items():
        rank = DASH if place["rank"] is None else ordinal(place["rank"])
        said.append(f"{RETRIEVERS.get(name, name)} {rank}")
    return [" \u00b7 ".join(said)]


def ordinal(number: int) -> str:
    """Return a number as a place in an order.

    >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{suffix or 'th'}"


def status_text(answer: Mapping[str, Any]) -> str:
    """Return how many hits there are, how they are ordered, and how long it took."""
    hits: Sequence[Any] = answer["hits"]
    reranked = answer["reranker"] != NO_RERANKER
    seconds = answer.get("seconds") or {}
    retrieving = seconds.get("embed", 0) + seconds.get("retrieve", 0)
    said = [counted(len(hits), "result")]
    if not hits:
        return said[0]
    if reranked:
        said.append(f"reranked by {plain(short_name(answer['reranker']))}")
    if "retrieve" in seconds:
        said.append(f"{duration(retrieving)} to retrieve")
    if reranked and "rerank" in seconds:
        said.append(f"{duration(seconds['rerank'])} to rerank")
    return ", ".join(said)


def short_name(model: str) -> str:
    """Return the name of a model without that of its owner.

    >>> short_name("cross-encoder/ettin-reranker-32m-v1")
    'ettin-reranker-32m-v1'
    """
    return model.rpartition("/")[2] or model
