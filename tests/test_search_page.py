"""The search page says what the answers hold, and every text in it stays text."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, strategies as st

from ettin_cli.commands.serve import editor_address
from ettin_cli.errors import UsageError
from ettin_cli.records import Passage
from ettin_cli.serving import Served
from ettin_cli.serving.page import routes
from ettin_cli.serving.page.asked import Asked, filter_of
from ettin_cli.serving.page.hits import status_text
from ettin_cli.serving.page.originals import original_response
from ettin_cli.serving.page.reader_page import (
    Reading,
    missing_page,
    reader_page,
    similar_url,
)
from ettin_cli.serving.page.responses import asset
from ettin_cli.serving.page.search_page import search_page
from ettin_cli.serving.page.words import EXCERPT, excerpt
from ettin_cli.serving.problems import ProblemError
from ettin_cli.serving.search_requests import filter_parts
from tests.answers import HOSTILE, INDEX, answer, hit, varied, view
from tests.markup import Node, contrast, parsed

STATE = [("q", "ferry"), ("index", "notes"), ("f", "port:west"), ("f", "dc%3Atype:map")]


def page(*pairs: tuple[str, str], **fields: Any) -> Node:
    return parsed(search_page(view(*pairs, **fields)))


def by_id(document: Node, name: str) -> Node:
    (found,) = [node for node in document.walk() if node.attributes.get("id") == name]
    return found


def hrefs(node: Node) -> list[str]:
    return [link.attributes["href"] for link in node.all("a")]


def state(address: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(address).query)


def document(*passages: Passage) -> Any:
    from ettin_cli.index.document_texts import assembled

    return assembled(list(enumerate(passages)))


# Texts


def test_texts_of_documents_stay_text() -> None:
    hostile = HOSTILE[0]
    pages = [
        search_page(
            view(
                ("q", hostile),
                ("f", filter_of(hostile, hostile)),
                ("path", hostile),
                ("reranker", hostile),
                answer=varied(),
                rerankers=[hostile, *HOSTILE],
                indexes=[{**INDEX, "name": hostile, "watch": {"failed": hostile}}, INDEX],
                problem=hostile,
                editor="vscode://file/{path}:{line}",
            )
        ),
        search_page(view(examples=HOSTILE)),
        missing_page(hostile, [(one, f"/read?id={one}") for one in HOSTILE], Asked()),
    ]
    for text in HOSTILE:
        passage = Passage(text, text, title=text, path=text, metadata={text: [text]})
        reading = Reading(document(passage), passage, text, Asked.of([("q", text)]), path=text)
        pages.append(reader_page(reading))
    for html in pages:
        found = parsed(html)
        assert len(found.all("script")) == 1 and found.all("script")[0].text == ""
        assert not found.all("img") and not found.all("style") and not found.all("textarea")
        for node in found.walk():
            assert not any(name.startswith("on") for name in node.attributes)
            assert "style" not in node.attributes
            assert re.match(r"[/#]|vscode:|data:image/svg", node.attributes.get("href", "/"))
        assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e\u2066-\u2069]", found.text)
    for text in HOSTILE[:4]:
        assert parsed(pages[0]).text.count(text) >= 3


def test_a_title_of_any_length_is_shown_once_and_shortened_in_the_tab() -> None:
    title = "ferry " * 2000
    found = answer(hit(1, 1, 1, title=title))
    shown = page(("q", title), answer=found)
    assert by_id(shown, "hits").all("h2")[0].text == title.strip()
    assert len(shown.all("title")[0].text) < 100


@given(st.text(), st.text(min_size=1))
def test_a_filter_keeps_its_field_and_value(field: str, value: str) -> None:
    assert filter_parts(filter_of(field, value)) == (field, value)


NAMES = ("q", "index", "f", "path", "by", "retriever", "reranker", "candidates", "top_k")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(st.sampled_from([*NAMES, "token", "id"]), TEXTS)))
def test_a_state_survives_its_address(pairs: list[tuple[str, str]]) -> None:
    asked = Asked.of(pairs)
    assert Asked.of(state(asked.url())) == asked
    assert [name for name, _ in asked.pairs] == sorted(
        (name for name, _ in asked.pairs), key=NAMES.index
    )
    kept = {name: value for name, value in pairs if value.strip()}
    expected = {name: kept[name] for name in NAMES if name in kept and name != "f"}
    assert {name: value for name, value in asked.pairs if name != "f"} == expected


WORDS = st.lists(st.sampled_from(["ferry", "a", "sails.", "\n", "\n\n", "x" * 60, "\tno"]))


@given(WORDS)
def test_an_excerpt_is_a_part_of_the_text_with_its_words_marked(words: list[str]) -> None:
    text = " ".join(words)
    spans = [match.span() for match in re.finditer("ferry", text)]
    tree = parsed(excerpt(text, spans))
    shown = tree.text.removeprefix("\u2026 ").removesuffix(" \u2026")
    assert len(shown) <= EXCERPT
    assert " ".join(shown.split()) in " ".join(text.split())
    assert all(mark.text == "ferry" for mark in tree.all("mark"))
    assert len(tree.all("mark")) == shown.count("ferry")
    if spans:
        assert tree.all("mark")


def test_an_excerpt_shows_the_part_with_most_of_the_words() -> None:
    text = "one ferry." + " word" * 200 + " two ferry ferry here." + " word" * 200
    spans = [match.span() for match in re.finditer("ferry", text)]
    assert "two ferry ferry here." in parsed(excerpt(text, spans)).text


# The search page


def test_a_hit_shows_what_it_is_where_it_is_and_how_it_was_found() -> None:
    shown = by_id(page(("q", "ferry"), answer=varied()), "hits")
    items = shown.all("li", "hit")
    assert [item.all("b")[0].text for item in items] == [str(at) for at in range(1, 13)]
    moved = [item.all("span", "moved")[0].text for item in items[:6]]
    assert moved == ["\u25b23", "\u25bc1", "=", "\u25b28", "\u25b26", "\u25b2106"]
    assert items[0].all("h2")[0].text == "Title 7 \u203a Fares"
    assert items[0].all("p", "where")[0].text == "d7.md:10-14page 12"
    assert [badge.text for badge in items[1].all("span", "badge")] == ["stale", "cut", "2 same"]
    assert items[0].all("mark")[0].text == "ferries"
    assert (
        items[0].all("p", "why")[0].text
        == "score 2.250 \u00b7 87 % likely relevant \u00b7 retrieved 4th"
    )
    assert (
        items[3]
        .all("p", "why")[0]
        .text.endswith("retrieved 12th \u00b7 meaning \u2013 \u00b7 words 21st")
    )
    assert [mark.text for mark in items[3].all("mark")] == ["ferry", "sails"]
    assert items[4].all("p", "text")[0].text.endswith("of a sentence.\nEnd.")
    assert items[5].all("h2")[0].text == "d16.md"


def test_without_a_reranker_nothing_has_moved_and_a_command_loads_one() -> None:
    found = answer(hit(1, 1, 1), reranker="none")
    shown = page(("q", "ferry"), answer=found, rerankers=[])
    assert not shown.all("span", "moved")
    assert "ettin serve -i INDEX -r 32m" in by_id(shown, "notes").text


def test_the_status_counts_and_times() -> None:
    assert (
        status_text(answer(hit(1, 1, 1)))
        == "1 result, reranked by ettin-reranker-32m-v1, 41 ms to retrieve, 380 ms to rerank"
    )
    assert status_text(answer()) == "0 results"


def test_facets_filter_and_chips_take_the_filters_off() -> None:
    shown = page(*STATE, ("top_k", "20"), answer=varied())
    fields = {one.all("h2")[0].text: one for one in by_id(shown, "facets").all("section")}
    # A field of which all values differ, or are the same, says nothing.
    assert list(fields) == ["port", "dc:type"]
    port = fields["port"].all("a")
    assert port[0].text == "port 012"
    assert state(port[0].attributes["href"]) == [
        ("q", "ferry"),
        ("index", "notes"),
        ("f", "port:west"),
        ("f", "dc%3Atype:map"),
        ("f", "port:port 0"),
    ]
    assert fields["port"].all("summary")[0].text == "3 more"
    (chosen,) = [link for link in shown.all("a") if link.attributes.get("aria-current")]
    assert ("f", "dc%3Atype:map") not in state(chosen.attributes["href"])
    chips = by_id(shown, "chips").all("a")
    assert [chip.text for chip in chips] == ["port: west \u00d7", "dc:type: map \u00d7"]
    assert state(chips[0].attributes["href"]) == [
        ("q", "ferry"),
        ("index", "notes"),
        ("f", "dc%3Atype:map"),
        ("top_k", "20"),
    ]
    filters = [one for one in shown.all("input") if one.attributes.get("name") == "f"]
    hidden = [one.attributes["value"] for one in filters]
    assert hidden == ["port:west", "dc%3Atype:map"]


def test_more_results_lead_somewhere() -> None:
    full = answer(*(hit(at, at, at) for at in range(1, 11)))
    (more,) = page(("q", "ferry"), answer=full).all("a", "more")
    assert state(more.attributes["href"]) == [("q", "ferry"), ("top_k", "20")]
    assert not page(("q", "ferry"), answer=answer(hit(1, 1, 1))).all("a", "more")


def test_where_nothing_is_found_the_page_says_what_to_loosen() -> None:
    pairs = [("q", '"night ferry"'), ("f", "port:west"), ("path", "a/**"), ("retriever", "bm25")]
    shown = by_id(page(*pairs, answer=answer(), near=answer(hit(1, 1, 1))), "after")
    links = {link.text: state(link.attributes["href"]) for link in shown.all("a")}
    assert ("f", "port:west") not in links["without port: west"]
    assert ("path", "a/**") not in links["in all paths, not only a/**"]
    assert ("retriever", "bm25") not in links["by meaning and by words"]
    assert ("q", "night ferry") in links["without the quotation marks"]
    assert "Found without the filters" in shown.text and "Title 1" in shown.text
    assert "Try other words" in by_id(page(("q", "x"), answer=answer()), "after").text


def test_an_index_says_how_old_it_is_and_what_went_wrong() -> None:
    changed = {**INDEX, "stale": 3, "watch": {"failed": "disk full", "updating": False}}
    shown = page(indexes=[changed, INDEX], examples=["Boat hire"]).all("div", "index")
    assert "39 documents, 1,282 passages" in shown[0].text
    assert shown[0].all("time")[0].text == "2 hours ago"
    assert shown[0].all("time")[0].attributes["datetime"] == INDEX["updated"]
    assert "3 files have changed since." in shown[0].text
    assert "The last update failed: disk full" in shown[0].text
    assert not shown[1].all("p", "warn")


def test_before_a_query_the_page_offers_some_and_without_an_index_says_so() -> None:
    shown = by_id(page(examples=["Boat hire", "Fares"]), "after")
    assert hrefs(shown) == ["/?q=Boat+hire", "/?q=Fares"]
    assert "ettin serve -i INDEX" in by_id(page(indexes=[]), "after").text


def test_every_field_has_a_label_and_every_id_is_unique() -> None:
    shown = page(*STATE, answer=varied(), indexes=[INDEX, {**INDEX, "name": "other"}])
    ids = [node.attributes["id"] for node in shown.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    labels = {label.attributes.get("for") for label in shown.all("label")}
    inside = [id(field) for label in shown.all("label") for field in label.walk()]
    for field in [*shown.all("input"), *shown.all("select")]:
        hidden = field.attributes.get("type") == "hidden"
        assert hidden or id(field) in inside or field.attributes.get("id") in labels
    levels = [int(node.tag[1]) for node in shown.all("main")[0].walk() if node.tag in ("h1", "h2")]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))


# The reader


LINES = [f"Line {number} of the ferry." for number in range(1, 5001)]


def reading(first: int, last: int, **fields: Any) -> Reading:
    passages = [
        Passage(
            "a.md",
            "\n".join(LINES[at : at + 50]),
            title="All",
            start_line=at + 1,
            end_line=at + 50,
            path="docs/a.md",
        )
        for at in range(0, 5000, 50)
    ]
    asked = Asked.of([("q", "ferry"), ("f", "port:west")])
    text = document(*passages)
    marked = (first, last) if last else None
    fields = {"path": "docs/a.md", "searched": "ferry", **fields}
    return Reading(text, passages[0], "notes", asked, lines=marked, **fields)


def shown_lines(shown: Node) -> tuple[int, Sequence[Node]]:
    (lines,) = shown.all("ol", "lines")
    return int(lines.attributes["start"]), lines.all("li")


@pytest.mark.parametrize(
    ("lines", "begin", "first", "count"),
    [((30, 34), None, 1, 2000), ((4000, 4010), None, 3900, 1101), ((0, 0), 2001, 2001, 2000)],
)
def test_a_document_is_shown_2000_lines_at_a_time_with_the_passage_marked(
    lines: tuple[int, int], begin: int | None, first: int, count: int
) -> None:
    shown = parsed(reader_page(reading(*lines, begin=begin)))
    start, items = shown_lines(shown)
    assert (start, len(items)) == (first, count)
    assert [item.text for item in items] == LINES[start - 1 : start - 1 + count]
    marked = [start + at for at, item in enumerate(items) if item.attributes.get("class") == "in"]
    assert marked == (list(range(lines[0], lines[1] + 1)) if lines[1] else [])
    if lines[1]:
        assert by_id(shown, "passage").text == LINES[lines[0] - 1]
        assert by_id(shown, "passage").all("mark")[0].text == "ferry"
        assert by_id(shown, "citation").text == f"docs/a.md:{lines[0]}-{lines[1]}"


def test_all_lines_can_be_reached_from_any() -> None:
    seen: set[int] = set()
    begins = [3900]
    while begins:
        shown = parsed(reader_page(reading(0, 0, begin=begins.pop())))
        start, items = shown_lines(shown)
        new = set(range(start, start + len(items)))
        if not new <= seen:
            seen |= new
            addresses = [hrefs(one)[0] for one in shown.all("p", "lines-link")]
            begins += [int(dict(state(address))["from"]) for address in addresses]
    assert seen == set(range(1, 5001))


def test_the_reader_leads_to_the_hits_before_and_after() -> None:
    shown = parsed(reader_page(reading(1, 50, passage_id=7, hits=[4, 7, 9], generation="g")))
    links = {link.attributes.get("rel"): link.attributes["href"] for link in shown.all("a")}
    same = [("q", "ferry"), ("f", "port:west"), ("hits", "4.7.9"), ("in", "g")]
    assert state(links["prev"]) == [("index", "notes"), ("passage", "4"), *same]
    assert state(links["next"]) == [("index", "notes"), ("passage", "9"), *same]
    assert links["up"] == "/?q=ferry&f=port%3Awest"
    assert "2 of 3" in shown.all("nav", "reading")[0].text


# What is sent


def test_the_page_is_small() -> None:
    style, script = (asset(name)[0] for name in ("page.css", "page.js"))
    assert len(style) < 20_000 and len(script) < 21_000
    html = search_page(view(("q", "ferry"), answer=answer(*varied()["hits"][:10])))
    assert len(style) + len(script) + len(html.encode()) < 60_000


def test_words_stand_out_from_the_paper_in_light_and_dark() -> None:
    style = asset("page.css")[0].decode()
    pairs = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", style)
    assert len(pairs) > 8
    for scheme in (1, 2):
        colours = {pair[0]: pair[scheme] for pair in pairs}
        for name in ("ink", "quiet", "link", "up", "down"):
            for ground in ("paper", "raised", "passage"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        assert contrast(colours["ink"], colours["mark"]) >= 4.5
        assert contrast(colours["edge"], colours["paper"]) >= 3


@pytest.mark.parametrize("address", ["vscode://file/", "javascript:{path}", "{path}", "/{path}"])
def test_an_editor_is_an_address_with_a_path(address: str) -> None:
    with pytest.raises(UsageError):
        editor_address(address)


# Files


def test_a_file_is_read_only_while_it_is_in_what_was_indexed(tmp_path: Path) -> None:
    docs, outside = tmp_path / "docs", tmp_path / "secret"
    docs.mkdir()
    outside.write_text("secret")
    (docs / "a.html").write_bytes(b"<script>" * 100_000)
    response = original_response(docs / "a.html", [docs])
    assert response.headers["content-length"] == "800000"
    swapped = docs / "swapped.md"
    swapped.symlink_to(outside)
    (docs / "folder").symlink_to(tmp_path)
    os.mkfifo(docs / "pipe")
    for path in (swapped, docs / "folder" / "secret", docs / ".." / "secret", docs / "pipe", docs):
        with pytest.raises(ProblemError) as refused:
            original_response(path, [docs])
        assert refused.value.status == 403, path
    (docs / "loop").symlink_to("loop")
    for path in (docs / "gone", docs / "loop", docs / "a.html" / "x"):
        with pytest.raises(ProblemError) as missing:
            original_response(path, [docs])
        assert missing.value.status == 404, path
    assert original_response(outside, [outside]).status_code == 200


def test_the_page_does_not_wait_until_all_files_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thousands of files can take long to compare with an index."""
    monkeypatch.setattr(routes, "PATIENCE_S", 0.0)

    class Slow:
        served = Served({}, {})

        async def indexes(self, _: object) -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

    async def described() -> list[dict[str, Any]]:
        pages = routes.PageRoutes(cast("Any", Slow()), cast("Any", None))
        return await pages._described(cast("Any", None))

    assert asyncio.run(described()) == []


def test_similar_passages_are_searched_by_words_without_syntax() -> None:
    text = '"the night boat" -cargo kind:report ' + "word " * 100
    passage = Passage("a", text)
    reading = Reading(document(passage), passage, "notes", Asked())
    found = dict(state(similar_url(reading)))
    assert found["q"].startswith("the night boat cargo kind report word")
    assert (found["index"], found["retriever"], len(found["q"].split())) == ("notes", "dense", 40)
