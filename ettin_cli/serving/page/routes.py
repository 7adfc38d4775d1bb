"""The routes of the search page: they ask the indexes, and answer in HTML."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.corpus import is_code
from ettin_cli.errors import EttinError
from ettin_cli.index import Index, document_path, document_text, nearest_ids
from ettin_cli.indexing import base_of
from ettin_cli.searching import from_here, searched_text
from ettin_cli.serving.documents import require_lines
from ettin_cli.serving.exchange import Answer, Exchange
from ettin_cli.serving.page.asked import Asked, document_url
from ettin_cli.serving.page.layout import SCRIPT_PATH, STYLE_PATH
from ettin_cli.serving.page.originals import original_response
from ettin_cli.serving.page.reader_page import ORIGINAL_PATH, Reading, missing_page, reader_page
from ettin_cli.serving.page.responses import asset_response, page_response
from ettin_cli.serving.page.search_page import View, search_page
from ettin_cli.serving.problems import ProblemError
from ettin_cli.serving.search_requests import lines_of, search_request

if TYPE_CHECKING:
    from starlette.responses import Response

    from ettin_cli.serving.index_routes import IndexRoutes
    from ettin_cli.serving.served_index import ServedIndex

    Handler = Callable[[Exchange], Awaitable[Answer | Response]]

# Hits shown without the filters, where there are none with them.
NEAR = 3
EXAMPLES, SAMPLED = 3, 24
# The parameters of the reader, besides those of the search from which it was opened.
READING = ("id", "passage", "lines", "from", "hits", "in")
LOADING_S = 2
# For how long a page waits until the changed files of all sources are counted.
PATIENCE_S = 0.5


class PageRoutes:
    """Answers a browser.

    Args:
        routes: Answers a request to `/` of a client that does not read HTML.
        editor: The address that opens a file in an editor; empty without one.
    """

    def __init__(self, indexes: IndexRoutes, routes: Handler, editor: str = "") -> None:
        self.indexes, self.routes, self.editor = indexes, routes, editor
        self.served = indexes.served
        self._describing: asyncio.Future[Any] | None = None

    @property
    def handlers(self) -> list[tuple[str, Handler]]:
        """The paths of the page, each with what answers them."""
        return [
            ("/", self.search),
            ("/read", self.read),
            (ORIGINAL_PATH, self.original),
            (STYLE_PATH, self.asset),
            (SCRIPT_PATH, self.asset),
        ]

    async def asset(self, exchange: Exchange) -> Response:
        """Answer with the style sheet or the script."""
        return asset_response(exchange.request.url.path.removeprefix("/"), exchange.request)

    async def search(self, exchange: Exchange) -> Answer | Response:
        """Answer with the search page."""
        if "text/html" not in exchange.request.headers.get("accept", ""):
            return await self.routes(exchange)
        asked = Asked.of(exchange.request.query_params.multi_items())
        answer = problem = near = None
        described, examples = [], []
        try:
            described = await self._described(exchange)
            if not asked.value("index") and len(described) > 1:
                asked = asked.having("index", described[0]["name"])
            if described and asked.value("q"):
                answer = await self._found(asked, exchange)
                if not answer["hits"]:
                    near = await self._near(asked, exchange)
            elif described:
                index = self.indexes.named(asked.value("index")).current()
                examples = await asyncio.to_thread(example_queries, index)
        except Exception as error:
            problem = exchange.failure(error)
        page = search_page(
            View(
                asked,
                described,
                self._rerankers,
                datetime.now(UTC),
                answer,
                problem.message if problem else "",
                near,
                examples,
                self.editor,
            )
        )
        refresh = LOADING_S if problem and problem.status == 503 else None
        return page_response(page, problem.status if problem else 200, refresh=refresh)

    async def _described(self, exchange: Exchange) -> list[dict[str, Any]]:
        """Return the indexes; without the number of changed files, if it takes long to count."""
        if self._describing is None or self._describing.done():
            self._describing = asyncio.ensure_future(self.indexes.indexes(exchange))
        done, _ = await asyncio.wait([self._describing], timeout=PATIENCE_S)
        if done:
            found: list[dict[str, Any]] = self._describing.result()["data"]
            return found
        return await asyncio.to_thread(
            lambda: [_summary(index) for index in self.served.indexes.values()]
        )

    @property
    def _rerankers(self) -> list[str]:
        """A name of each reranker; the shortest, if it has several."""
        named = self.served.rerankers
        names: dict[int, str] = {}
        for name, model in named.items():
            names[id(model)] = min(names.get(id(model), name), name, key=len)
        return list(names.values())

    async def _found(self, asked: Asked, exchange: Exchange) -> dict[str, Any]:
        # A browser is shown that the models are loading, rather than nothing.
        self.indexes.readiness.require()
        found = await self.indexes.answer(search_request(asked.body()), exchange)
        assert isinstance(found, dict)
        return found

    async def _near(self, asked: Asked, exchange: Exchange) -> dict[str, Any] | None:
        """Return the answer without filters; None if the search has no filters."""
        loose = asked.without("f", "path")
        if loose == asked:
            return None
        body = {**loose.body(), "reranker": "none", "top_k": NEAR}
        found = await self.indexes.answer(search_request(body), exchange)
        assert isinstance(found, dict)
        return found

    async def read(self, exchange: Exchange) -> Response:
        """Answer with a document."""
        parameters = exchange.request.query_params
        asked = Asked.of(parameters.multi_items())
        try:
            return await asyncio.to_thread(self._read, asked, parameters)
        except Exception as error:
            problem = exchange.failure(error)
            return page_response(missing_page(problem.message, [], asked), problem.status)

    def _read(self, asked: Asked, parameters: Mapping[str, str]) -> Response:
        given = {name: parameters.get(name, "") for name in READING}
        served = self.indexes.named(asked.value("index"))
        index = served.current()
        same = given["in"] in ("", index.manifest.generation)
        passage_id = _number(given["passage"]) if same else None
        doc_id = given["id"]
        if not doc_id and passage_id is not None and passage_id < index.manifest.counts.passages:
            doc_id = index.read([passage_id])[0].doc_id
        found = document_text(index, doc_id) if doc_id else None
        if found is None:
            near = nearest_ids(index, doc_id) if doc_id else []
            links = [(one, document_url(served.name, one, asked)) for one in near]
            message = f"The index has no document {doc_id[:200]}." if doc_id else _moved(same)
            return page_response(missing_page(message, links, asked), 404)
        placed = next((one for one in found.passages if one.passage_id == passage_id), None)
        lines = (placed.first, placed.last) if placed else lines_of(given["lines"])
        if lines:
            require_lines(found, *lines)
        passage = (placed or found.passages[0]).passage
        reading = Reading(
            found,
            passage,
            index=served.name,
            asked=asked,
            lines=lines,
            passage_id=placed.passage_id if placed else None,
            begin=_number(given["from"]),
            hits=[int(one) for one in re.findall(r"\d{1,9}", given["hits"])] if same else [],
            generation=index.manifest.generation,
            path=from_here(passage.path),
            code=is_code(passage.path or ""),
            editor=self.editor,
            searched=searched_text(asked.value("q"), asked.value("retriever"), index),
        )
        return page_response(reader_page(reading))

    async def original(self, exchange: Exchange) -> Response:
        """Answer with the file of a document, as an attachment."""
        parameters = exchange.request.query_params
        try:
            return await asyncio.to_thread(self._original, parameters)
        except Exception as error:
            problem = exchange.failure(error)
            return page_response(missing_page(problem.message, [], Asked()), problem.status)

    def _original(self, parameters: Mapping[str, str]) -> Response:
        index = self.indexes.named(parameters.get("index", "")).current()
        path = document_path(index, parameters.get("id", ""))
        if path is None:
            raise ProblemError(404, "the index has no such document, or the document has no file")
        base = base_of(index.folder)
        sources = [base / one.location for one in index.manifest.sources if one.location != "-"]
        return original_response(Path(path), sources)


def _summary(index: ServedIndex) -> dict[str, Any]:
    """Return what of an index can be told at once."""
    try:
        manifest = index.current().manifest
    except EttinError as error:
        return index.unavailable(error.problem)
    counts = manifest.counts
    return {
        "name": index.name,
        "documents": counts.documents,
        "passages": counts.passages,
        "updated": manifest.created,
    }


def example_queries(index: Index) -> list[str]:
    """Return titles of documents throughout an index, for queries to begin with."""
    total = index.manifest.counts.passages
    rows = sorted({at * total // SAMPLED for at in range(SAMPLED)}) if total else []
    found: dict[str, None] = {}
    for passage in index.read(rows):
        for title in (passage.title, *passage.headings):
            if 2 <= len(title.split()) <= 9:
                found[" ".join(title.split())] = None
                break
    names = list(found)
    return names[:: max(1, len(names) // EXAMPLES)][:EXAMPLES]


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _moved(same: bool) -> str:
    return "No document is named." if same else "The index has changed since: search again."
