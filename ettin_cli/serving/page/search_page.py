"""The page at `/`: the search form, hits, and what to do where there are none. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ettin_cli.serving.page.asked import STEPS, Asked
from ettin_cli.serving.page.hits import hit_list, status_text
from ettin_cli.serving.page.layout import document, header
from ettin_cli.serving.page.side import chips, facets, index_states, settings
from ettin_cli.serving.page.words import counted, plain
from ettin_cli.text import Markup, element, exact, joined, void

UNRANKED = "No reranker is loaded: the results are in the order of retrieval. Load one with "
LOAD = "ettin serve -i INDEX -r 32m"


@dataclass(frozen=True, slots=True)
class View:
    """What the search page shows.

    Args:
        indexes: As `/v1/indexes` lists them.
        rerankers: The names of those that are served, the default first.
        now: The time from which the age of an index is counted.
        answer: As `/v1/search` gives it; None without a query, or with a problem.
        problem: Why there is no answer.
        near: The answer without filters, where there are no hits with them.
        examples: Queries to begin with.
        editor: The address that opens a file in an editor; empty without one.
    """

    asked: Asked
    indexes: Sequence[Mapping[str, Any]]
    rerankers: Sequence[str]
    now: datetime
    answer: Mapping[str, Any] | None = None
    problem: str = ""
    near: Mapping[str, Any] | None = None
    examples: Sequence[str] = ()
    editor: str = ""


def search_page(view: View) -> Markup:
    """Return the search page."""
    asked, query = view.asked, view.asked.value("q")
    beside = element(
        "div",
        facets(view.answer, asked),
        settings(asked, view.indexes, view.rerankers),
        index_states(view.indexes, view.now),
        id="beside",
    )
    side = element("aside", beside, aria_label="Filters and settings")
    main = element(
        "main",
        element("h1", f"Results for {plain(query)}" if query else "Search", class_="hidden"),
        element("p", _status(view), id="status", class_="status", role="status"),
        chips(asked),
        element("div", *_notes(view), id="notes"),
        hit_list(view.answer or {"hits": []}, asked, view.editor),
        element("div", *_after(view), id="after"),
        id="results",
        tabindex="-1",
        data_editor=exact(view.editor) if view.editor else None,
    )
    # Opens the side where there is no room beside the hits; works without a script.
    toggle = joined(
        [
            void("input", type="checkbox", id="side"),
            element("label", "Filters and settings", for_="side"),
        ]
    )
    body = element("div", toggle, side, main, class_="columns", id="columns")
    return document(query, header(asked, whole_form=True), body)


def _status(view: View) -> str:
    if view.answer is not None:
        return status_text(view.answer)
    if view.problem or view.asked.value("q"):
        return ""
    documents = sum(index["documents"] for index in view.indexes)
    return f"{counted(documents, 'document')} to search" if view.indexes else ""


def _notes(view: View) -> list[Markup]:
    """Return what to know of an answer."""
    said = [element("p", view.problem, class_="problem", role="alert")] if view.problem else []
    answer = view.answer or {}
    said += [element("p", plain(str(one)), class_="warn") for one in answer.get("warnings") or ()]
    if not view.rerankers and view.indexes:
        said.append(element("p", UNRANKED, element("code", LOAD), ".", class_="quiet"))
    return said


def _after(view: View) -> list[Markup]:
    """Return what stands below the hits, or in their place."""
    if not view.indexes:
        command = element("code", "ettin serve -i INDEX")
        return [element("p", "This server has no index to search. Start it with ", command, ".")]
    if not view.asked.value("q"):
        return _home(view)
    if view.answer is None:
        return []
    if not view.answer["hits"]:
        return _nothing(view)
    more = next((step for step in STEPS if step > view.asked.top_k), None)
    if more is None or len(view.answer["hits"]) < view.asked.top_k:
        return []
    address = view.asked.having("top_k", str(more)).url()
    return [element("p", element("a", "More results", href=address, class_="more"))]


def _home(view: View) -> list[Markup]:
    """Return queries to begin with."""
    links = [
        element("li", element("a", plain(one), href=view.asked.having("q", one).url()), dir="auto")
        for one in view.examples
    ]
    if not links:
        return []
    return [element("section", element("h2", "Try"), element("ul", *links), class_="try")]


def _nothing(view: View) -> list[Markup]:
    """Return what to loosen where nothing was found, and what would be found then."""
    asked, query = view.asked, view.asked.value("q")
    options = [
        (f"without {field}: {value}", asked.without(filtering=text))
        for text, field, value in asked.filters
    ]
    if asked.value("path"):
        options.append((f"in all paths, not only {asked.value('path')}", asked.without("path")))
    if asked.value("retriever"):
        options.append(("by meaning and by words", asked.without("retriever")))
    if '"' in query:
        options.append(("without the quotation marks", asked.having("q", query.replace('"', ""))))
    links = [
        element("li", element("a", plain(text), href=state.without("top_k").url()))
        for text, state in options
    ]
    parts = [element("p", "Nothing was found.", class_="none")]
    if links:
        parts.append(element("section", element("h2", "Search"), element("ul", *links)))
    else:
        parts.append(element("p", "Try other words, or fewer."))
    if view.near and view.near["hits"]:
        found = hit_list(view.near, asked.without("f", "path"), view.editor, None)
        parts.append(element("section", element("h2", "Found without the filters"), found))
    return parts
