"""The frame of both pages: head, search form, help. Pure."""

from __future__ import annotations

from ettin_cli.serving.page.asked import FILTER, Asked
from ettin_cli.serving.page.side import FORM
from ettin_cli.serving.page.words import plain
from ettin_cli.text import Markup, element, exact, joined, void

STYLE_PATH, SCRIPT_PATH = "/page.css", "/page.js"
TITLE_LENGTH = 80
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect "
    "width='16' height='16' rx='4' fill='%230a5fa5'/%3E%3Cpath d='M4 5h8M4 8h6M4 11h3' "
    "stroke='white' stroke-width='1.6' stroke-linecap='round'/%3E%3C/svg%3E"
)
KEYS = (
    ("/ or Ctrl K", "go to the search box"),
    ("\u2193 \u2191 or j k", "next and previous result"),
    ("Enter", "open the result"),
    ("o", "open its file in the editor, if one is set up"),
    ("r", "show the better order that has arrived"),
    ("[ ] or p n", "previous and next result in a document"),
    ("Esc", "stop a search, or go back to the results"),
    ("?", "this help"),
)
SYNTAX = (
    ('"spare boat"', "passages with this phrase"),
    ("ferry -cargo", "without this word"),
    ("kind:report", "whose field has this value"),
)


def document(title: str, *body: str, class_: str = "") -> Markup:
    """Return an HTML document with the page's style sheet and script."""
    name = plain(title)
    name = name if len(name) <= TITLE_LENGTH else name[: TITLE_LENGTH - 1] + "\u2026"
    head = [
        void("meta", charset="utf-8"),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", name="color-scheme", content="light dark"),
        element("title", f"{name} \u2013 ettin" if name else "ettin"),
        void("link", rel="icon", href=ICON),
        void("link", rel="stylesheet", href=STYLE_PATH),
        # Before the body, so that the chosen theme is there when the page is first drawn.
        element("script", src=SCRIPT_PATH),
    ]
    content = element("body", *body, _help(), class_=class_ or None)
    page = element("html", element("head", *head), content, lang="en")
    return Markup(f"<!doctype html>\n{page}\n")


def header(asked: Asked, *, whole_form: bool) -> Markup:
    """Return the top of a page with the search box.

    Args:
        whole_form: Whether the form has fields of its own for the other settings of the search.
    """
    query = asked.value("q")
    box = void(
        "input",
        id="q",
        name="q",
        type="search",
        value=exact(query),
        placeholder="Search",
        autocomplete="off",
        autocapitalize="off",
        spellcheck="false",
        enterkeyhint="search",
    )
    kept = [
        void("input", type="hidden", name=name, value=exact(value))
        for name, value in asked.pairs
        if not whole_form and name not in ("q", "top_k", FILTER)
    ]
    form = element(
        "form",
        element("label", "Search", for_="q", class_="hidden"),
        box,
        *kept,
        element("button", "Search"),
        id=FORM,
        role="search",
        action="/",
    )
    theme = element("button", "Theme", type="button", id="theme", class_="js plain")
    help_ = element("a", "Help", href="#help", class_="plain", id="help-link")
    home = element("a", "ettin", href="/", class_="home")
    bar = element("div", id="bar", class_="bar", aria_hidden="true")
    skip = element("a", "Skip to the results", href="#results", class_="skip")
    return joined([skip, element("header", home, form, element("nav", theme, help_), bar)])


def _help() -> Markup:
    # A link to it opens it where there is no script: see :target in page.css.
    return element(
        "dialog",
        element("h2", "Keys", id="help-title"),
        _pairs(KEYS, "kbd"),
        element("h2", "In a query"),
        _pairs(SYNTAX, "code"),
        element("form", element("button", "Close"), method="dialog", class_="js"),
        element("p", element("a", "Close", href="#"), class_="nojs"),
        id="help",
        aria_labelledby="help-title",
    )


def _pairs(pairs: tuple[tuple[str, str], ...], tag: str) -> Markup:
    rows = [
        part
        for key, text in pairs
        for part in (element("dt", element(tag, key)), element("dd", text))
    ]
    return element("dl", *rows)
