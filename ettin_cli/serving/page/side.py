"""What stands beside the hits: filters, settings and the state of the indexes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ettin_cli.serving.page.asked import FILTER, Asked, filter_of
from ettin_cli.serving.page.hits import NO_RERANKER, short_name
from ettin_cli.serving.page.words import age, counted, plain
from ettin_cli.text import Markup, element, exact, void

SHOWN_VALUES, SHOWN_FIELDS = 8, 8
FORM = "search"
GROUPS = {"": "documents", "passage": "passages"}
RETRIEVERS = {
    "": "automatic",
    "hybrid": "meaning and words",
    "dense": "meaning",
    "bm25": "words",
}


def facets(answer: Mapping[str, Any] | None, asked: Asked) -> Markup:
    """Return the values of the hits' fields with their counts, as links that filter by them."""
    found = (answer or {}).get("facets") or {}
    chosen = {field for _, field, _ in asked.filters}
    telling = [
        (field, values)
        for field, values in found.items()
        if field in chosen or (len(values) > 1 and values[0]["count"] > 1)
    ]
    return element("div", *(_facet(*one, asked) for one in telling[:SHOWN_FIELDS]), id="facets")


def _facet(field: str, values: Sequence[Mapping[str, Any]], asked: Asked) -> Markup:
    items = [_value(field, str(one["value"]), one["count"], asked) for one in values]
    more = items[SHOWN_VALUES:]
    hidden = element("ul", *more, class_="values")
    rest = element("details", element("summary", f"{len(more)} more"), hidden) if more else ""
    return element(
        "section",
        element("h2", plain(field)),
        element("ul", *items[:SHOWN_VALUES], class_="values"),
        rest,
    )


def _value(field: str, value: str, count: int, asked: Asked) -> Markup:
    text = filter_of(field, value)
    chosen = (FILTER, text) in asked.pairs
    state = asked.without(filtering=text) if chosen else asked.having(FILTER, text)
    return element(
        "li",
        element(
            "a",
            element("bdi", plain(value) or "(empty)"),
            element("span", f"{count:,}", class_="count"),
            href=state.without("top_k").url(),
            aria_current="true" if chosen else None,
        ),
    )


def chips(asked: Asked) -> Markup:
    """Return what narrows the search, each as a link that takes it away."""
    items = [
        _chip(f"{field}: {value}", asked.without(filtering=text))
        for text, field, value in asked.filters
    ]
    if path := asked.value("path"):
        items.append(_chip(f"path: {path}", asked.without("path")))
    return element("ul", *items, id="chips", class_="chips", aria_label="Filters in use")


def _chip(text: str, without: Asked) -> Markup:
    cross = element("span", "\u00d7", aria_hidden="true")
    shown = [element("bdi", plain(text)), " ", cross]
    label = f"Remove the filter {plain(text)}"
    return element("li", element("a", *shown, href=without.url(), aria_label=label))


def settings(
    asked: Asked, indexes: Sequence[Mapping[str, Any]], rerankers: Sequence[str]
) -> Markup:
    """Return the fields that say how to search; they belong to the search form."""
    names = {str(one["name"]): str(one["name"]) for one in indexes}
    models = {"": short_name(rerankers[0])} if rerankers else {"": "none is loaded"}
    models |= {name: short_name(name) for name in rerankers[1:]}
    fields = [
        *([_choice("Index", "index", names, asked)] if len(names) > 1 else []),
        _choice(
            "Reranker",
            "reranker",
            {**models, **({NO_RERANKER: "none"} if rerankers else {})},
            asked,
        ),
        _choice("Find by", "retriever", RETRIEVERS, asked),
        _choice("Show", "by", GROUPS, asked),
        _field("Candidates", "candidates", asked, type="number", min="1", placeholder="100"),
        _field("Path", "path", asked, placeholder="docs/**", spellcheck="false"),
    ]
    kept = [
        void("input", type="hidden", name=FILTER, value=exact(text), form=FORM)
        for text, _, _ in asked.filters
    ]
    button = element("button", "Apply", form=FORM, class_="nojs")
    return element("section", element("h2", "Settings"), *fields, *kept, button, class_="settings")


def _choice(label: str, name: str, values: Mapping[str, str], asked: Asked) -> Markup:
    given = asked.value(name)
    shown = dict(values) if given in values or not given else {**values, given: given}
    options = [
        element("option", plain(text), value=exact(value), selected="" if value == given else None)
        for value, text in shown.items()
    ]
    choice = element("select", *options, name=name, form=FORM)
    return element("label", element("span", label), choice)


def _field(label: str, name: str, asked: Asked, **attributes: str) -> Markup:
    value = exact(asked.value(name))
    box = void("input", name=name, value=value, form=FORM, autocomplete="off", **attributes)
    return element("label", element("span", label), box)


def index_states(indexes: Sequence[Mapping[str, Any]], now: datetime) -> Markup:
    """Return what is indexed, how old it is, and whether its last update failed."""
    return element("section", element("h2", "Indexes"), *(_index(one, now) for one in indexes))


def _index(index: Mapping[str, Any], now: datetime) -> Markup:
    updated = str(index.get("updated") or "")
    counts = f"{counted(index['documents'], 'document')}, {counted(index['passages'], 'passage')}"
    said = [element("h3", str(index["name"]))]
    if problem := index.get("error"):
        said.append(element("p", plain(str(problem)), class_="warn"))
        return element("div", *said, class_="index")
    said.append(element("p", counts))
    if updated:
        time = element("time", age(updated, now), datetime=updated, title=updated)
        said.append(element("p", "updated ", time))
    watch = index.get("watch") or {}
    if watch.get("failed"):
        said.append(element("p", f"The last update failed: {watch['failed']}", class_="warn"))
    elif watch:
        said.append(element("p", "updating" if watch.get("updating") else "kept up to date"))
    if stale := index.get("stale"):
        changed = f"{counted(stale, 'file has', 'files have')} changed since."
        said.append(element("p", changed, class_="warn"))
    return element("div", *said, class_="index")
