"""The routes that search indexes, and that show what is in them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ettin_cli.errors import (
    CalibrationError,
    IndexDamagedError,
    IndexMismatchError,
    IndexNotFoundError,
    InvalidArgumentError,
)
from ettin_cli.records import Answer
from ettin_cli.searching import RerankerCascade, Searcher, parse_cascade
from ettin_cli.serving.documents import document_body
from ettin_cli.serving.exchange import Answer as Body, Exchange
from ettin_cli.serving.problems import ProblemError
from ettin_cli.serving.scheduled_models import SearchTask, searching
from ettin_cli.serving.search_answers import search_answer
from ettin_cli.serving.search_requests import (
    SearchRequest,
    lines_of,
    search_body,
    search_request,
)
from ettin_cli.serving.search_streams import SearchStream, Send, event
from ettin_cli.serving.served import Readiness, Served
from ettin_cli.serving.served_index import ServedIndex
from ettin_cli.serving.served_models import ServedReranker
from ettin_cli.serving.vector_stores import least_score, store_page, store_request
from ettin_cli.serving.watching import Watch

if TYPE_CHECKING:
    from starlette.responses import Response

Result = TypeVar("Result")
# Searches that run at the same time; each waits for the models most of the time.
SEARCHES = 64


class IndexRoutes:
    """Answers requests to the indexes of a server.

    Args:
        watches: What keeps indexes up to date, by their names.
    """

    def __init__(self, served: Served, readiness: Readiness, watches: Mapping[str, Watch]) -> None:
        self.served, self.readiness, self.watches = served, readiness, watches
        self._threads = ThreadPoolExecutor(SEARCHES, "search")

    async def search(self, exchange: Exchange) -> Body | Response:
        """Answer a search."""
        if exchange.request.method == "GET":
            body = search_body(exchange.request.query_params.multi_items())
        else:
            body = await exchange.body()
        return await self.answer(search_request(body), exchange)

    async def answer(self, asked: SearchRequest, exchange: Exchange) -> Body | Response:
        """Return the answer to a search, or a stream of its stages."""
        exchange.dialect = "ettin"
        exchange.warnings += asked.warnings
        searcher, index = await self._searcher(asked, exchange)
        if asked.stream:
            return await self._stream(asked, searcher, index, exchange)
        task = SearchTask(exchange.warnings)
        answers = []
        try:
            # One by one, so that a request of many does not hold a thread for long.
            for query in asked.queries:
                search = partial(_found, query, searcher, index, asked)
                with _index_problems():
                    found = asyncio.wrap_future(self._started(task, search))
                    answers.append(await exchange.until(found))
        finally:
            self._ended(task, exchange)
        if exchange.warnings:
            answers[0]["warnings"] = list(exchange.warnings)
        return {"answers": answers} if asked.many else answers[0]

    async def _searcher(
        self, asked: SearchRequest, exchange: Exchange
    ) -> tuple[Searcher, ServedIndex]:
        index = self.named(asked.index)
        await self.readiness.wait()
        rerankers = self._rerankers(asked.reranker)
        for served, _ in rerankers:
            exchange.admit(served.scheduler)
        cascade = None
        if rerankers:
            *before, (last, _) = rerankers
            cascade = RerankerCascade(last.resolved, [(one.resolved, keep) for one, keep in before])
        opened = asyncio.to_thread(index.searcher, cascade, asked.retriever, expand=asked.expand)
        with _index_problems():
            return await opened, index

    def named(self, name: str) -> ServedIndex:
        """Return the index of a name; without a name the first.

        Raises:
            ProblemError: There is none.
        """
        known = self.served.indexes
        if not known:
            raise ProblemError(404, "this server has no index; start it with -i INDEX")
        if name and name not in known:
            message = f"index {name[:100]!r} is not served; {', '.join(known)}"
            raise ProblemError(404, message, param="index")
        return known[name] if name else next(iter(known.values()))

    def _rerankers(self, name: str | None) -> list[tuple[ServedReranker, int]]:
        """Return the served rerankers of a name or a cascade, each with how many it keeps."""
        known = self.served.rerankers
        if name == "none" or not (name or known):
            return []
        if not name:
            return [(next(iter(known.values())), 0)]
        before, last = parse_cascade(name) if name not in known else ([], name)
        wanted = [*before, (last, 0)]
        for one, _ in wanted:
            if one not in known:
                message = f"reranker {one[:100]!r} is not served; {', '.join((*known, 'none'))}"
                raise ProblemError(404, message, param="reranker")
        return [(known[one], keep) for one, keep in wanted]

    def _started(self, task: SearchTask, work: Callable[[], Result]) -> Future[Result]:
        def run() -> Result:
            task.require()
            with searching(task):
                return work()

        return self._threads.submit(contextvars.copy_context().run, run)

    def _ended(self, task: SearchTask, exchange: Exchange) -> None:
        task.end()
        if task.jobs:
            exchange.job = max(task.jobs, key=lambda job: job.tokens)
            exchange.items = sum(len(job.results) for job in task.jobs)
            exchange.tokens = sum(job.tokens for job in task.jobs)

    async def _stream(
        self, asked: SearchRequest, searcher: Searcher, index: ServedIndex, exchange: Exchange
    ) -> Response:
        """Return the stages of a search as events."""
        from starlette.responses import StreamingResponse

        task = SearchTask(exchange.warnings)

        def start(send: Send) -> Future[None]:
            def sent(name: str, answer: Answer) -> None:
                send(name, _shown(answer, searcher, index, asked))

            def work() -> None:
                first = partial(sent, "retrieved")
                answer = searcher.search(asked.queries[0], **asked.options, retrieved=first)
                _note_unmatched(answer, searcher, asked)
                if searcher.rerankers is None:
                    first(answer)
                sent("reranked", answer)

            return self._started(task, work)

        search = SearchStream(start, exchange)
        stages = search.stages()
        try:
            with _index_problems():
                # What is wrong with the request is told by the status.
                beginning = await anext(stages)
        except BaseException:
            self._ended(task, exchange)
            raise

        async def written() -> AsyncIterator[bytes]:
            status = 200
            try:
                yield event(*beginning)
                async for stage in stages:
                    yield event(*stage)
            except Exception as error:
                problem = exchange.failure(error)
                status = problem.status
                yield event("error", problem.body())
            finally:
                self._ended(task, exchange)
                exchange.finish(status)

        exchange.streamed = True
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        return StreamingResponse(written(), media_type="text/event-stream", headers=headers)

    async def indexes(self, _exchange: Exchange) -> Body:
        """List the indexes."""
        described = []
        for index in self.served.indexes.values():
            try:
                described.append(await self._described(index))
            except ProblemError as problem:
                described.append(index.unavailable(problem.message))
        return {"object": "list", "data": described}

    async def index(self, exchange: Exchange) -> Body:
        """Describe an index."""
        return await self._described(self.named(exchange.request.path_params["name"]))

    async def _described(self, index: ServedIndex) -> dict[str, Any]:
        with _index_problems():
            described = await asyncio.to_thread(index.description)
        watch = self.watches.get(index.name)
        return {**described, "watch": watch.state if watch else None}

    async def document(self, exchange: Exchange) -> Body:
        """Show a document, or some lines of it, as it was indexed."""
        parameters = exchange.request.query_params
        index = self.named(parameters.get("index", ""))
        doc_id = exchange.request.path_params["doc_id"]
        with _index_problems():
            return await asyncio.to_thread(
                document_body, index, doc_id, lines_of(parameters.get("lines"))
            )

    async def stores(self, _exchange: Exchange) -> Body:
        """List the indexes as OpenAI lists vector stores."""
        listed_ = [
            {"id": name, "object": "vector_store", "name": name, "status": "completed"}
            for name in self.served.indexes
        ]
        return {"object": "list", "data": listed_, "has_more": False}

    async def search_store(self, exchange: Exchange) -> Body:
        """Answer a search as OpenAI's vector stores do."""
        name = exchange.request.path_params["name"]
        body = await exchange.body()
        asked, least = store_request(body, name), least_score(body)
        found = await self.answer(asked, exchange)
        assert isinstance(found, dict)
        exchange.dialect = "openai"
        return store_page(asked.queries, found["answers"] if asked.many else [found], least)


def _found(
    query: str, searcher: Searcher, index: ServedIndex, asked: SearchRequest
) -> dict[str, Any]:
    answer = searcher.search(query, **asked.options)
    _note_unmatched(answer, searcher, asked)
    return _shown(answer, searcher, index, asked)


def _note_unmatched(answer: Answer, searcher: Searcher, asked: SearchRequest) -> None:
    """Tell if there are no hits because nothing passes the filters, or no path matches."""
    filters, paths = asked.options["filters"], asked.options["paths"]
    if answer.hits or not (filters or paths):
        return
    reporter, index = searcher.models.reporter, searcher.index
    if filters and not len(index.select(filters, ())):
        reporter.notice("no document passes `filters`")
    if paths and not len(index.select((), paths)):
        reporter.notice("`path` matches no file: it is compared with paths below a source")


def _shown(
    answer: Answer, searcher: Searcher, index: ServedIndex, asked: SearchRequest
) -> dict[str, Any]:
    generation = searcher.index.manifest.generation
    return search_answer(answer, index.name, generation, asked.facets)


@contextmanager
def _index_problems() -> Iterator[None]:
    """Turn what is wrong with an index, or with the options of a search, into an answer."""
    try:
        yield
    except (InvalidArgumentError, CalibrationError) as error:
        argument = error.fields.get("argument")
        param = "path" if argument == "paths" else argument
        choices = error.fields.get("choices") or ()
        message = f"{error.problem}; {', '.join(choices)}" if choices else error.problem
        raise ProblemError(400, message, param=param) from error
    except IndexNotFoundError as error:
        raise ProblemError(404, error.problem, param="index") from error
    except (IndexDamagedError, IndexMismatchError) as error:
        raise ProblemError(503, error.problem, param="index") from error
