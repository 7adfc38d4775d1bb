"""The search page in a browser: live, by keyboard, on a small screen, and without its script."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from ettin_cli.records import Passage
from ettin_cli.serving.page.asked import Asked
from ettin_cli.serving.page.reader_page import Reading, missing_page, reader_page
from ettin_cli.serving.page.responses import HEADERS, TYPES, asset
from ettin_cli.serving.page.search_page import View, search_page
from tests.answers import HOSTILE, INDEX, NOW, answer, hit, varied
from tests.browsers import OVERFLOWING, browser as browser
from tests.serving import Reply, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

ORIGIN = "http://ettin.localhost"
AXE = Path(os.environ.get("AXE_CORE", "node_modules/axe-core")) / "axe.min.js"
# Requests to search wait until the test answers them, in any order and in pieces.
HELD = """
window.searches = [];
window.animated = 0;
const animate = Element.prototype.animate;
Element.prototype.animate = function (...how) {
  window.animated += 1;
  return animate.apply(this, how);
};
const real = window.fetch;
window.fetch = (url, options = {}) => {
  if (!String(url).startsWith("/v1/search")) return real(url, options);
  let send;
  const body = new ReadableStream({ start: (controller) => { send = controller; } });
  const search = { url, aborted: false, send: (name, data) => send.enqueue(
    new TextEncoder().encode(`event: ${name}\\ndata: ${JSON.stringify(data)}\\n\\n`)),
    end: () => send.close() };
  options.signal.addEventListener("abort", () => {
    search.aborted = true;
    try { send.error(options.signal.reason); } catch {}
  });
  window.searches.push(search);
  return Promise.resolve(new Response(body));
};
"""
WAITING = "count => window.searches.length === count"


@dataclasses.dataclass
class Shown:
    """A page of which the test is the server."""

    page: Page
    complaints: list[str]
    elsewhere: list[str]

    def open(self, address: str = "/") -> Shown:
        self.page.goto(ORIGIN + address)
        return self

    def send(self, search: int, **events: dict[str, Any]) -> None:
        """Send events of a search."""
        for name, data in events.items():
            self.page.evaluate(
                "([at, name, data]) => window.searches[at].send(name, data)", [search, name, data]
            )

    def see(self, *titles: str) -> None:
        """Wait for the titles of the hits."""
        self.wait(
            "titles => [...document.querySelectorAll('.hit h2')].map(one => one.textContent)"
            ".join() === titles",
            ",".join(titles),
        )

    def say(self, words: str) -> None:
        """Wait for words in the status."""
        self.wait("words => part('status').textContent.includes(words)", words)

    def wait(self, condition: str, value: object = None) -> None:
        """Wait for a function of JavaScript to return true."""
        self.page.wait_for_function(condition, arg=value)

    def type(self, text: str, search: int) -> None:
        """Fill the search box, and wait until the search of a number has begun."""
        self.page.locator("#q").fill(text)
        self.wait(WAITING, search + 1)

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.textContent"))

    def state(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.page.url).query))


LINES = [f"Line {number} about a ferry." for number in range(1, 200)]


def page_at(path: str, pairs: list[tuple[str, str]]) -> str:
    """Return the page of an address, as the server renders it."""
    asked = Asked.of(pairs)
    if path == "/missing":
        return missing_page("There is no such document.", [("a.md", "/read?id=a.md")], asked)
    if path == "/read":
        passages = [
            Passage(
                "a.md",
                "\n".join([*LINES, *HOSTILE, "x" * 500]),
                start_line=1,
                end_line=500,
                path="docs/a.md",
                metadata={"x": "y" * 300},
            )
        ]
        from ettin_cli.index.document_texts import assembled

        reading = Reading(
            assembled(list(enumerate(passages))),
            passages[0],
            "notes",
            asked,
            lines=(100, 104),
            passage_id=7,
            hits=[4, 7, 9],
            path="docs/a.md",
            editor="vscode://file/{path}:{line}",
        )
        return reader_page(reading)
    found = varied() if asked.value("q") == "varied" else None
    if asked.value("q") and found is None:
        found = answer()
    return search_page(
        View(
            asked,
            [INDEX],
            ["32m"],
            NOW,
            found,
            examples=["Boat hire"],
            editor="vscode://file//here/{path}:{line}",
        )
    )


@pytest.fixture
def shown(browser: Browser) -> Iterator[Callable[..., Shown]]:
    contexts = []

    def open_(**options: Any) -> Shown:
        width, height = options.pop("size", (1280, 800))
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        shown = Shown(page, [], [])

        def serve(route: Route) -> None:
            address = urlsplit(route.request.url)
            name = address.path.removeprefix("/")
            if not route.request.url.startswith(ORIGIN):
                shown.elsewhere.append(route.request.url)
                route.abort()
            elif name in TYPES:
                route.fulfill(body=asset(name)[0], headers={**HEADERS, "content-type": TYPES[name]})
            else:
                html = page_at(address.path, parse_qsl(address.query))
                route.fulfill(body=html, headers={**HEADERS, "content-type": "text/html"})

        page.route("**/*", serve)
        page.on("console", lambda message: shown.complaints.append(message.text))
        page.on("pageerror", lambda error: shown.complaints.append(str(error)))
        page.add_init_script(HELD)
        return shown

    yield open_
    for context in contexts:
        context.close()


def three(*order: int, **fields: Any) -> dict[str, Any]:
    """Return an answer with hits that retrieval ordered by their numbers."""
    hits = [hit(rank, number, number) for rank, number in enumerate(order, start=1)]
    return answer(*hits, **fields)


DONE = {"seconds": 0.4, "warnings": []}
RETRIEVED = three(1, 2, 3, reranker="none")
RERANKED = three(3, 1, 2)


def test_the_script_writes_what_the_server_writes(shown: Callable[..., Shown]) -> None:
    state = "/?q=varied&f=port%3Aport+3&f=dc%253Atype%3Amap&path=docs"
    parts = "['status', 'chips', 'hits', 'facets', 'after'].map(id => part(id).outerHTML)"
    page = shown().open(state)
    by_server = page.page.evaluate(parts)
    page.page.locator("#q").press("Enter")
    page.wait(WAITING, 1)
    page.send(0, retrieved=RETRIEVED)
    page.see("Title 1", "Title 2", "Title 3")
    page.send(0, reranked=varied())
    page.say("12 results, reranked by")
    assert page.page.evaluate(parts) == by_server
    assert page.complaints == page.elsewhere == []
    assert page.page.title() == "varied \u2013 ettin"


def test_hits_come_as_you_type_and_glide_into_the_reranked_order(
    shown: Callable[..., Shown],
) -> None:
    page = shown().open()
    assert page.focused() == "" and page.page.evaluate("document.activeElement.id") == "q"
    page.type("ferry", 0)
    assert page.page.evaluate("document.body.className") == "busy"
    page.send(0, retrieved=RETRIEVED)
    page.see("Title 1", "Title 2", "Title 3")
    page.say("3 results, reranking\u2026")
    page.send(0, reranked=RERANKED)
    page.see("Title 3", "Title 1", "Title 2")
    assert page.page.locator(".moved").all_text_contents() == ["\u25b22", "\u25bc1", "\u25bc1"]
    assert page.page.evaluate("animated") == 3
    page.send(0, done=DONE)
    page.page.evaluate("searches[0].end()")
    page.wait("() => document.body.className === ''")
    assert page.state() == {"q": "ferry"}


def test_nothing_moves_where_less_motion_is_wanted(shown: Callable[..., Shown]) -> None:
    page = shown(reduced_motion="reduce").open()
    page.type("ferry", 0)
    page.send(0, retrieved=RETRIEVED, reranked=RERANKED)
    page.see("Title 3", "Title 1", "Title 2")
    assert page.page.evaluate("animated") == 0


def test_typing_on_ends_the_search_before_and_never_shows_it(shown: Callable[..., Shown]) -> None:
    page = shown().open()
    page.type("f", 0)
    page.send(0, retrieved=three(1, 2))
    page.type("fe", 1)
    assert page.page.evaluate("searches[0].aborted")
    page.send(1, retrieved=three(3))
    page.see("Title 3")
    queries = [
        dict(parse_qsl(urlsplit(url).query))
        for url in page.page.evaluate("searches.map(one => one.url)")
    ]
    assert [query["q"] for query in queries] == ["f", "fe"]
    assert all(query["stream"] == "true" == query["facets"] for query in queries)


def test_a_better_order_waits_for_a_key_once_the_visitor_has_moved(
    shown: Callable[..., Shown],
) -> None:
    page = shown().open()
    page.type("ferry", 0)
    page.send(0, retrieved=RETRIEVED)
    page.say("reranking")
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("j")
    assert page.focused() == "Title 2"
    page.send(0, reranked=RERANKED)
    page.say("better order: press r")
    page.see("Title 1", "Title 2", "Title 3")
    page.send(0, done={"warnings": ["the index is being read"]})
    page.page.evaluate("searches[0].end()")
    page.wait("() => document.body.className === ''")
    assert page.page.locator("#notes .warn").all_text_contents() == ["the index is being read"]
    page.page.keyboard.press("r")
    page.see("Title 3", "Title 1", "Title 2")
    assert page.page.locator("#notes .warn").all_text_contents() == ["the index is being read"]
    assert page.focused() == "Title 2"
    assert "better" not in str(page.page.locator("#status").text_content())


def test_the_keyboard_leads_everywhere(shown: Callable[..., Shown]) -> None:
    page = shown().open("/?q=varied")
    press, keys = page.page.keyboard.press, page.page.keyboard
    press("?")
    assert page.page.locator("dialog").is_visible()
    press("Escape")
    assert not page.page.locator("dialog").is_visible()
    press("j")
    assert page.focused() == "Title 7 \u203a Fares"
    press("Control+j")
    press("ArrowDown")
    press("k")
    press("k")
    assert page.page.evaluate("document.activeElement.id") == "q"
    keys.type("jk/?")
    assert page.page.locator("#q").input_value() == "jk/?"
    press("Tab")
    press("Control+k")
    assert page.page.evaluate("document.activeElement.id") == "q"
    page.open("/?q=varied")
    press("j")
    press("Enter")
    page.page.wait_for_url("**/read?**")
    assert page.state()["hits"].startswith("7.2.3.")
    press("]")
    page.wait("() => location.search.includes('passage=9')")
    press("p")
    page.wait("() => location.search.includes('passage=4')")
    press("/")
    assert page.page.evaluate("document.activeElement.id") == "q"
    press("Tab")
    press("Escape")
    page.page.wait_for_url(f"{ORIGIN}/?q=varied&index=notes")
    assert page.complaints == []


def test_escape_stops_a_search(shown: Callable[..., Shown]) -> None:
    page = shown().open()
    page.type("ferry", 0)
    page.page.keyboard.press("Escape")
    assert page.page.evaluate("searches[0].aborted")
    assert page.page.evaluate("document.body.className") == ""


def test_back_and_filters_keep_the_address_and_the_form_together(
    shown: Callable[..., Shown],
) -> None:
    page = shown().open()
    page.type("ferry", 0)
    page.page.keyboard.press("Enter")
    page.wait(WAITING, 2)
    page.send(
        1,
        reranked=three(
            1, facets={"port": [{"value": "west", "count": 2}, {"value": "east", "count": 1}]}
        ),
    )
    page.page.locator("#facets a").first.click()
    page.wait(WAITING, 3)
    assert page.state() == {"q": "ferry", "f": "port:west"}
    page.send(2, reranked=three(2))
    page.see("Title 2")
    assert page.page.locator("#chips").text_content() == "port: west \u00d7"
    page.page.locator("#q").press("End")
    page.page.locator("#q").press_sequentially("x")
    page.wait(WAITING, 4)
    assert page.state() == {"q": "ferryx", "f": "port:west"}
    page.page.go_back()
    page.wait(WAITING, 5)
    page.page.go_back()
    page.wait(WAITING, 6)
    assert page.state() == {"q": "ferry"}
    page.send(5, reranked=three(3))
    page.see("Title 3")
    assert page.page.locator("input[name=f]").count() == 0
    page.page.go_back()
    page.wait("() => part('after').textContent.includes('Try')")
    page.see()
    assert page.page.locator("#q").input_value() == ""
    page.page.locator("#after a").click()
    page.wait(WAITING, 7)
    assert page.state() == {"q": "Boat hire"}


def test_errors_and_empty_answers_are_shown(shown: Callable[..., Shown]) -> None:
    page = shown().open()
    page.type("ferry", 0)
    page.send(0, error={"message": "the queue takes 130 s"})
    page.wait("() => part('notes').textContent !== ''")
    assert page.page.locator(".problem").text_content() == "the queue takes 130 s"
    page.type("x", 1)
    page.send(1, retrieved=answer(reranker="none"), reranked=answer())
    page.wait("() => part('after').textContent.includes('Nothing')")
    assert page.page.locator(".problem").count() == 0


def test_warnings_at_the_end_of_a_search_are_shown(shown: Callable[..., Shown]) -> None:
    page = shown().open()
    page.type("ferry", 0)
    page.send(0, retrieved=RETRIEVED, reranked=RERANKED, done={"warnings": [HOSTILE[0], "late"]})
    page.wait("() => document.querySelectorAll('#notes .warn').length === 2")
    assert page.page.locator("#notes .warn").all_text_contents() == [HOSTILE[0], "late"]
    page.page.evaluate("searches[0].end()")
    page.wait("() => document.body.className === ''")
    page.say("3 results, reranked by")
    assert page.page.locator(".problem").count() == 0
    assert page.complaints == []


@pytest.mark.parametrize("events", [{}, {"retrieved": 1}, {"retrieved": 1, "reranked": 1}], ids=len)
def test_a_search_that_ends_too_early_is_told(
    shown: Callable[..., Shown], events: dict[str, int]
) -> None:
    page = shown().open()
    page.type("ferry", 0)
    page.send(0, **{name: three(1, 2) for name in events})
    if events:
        page.see("Title 1", "Title 2")
    page.page.evaluate("searches[0].end()")
    page.wait("() => document.body.className === ''")
    problem = page.page.locator("#notes .problem").all_text_contents()
    assert problem == ["The connection ended before the search did."]
    assert page.page.locator("#status").text_content() == ""


def test_only_the_theme_is_kept(shown: Callable[..., Shown]) -> None:
    page = shown().open("/?q=varied")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.page.evaluate(paper) == "rgb(255, 255, 255)"
    page.page.locator("#theme").click()
    page.page.locator("#theme").click()
    page.open("/read")
    assert page.page.evaluate(paper) == "rgb(21, 24, 27)"
    stored = page.page.evaluate("[{...localStorage}, {...sessionStorage}, document.cookie]")
    assert stored == [{"theme": "dark"}, {}, ""]


@pytest.mark.parametrize("size", [(320, 640), (640, 400), (1280, 800)])
def test_nothing_overflows(shown: Callable[..., Shown], size: tuple[int, int]) -> None:
    page = shown(size=size, color_scheme="dark")
    for address in (
        "/",
        "/?q=varied&f=port:west",
        "/?q=ferry&path=x",
        "/missing",
        "/read?q=ferry#passage",
    ):
        page.open(address)
        assert page.page.evaluate(OVERFLOWING) <= 0, address
        if size[0] < 900 and address.startswith("/?q"):
            page.page.locator("label[for=side]").click()
            assert page.page.locator("aside").is_visible()
            assert page.page.evaluate(OVERFLOWING) <= 0, address
    top = page.page.locator("#passage").bounding_box()
    assert top and 0 < top["y"] < size[1]
    assert page.page.locator("script, img, iframe").count() == 1
    assert page.complaints == page.elsewhere == []


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core in node_modules or AXE_CORE")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(shown: Callable[..., Shown], scheme: str) -> None:
    page = shown(color_scheme=scheme, bypass_csp=True)
    for address in ("/", "/?q=varied&f=port:west", "/?q=ferry&f=a:b", "/missing", "/read?q=ferry"):
        page.open(address)
        page.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.page.evaluate("axe.run().then(result => result.violations)")
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == [], address


# A real server


@dataclasses.dataclass
class Site:
    """A server whose indexes need a token, and the folder where it runs."""

    server: Server
    folder: Path

    @property
    def token(self) -> str:
        return (self.folder / "cache" / "serve-token").read_text().strip()

    @property
    def link(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/?token={self.token}"

    def page(self, address: str) -> Reply:
        headers = {"Accept": "text/html", "Authorization": f"Bearer {self.token}"}
        return self.server.ask(address, headers=headers)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    import ettin_cli

    folder = tmp_path_factory.mktemp("page")
    records = [
        {"_id": f"doc{at}", "title": f"Ferry {at}", "text": text, "port": "west"}
        for at, text in enumerate([*HOSTILE, "The ferry sails at nine."])
    ]
    with ettin_cli.Session(offline=True) as session:
        session.build(documents=records, into=folder / "notes", embedder="embedded")
        (folder / "docs").mkdir()
        (folder / "docs" / 'h\u00e9 "a".html').write_text(f"<p>Page</p>{HOSTILE[0]}")
        session.build(folder / "docs", into=folder / "files", embedder="embedded")
    opener = folder / "browser"
    opener.write_text(
        f'#!/bin/sh\necho "$1" > {folder}/link.new\nmv {folder}/link.new {folder}/link'
    )
    opener.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BROWSER", f"{opener} %s")
        running = Server(folder, "-r", "embedded", "-i", "notes", "-i", "files", "--open")
    running.until("files is open")
    yield Site(running, folder)
    running.kill()


def test_the_browser_is_opened_with_a_link_that_works_once(site: Site) -> None:
    until = time.monotonic() + 60
    while not (site.folder / "link").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    link = urlsplit((site.folder / "link").read_text().strip())
    assert link.port == site.server.port
    replies = [
        site.server.ask(f"{link.path}?{link.query}", headers={"Accept": "text/html"})
        for _ in range(2)
    ]
    assert [reply.status for reply in replies] == [303, 401]
    cookie = replies[0].headers["set-cookie"].partition(";")[0]
    known = {"Accept": "text/html", "Cookie": cookie}
    assert b"8 documents to search" in site.server.ask("/", headers=known).content
    assert site.server.ask("/?q=ferry", headers={"Accept": "text/html"}).status == 401
    assert site.server.ask("/read?id=doc1", headers={"Accept": "text/html"}).status == 401


def test_a_browser_gets_the_page_and_other_clients_the_routes(site: Site) -> None:
    assert site.server.ask("/", headers={"Accept": "*/*"}).json()["name"] == "ettin"
    for address in ("/", "/?q=ferry", "/read?id=doc1", "/read?id=no"):
        headers = site.page(address).headers
        assert headers["content-type"].startswith("text/html")
        assert headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", ["/page.css", "/page.js"])
def test_what_a_browser_has_is_not_sent_again(site: Site, name: str) -> None:
    first = site.server.ask(name)
    tag = first.headers["etag"]
    again = site.server.ask(name, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (first.status, again.status, again.content) == (200, 304, b"")
    assert site.server.ask(name, headers={"If-None-Match": '"other"'}).content == first.content


@pytest.mark.parametrize(
    ("address", "status", "reason"),
    [
        ("/?q=ferry&candidates=many", 400, "`candidates` must be a number"),
        ("/?q=ferry&f=port", 400, "`f` must be FIELD:VALUE, not &#x27;port&#x27;"),
        ("/?q=ferry&index=other", 404, "index &#x27;other&#x27; is not served; notes, files"),
        ("/read?id=doc", 404, "The index has no document doc."),
        ("/read?id=doc", 404, "/read?index=notes&amp;id=doc1"),
        ("/read?passage=99", 404, "No document is named."),
        ("/read?passage=1&in=older", 404, "The index has changed since: search again."),
        ("/read?id=doc1&lines=9-10", 400, "line 9 is beyond the last line, "),
        ("/read?id=doc1&lines=x", 400, "`lines` must be FIRST-LAST"),
    ],
)
def test_what_cannot_be_answered_is_a_page_with_the_reason(
    site: Site, address: str, status: int, reason: str
) -> None:
    reply = site.page(address)
    assert reply.status == status
    assert reason in reply.content.decode()


def test_a_file_is_downloaded_and_never_shown(site: Site) -> None:
    (name,) = [path.name for path in (site.folder / "docs").iterdir()]
    reader = site.page(f"/read?index=files&id={quote(name)}").content.decode()
    (address,) = re.findall(r"/read/original[^\"]+", reader)
    reply = site.page(address.replace("&amp;", "&"))
    assert reply.content == (site.folder / "docs" / name).read_bytes()
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert reply.headers["x-content-type-options"] == "nosniff"
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    assert reply.headers["content-disposition"] == disposition
    for other in ("id=../secret", "id=/etc/passwd", f"id={quote(name)}%00", ""):
        assert site.page(f"/read/original?index=files&{other}").status == 404
    assert site.page("/read/original?index=notes&id=doc1").status == 404
    assert site.server.ask(address.replace("&amp;", "&")).status == 401


def test_without_its_script_the_page_works_by_forms_and_links(site: Site, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.link)
    page.fill("#q", "ferry sails")
    page.locator("select[name=retriever]").select_option("bm25")
    page.get_by_role("button", name="Search").click()
    asked = dict(parse_qsl(urlsplit(page.url).query))
    assert asked == {"q": "ferry sails", "index": "notes", "retriever": "bm25"}
    titles = page.locator(".hit h2").all_text_contents()
    assert titles[0] == "Ferry 6"
    page.locator(".hit h2 a").first.click()
    assert page.locator("#passage").text_content() == "The ferry sails at nine."
    assert page.locator("#passage mark").all_text_contents() == ["ferry", "sails"]
    page.get_by_role("link", name="\u2190 Results").click()
    assert page.locator(".hit h2").all_text_contents() == titles
    page.get_by_role("link", name="Help").click()
    assert page.locator("dialog").is_visible()
    context.close()


def test_with_its_script_a_search_streams_from_the_server(site: Site, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(site.link)
    page.locator("#q").fill("ferry sails at nine")
    page.wait_for_function("() => part('status').textContent.includes('to rerank')")
    live = page.locator("#hits").evaluate("list => list.outerHTML")
    page.reload()
    assert page.locator(".hit").count() == 7
    assert page.locator("#hits").evaluate("list => list.outerHTML") == live
    page.locator(".hit h2 a").first.click()
    page.wait_for_url("**/read?**")
    page.locator("a[rel=next]").click()
    page.wait_for_function("() => document.querySelector('.reading')?.textContent.includes('2 of')")
    assert complaints == []
    context.close()
