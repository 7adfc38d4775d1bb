"""The page at `/read`: a document as indexed, with a passage marked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ettin_cli.index import DocumentText
from ettin_cli.records import Passage
from ettin_cli.serving.page.asked import Asked, editor_url
from ettin_cli.serving.page.layout import document, header
from ettin_cli.serving.page.words import marked, plain, prose, where
from ettin_cli.text import Markup, element, exact, query_words, spans

WINDOW = 2000
# Words of a passage by which similar ones are searched.
SIMILAR = 40
ORIGINAL_PATH = "/read/original"
# Lines shown before a passage that is far down.
ABOVE = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reader shows.

    Args:
        document: The lines of the document.
        passage: The one that is marked; the first, if none is.
        lines: The first and last line that are marked.
        passage_id: Of the hit from which the reader was opened; None without one.
        begin: The first line to show; None: so that the passage is shown.
        hits: The passages of the search's hits, in their order.
        path: Relative to the working directory of the server.
        code: Whether the document is source code.
        editor: The address that opens its file in an editor; empty without one.
        searched: The query without its constraints, whose words are marked.
    """

    document: DocumentText
    passage: Passage
    index: str
    asked: Asked
    lines: tuple[int, int] | None = None
    passage_id: int | None = None
    begin: int | None = None
    hits: Sequence[int] = ()
    generation: str = ""
    path: str | None = None
    code: bool = False
    editor: str = ""
    searched: str = ""

    @property
    def shown(self) -> tuple[int, int]:
        """The first and the last line that are shown."""
        return window(self.lines, self.document.begin, self.document.end, self.begin)


def window(
    lines: tuple[int, int] | None, begin: int, end: int, wanted: int | None = None
) -> tuple[int, int]:
    """Return the first and last line to show of those from `begin` to `end`.

    >>> window((30, 40), 1, 10_000), window((5000, 5010), 1, 5200), window(None, 3, 9, 1)
    ((1, 2000), (4900, 5200), (3, 9))
    """
    first = begin if wanted is None else wanted
    if wanted is None and lines and lines[1] >= begin + WINDOW:
        first = lines[0] - ABOVE
    first = max(begin, min(first, end))
    return first, min(end, first + WINDOW - 1)


def reader_page(reading: Reading) -> Markup:
    """Return the reader."""
    passage = reading.passage
    title = plain(passage.title) or passage.doc_id
    side = element(
        "aside", _bar(reading), _place(reading), _metadata(passage.metadata), aria_label="Document"
    )
    main = element(
        "main",
        element("h1", title, dir="auto"),
        _parts(reading, above=True),
        _lines(reading),
        _parts(reading, above=False),
        id="results",
        tabindex="-1",
    )
    columns = element("div", side, main, class_="columns")
    return document(title, header(reading.asked, whole_form=False), columns, class_="reader")


def missing_page(problem: str, nearest: Sequence[tuple[str, str]], asked: Asked) -> Markup:
    """Return the page for a document that is not there.

    Args:
        nearest: The ids and addresses of documents with similar ids.
    """
    links = [element("li", element("a", plain(name), href=exact(url))) for name, url in nearest]
    main = element(
        "main",
        element("h1", "This cannot be shown"),
        element("p", plain(problem), class_="problem"),
        element("section", element("h2", "Similar names"), element("ul", *links)) if links else "",
        element("p", element("a", "Back to the search", href=exact(asked.url()), rel="up")),
        id="results",
        tabindex="-1",
    )
    main = element("div", main, class_="columns")
    return document("This cannot be shown", header(asked, whole_form=False), main, class_="reader")


def _bar(reading: Reading) -> Markup:
    """Return the ways back, and to the hits before and after."""
    asked, hits = reading.asked, reading.hits
    back = "Results" if asked.value("q") else "Search"
    links = [element("a", f"\u2190 {back}", href=exact(asked.url()), rel="up")]
    if reading.passage_id in hits:
        at = hits.index(reading.passage_id)
        links.append(element("span", f"{at + 1} of {len(hits)}", class_="quiet"))
        if at:
            links.append(_neighbour("Previous", "prev", hits[at - 1], reading))
        if at + 1 < len(hits):
            links.append(_neighbour("Next", "next", hits[at + 1], reading))
    return element("nav", *links, class_="reading", aria_label="Results")


def _neighbour(text: str, rel: str, passage_id: int, reading: Reading) -> Markup:
    place = [("index", reading.index), ("passage", str(passage_id))]
    return element("a", text, href=exact(_address(place, reading) + "#passage"), rel=rel)


def _address(place: list[tuple[str, str]], reading: Reading) -> str:
    state = [pair for pair in reading.asked.pairs if pair[0] != "index"]
    hits = ".".join(map(str, reading.hits))
    rest = [("hits", hits), ("in", reading.generation)] if hits else []
    return f"/read?{urlencode([*place, *state, *rest])}"


def _place(reading: Reading) -> Markup:
    passage, path = reading.passage, reading.path
    first, last = reading.lines or (None, None)
    if reading.passage_id is not None:
        # Of a page of the web, the text has other lines than the file.
        first, last = passage.start_line, passage.end_line
    # What has no lines in its file, such as a PDF, has only those of the text as indexed.
    numbered = first if passage.start_line else None
    shown = {"doc_id": passage.doc_id, "path": path, "start_line": numbered, "end_line": last}
    parts = [element("bdi", where(shown), id="citation")]
    if passage.page is not None and reading.passage_id is not None:
        parts.append(element("span", f"page {passage.page}", class_="badge"))
    parts.append(element("button", "Copy citation", type="button", id="copy", class_="js plain"))
    if reading.editor and path:
        address = exact(editor_url(reading.editor, path, numbered or 1))
        parts.append(element("a", "Open in editor", href=address, class_="editor plain"))
    document_ = [("index", reading.index), ("id", passage.doc_id)]
    if path:
        address = exact(f"{ORIGINAL_PATH}?{urlencode(document_)}")
        parts.append(element("a", "Download the file", href=address, class_="plain"))
    similar = exact(similar_url(reading))
    parts.append(element("a", "Similar passages", href=similar, class_="plain"))
    return element("div", *(element("p", part) for part in parts), class_="where")


def similar_url(reading: Reading) -> str:
    """Return the address of a search by meaning for the words of the passage."""
    words = " ".join(re.findall(r"\w+", reading.passage.text)[:SIMILAR])
    asked = Asked.of([("index", reading.index), ("q", words), ("retriever", "dense")])
    return asked.url()


def _metadata(fields: Mapping[str, Any]) -> Markup:
    rows = [
        part
        for name, value in fields.items()
        if name != "title"
        for part in (
            element("dt", plain(str(name))),
            element("dd", plain(str(value)), dir="auto"),
        )
    ]
    if not rows:
        return Markup()
    return element("details", element("summary", "Fields"), element("dl", *rows), class_="fields")


def _parts(reading: Reading, *, above: bool) -> Markup:
    """Return the link to the lines before or after those that are shown."""
    first, last = reading.shown
    begin, end = reading.document.begin, reading.document.end
    if above and first > begin:
        from_, to, word = max(begin, first - WINDOW), first - 1, "Earlier"
    elif not above and last < end:
        from_, to, word = last + 1, min(end, last + WINDOW), "Later"
    else:
        return Markup()
    place = [("index", reading.index), ("id", reading.passage.doc_id), ("from", str(from_))]
    if reading.passage_id is not None:
        place.append(("passage", str(reading.passage_id)))
    elif reading.lines:
        place.append(("lines", f"{reading.lines[0]}-{reading.lines[1]}"))
    text = f"{word} lines, {from_:,} to {to:,} of {end:,}"
    link = element("a", text, href=exact(_address(place, reading)))
    return element("p", link, class_="lines-link")


def _lines(reading: Reading) -> Markup:
    """Return the lines, numbered; those of the passage are marked, and the query's words in it."""
    wanted = query_words(reading.searched) if reading.searched else set()
    first, last = reading.lines or (0, -1)
    begin, end = reading.shown
    items = []
    for number, text in enumerate(reading.document.between(begin, end).split("\n"), start=begin):
        inside = first <= number <= last
        items.append(
            element(
                "li",
                marked(text, spans(text, wanted)) if inside and wanted else prose(text),
                id="passage" if number == max(first, begin) and inside else None,
                class_="in" if inside else None,
                dir="auto",
            )
        )
    kind = "lines code" if reading.code else "lines"
    return element("ol", *items, start=str(begin), class_=kind)
