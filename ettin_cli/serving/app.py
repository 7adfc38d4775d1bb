"""The routes of the server, and how failures become answers: an ASGI application."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli import __version__
from ettin_cli.errors import ClosedError, EttinError
from ettin_cli.records import Reporter
from ettin_cli.serving.activity import Activity
from ettin_cli.serving.exchange import Answer, Exchange, json_response
from ettin_cli.serving.guard import Guard, Policy
from ettin_cli.serving.index_routes import IndexRoutes
from ettin_cli.serving.mcp import PATH as MCP, McpRoute
from ettin_cli.serving.metrics import TYPE, Metrics
from ettin_cli.serving.model_routes import (
    DOUBLED,
    EMBED,
    EMBEDDINGS,
    RERANK,
    SCORE,
    ModelRoutes,
)
from ettin_cli.serving.page import PageRoutes
from ettin_cli.serving.problems import ProblemError
from ettin_cli.serving.served import Readiness, Served
from ettin_cli.serving.served_index import ServedIndex
from ettin_cli.serving.watching import Watch

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import ASGIApp

    Handler = Callable[[Exchange], Awaitable[Answer | Response]]


class Application:
    """Answers requests.

    Args:
        reporter: Receives what happens to the models, and failures.
        log: Receives a line about each request.
        watch: Returns what keeps an index up to date; None: nothing does.
        editor: The address that opens a file in an editor, for the search page; empty without one.
    """

    def __init__(
        self,
        served: Served,
        reporter: Reporter,
        log: Callable[[str], None],
        watch: Callable[[ServedIndex], Watch] | None = None,
        editor: str = "",
    ) -> None:
        self.served, self.reporter, self.log, self.editor = served, reporter, log, editor
        self.metrics = Metrics()
        # Requests about the health of the server are left out.
        self.activity = Activity()
        self.readiness = Readiness(served, reporter)
        self.mcp: McpRoute | None = None
        self.watches: dict[str, Watch] = {}
        if watch:
            self.watches = {name: watch(index) for name, index in served.indexes.items()}

    def asgi(self, policy: Policy) -> ASGIApp:
        """Return the application, behind its guard."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        models = ModelRoutes(self.served, self.readiness)
        indexes = IndexRoutes(self.served, self.readiness, self.watches)
        post: list[tuple[str, Handler]] = [
            ("/", models.root),
            *((path, models.rerank) for path in (*RERANK, DOUBLED)),
            *((path, models.score) for path in SCORE),
            *((path, models.embeddings) for path in EMBEDDINGS),
            *((path, models.embed) for path in EMBED),
            ("/tokenize", models.tokenize),
            ("/v1/search", indexes.search),
            ("/v1/vector_stores/{name}/search", indexes.search_store),
        ]
        get: list[tuple[str, Handler]] = [
            *PageRoutes(indexes, self._index, self.editor).handlers,
            ("/v1/models", models.models),
            ("/info", models.info),
            ("/embedding/info", models.embedding_info),
            ("/v1/search", indexes.search),
            ("/v1/indexes", indexes.indexes),
            ("/v1/indexes/{name}", indexes.index),
            ("/v1/documents/{doc_id:path}", indexes.document),
            ("/v1/vector_stores", indexes.stores),
        ]
        calls: dict[str, dict[str, Handler]] = {}
        for method, listed in (("POST", post), ("GET", get)):
            for path, call in listed:
                calls.setdefault(path, {})[method] = call
        routes = [
            *(self._route(path, of_path, policy) for path, of_path in calls.items()),
            Route("/health", self._health),
            Route("/ping", self._health),
            Route("/ready", self._ready),
            Route("/metrics", partial(self._metrics, policy)),
            Route("/openapi.json", _openapi),
        ]
        app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={404: self._not_found, 405: self._not_allowed},
        )
        self.mcp = McpRoute(app, policy)
        app.routes.append(Route(MCP, self.mcp, methods=["POST"]))
        self.paths = sorted({route.path for route in routes} | {MCP})
        return Guard(app, policy, self._refused)

    def _refused(self, method: str, path: str, problem: ProblemError) -> None:
        self.metrics.count_rejected(f"status {problem.status}")
        self.log(f"refused {method} {path[:100]!a}: {problem.message}")

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[None]:
        self.readiness.start()
        watching = [asyncio.create_task(watch.run()) for watch in self.watches.values()]
        yield
        if self.mcp is not None:
            await self.mcp.end()
        self.readiness.end()
        for one in watching:
            one.cancel()
        await asyncio.gather(*watching, return_exceptions=True)

    def _route(self, path: str, calls: Mapping[str, Handler], policy: Policy) -> Route:
        """Return a route, whose failures become answers, and which is counted and logged.

        Args:
            calls: The handler of each method.
        """
        from starlette.responses import Response
        from starlette.routing import Route

        async def handle(request: Request) -> Response:
            exchange = Exchange(request, policy, self.served.limits, self.metrics, self._failure)
            exchange.finish = lambda status: self._finish(exchange, path, status)
            self.activity.begin()
            try:
                method = "GET" if request.method == "HEAD" else request.method
                answer = await calls[method](exchange)
                if not isinstance(answer, Response):
                    headers = exchange.headers()
                    answer = json_response(answer, 200, headers)
            except (Exception, asyncio.CancelledError) as error:
                problem = self._failure(error)
                exchange.refusal = problem.message
                body = problem.body(tei=exchange.dialect == "tei")
                answer = json_response(body, problem.status, problem.headers())
            if not exchange.streamed:
                exchange.finish(answer.status_code)
            return answer

        return Route(path, handle, methods=list(calls))

    def _finish(self, exchange: Exchange, path: str, status: int) -> None:
        """Count and log a request."""
        self.activity.end()
        self.metrics.count(path, exchange.dialect, status, exchange.seconds)
        self.log(exchange.log_line(status))

    def _failure(self, error: BaseException) -> ProblemError:
        if isinstance(error, ProblemError):
            return error
        if isinstance(error, ClosedError | asyncio.CancelledError):
            return ProblemError(503, "the server is shutting down", retry_after=5)
        if isinstance(error, EttinError):
            return ProblemError(500, error.problem)
        number = uuid.uuid4().hex[:12]
        self.reporter.notice(f"error {number}: {type(error).__name__}: {error}")
        return ProblemError(500, f"the server failed; its log has error {number}")

    async def _index(self, _exchange: Exchange) -> Answer:
        return {"name": "ettin", "version": __version__, "routes": self.paths}

    async def _health(self, _request: Request) -> Response:
        uptime = round(time.monotonic() - self.metrics.started, 3)
        return json_response({"status": "ok", "version": __version__, "uptime": uptime}, 200, {})

    async def _ready(self, _request: Request) -> Response:
        status = self.readiness.status
        return json_response({"status": status}, 200 if status == "ready" else 503, {})

    async def _metrics(self, policy: Policy, request: Request) -> Response:
        from starlette.responses import Response

        models = self.served.working
        loads = {(model.task, model.name): model.scheduler.load() for model in models}
        figures = self._figures() if policy.may_read(dict(request.headers)) else {}
        return Response(self.metrics.text(loads, figures), media_type=TYPE)

    def _figures(self) -> dict[str, dict[str, float]]:
        """Return the figures of each index, by its name."""
        watches = self.watches
        return {
            name: index.figures() | (watches[name].figures if name in watches else {})
            for name, index in self.served.indexes.items()
        }

    async def _not_found(self, request: Request, _: Exception) -> Response:
        near = _nearest(request.url.path, [path for path in self.paths if path != DOUBLED])
        hint = f"; did you mean {near}?" if near else ""
        problem = ProblemError(404, f"there is no {request.url.path[:200]}{hint}")
        return json_response(problem.body(), 404, {})

    async def _not_allowed(self, request: Request, error: Exception) -> Response:
        problem = ProblemError(405, f"{request.url.path} does not take {request.method}")
        headers = dict(getattr(error, "headers", None) or {})
        return json_response(problem.body(), 405, headers)


def _nearest(path: str, known: Sequence[str]) -> str | None:
    """Return the served path that was probably meant.

    A client appends its path to a base URL, which may have a part too many.

    >>> _nearest("/api/v2/rerank", ["/rerank", "/v2/rerank"])
    '/v2/rerank'
    """
    import difflib

    ends = [one for one in known if one != "/" and path.rstrip("/").endswith(one)]
    near = difflib.get_close_matches(path, known, 1, 0.3)
    return max(ends, key=len) if ends else next(iter(near), None)


async def _openapi(_request: Request) -> Response:
    from starlette.responses import FileResponse

    return FileResponse(Path(__file__).parent / "openapi.json", media_type="application/json")
