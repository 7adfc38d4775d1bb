"""The routes of the server: an ASGI application over the models of a session."""

from __future__ import annotations

import asyncio
import base64
import math
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ettin_cli import __version__
from ettin_cli.errors import ClosedError, EttinError
from ettin_cli.records import Reporter
from ettin_cli.serving.answers import Ranked, rerank_answer, scores_answer
from ettin_cli.serving.dialects import (
    MAX_DOCUMENTS,
    RerankRequest,
    asks_raw,
    dialect_of,
    pairs_of,
    rerank_request,
    strings_of,
)
from ettin_cli.serving.guard import Guard, Policy
from ettin_cli.serving.metrics import TYPE, Metrics
from ettin_cli.serving.problems import ProblemError, invalid
from ettin_cli.serving.scheduler import Job, Scheduler
from ettin_cli.serving.scores import Scale
from ettin_cli.serving.served_models import (
    Counted,
    Scored,
    ServedEmbedder,
    ServedReranker,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from ettin_cli.records import Floats

Result = TypeVar("Result")
Model = TypeVar("Model", ServedReranker, ServedEmbedder)
Answer = dict[str, Any] | list[Any]

RERANK = ("/rerank", "/v1/rerank", "/v2/rerank", "/v2/v2/rerank", "/reranking", "/v1/reranking")
SCORE = ("/score", "/v1/score")
EMBEDDINGS = ("/v1/embeddings", "/embeddings")
EMBED = ("/embed", "/v1/embed")
CLOSED_BY_CLIENT = 499
MAX_TOKENIZED, MAX_HEADER = 1_000_000, 4000


@dataclass(frozen=True, slots=True)
class Limits:
    """What requests may ask for.

    Args:
        max_wait: Seconds of queued work beyond which a request is refused.
        timeout: Seconds after which a request fails.
    """

    documents: int = MAX_DOCUMENTS
    max_wait: float = 120.0
    timeout: float = 300.0


@dataclass(frozen=True, slots=True)
class Served:
    """What a server offers: models by each of their names.

    A request that names no other gets the first.

    Args:
        scale: Of scores, where a request asks for no other.
        strict: Whether a request for another model is refused.
    """

    rerankers: Mapping[str, ServedReranker]
    embedders: Mapping[str, ServedEmbedder]
    scale: Scale = "sigmoid"
    limits: Limits = field(default_factory=Limits)
    strict: bool = False

    @property
    def models(self) -> list[ServedReranker | ServedEmbedder]:
        """Every model, once."""
        every: list[ServedReranker | ServedEmbedder] = [*self.rerankers.values()]
        every += self.embedders.values()
        return list({id(model): model for model in every}.values())

    def aliases(self, model: ServedReranker | ServedEmbedder) -> list[str]:
        """Return the names of a model."""
        named = (*self.rerankers.items(), *self.embedders.items())
        return [name for name, one in named if one is model]


@dataclass(slots=True)
class _Trace:
    """What is known of a request when it is logged."""

    dialect: str = "-"
    items: int = 0
    tokens: int = 0
    job: Job[Any] | None = None
    warnings: list[str] = field(default_factory=list)


class Application:
    """Answers requests.

    Args:
        reporter: Receives what happens to the models, and failures.
        log: Receives a line about each request.
    """

    def __init__(self, served: Served, reporter: Reporter, log: Callable[[str], None]) -> None:
        self.served, self.reporter, self.log = served, reporter, log
        self.metrics = Metrics()
        # Ends with what failed; "" if the models are loaded.
        self.loading: asyncio.Task[str]
        self.draining = False

    def asgi(self, policy: Policy) -> ASGIApp:
        """Return the application, behind its guard."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        post = [
            *((path, self._rerank) for path in RERANK),
            *((path, self._score) for path in SCORE),
            *((path, self._embeddings) for path in EMBEDDINGS),
            *((path, self._embed) for path in EMBED),
            ("/", self._rerank),
            ("/tokenize", self._tokenize),
        ]
        get = [
            ("/", self._index),
            ("/v1/models", self._models),
            ("/info", self._info),
            ("/embedding/info", self._embedding_info),
        ]
        routes = [
            *(Route(path, self._answered(call, policy), methods=["POST"]) for path, call in post),
            *(Route(path, self._answered(call, policy), methods=["GET"]) for path, call in get),
            Route("/health", self._health),
            Route("/ping", self._health),
            Route("/ready", self._ready),
            Route("/metrics", self._metrics),
        ]
        app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={404: self._not_found, 405: self._not_allowed},
        )
        self.paths = sorted({route.path for route in routes})
        return Guard(app, policy, self._refused)

    def _refused(self, method: str, path: str, problem: ProblemError) -> None:
        self.metrics.count_rejected(f"status {problem.status}")
        self.log(f"refused {method} {path[:100]!a}: {problem.message}")

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[None]:
        self.loading = asyncio.create_task(self._load())
        yield
        self.draining = True
        self.loading.cancel()
        for model in self.served.models:
            model.scheduler.close()

    async def _load(self) -> str:
        """Load the models, so that the first request need not wait for it; return what failed."""
        try:
            for model in self.served.models:
                backend = await asyncio.to_thread(model.load)
                self.reporter.notice(f"{model.name} is loaded: {backend}")
        except Exception as error:
            named = f"{type(error).__name__}: {error}"
            failure = error.problem if isinstance(error, EttinError) else named
            self.reporter.notice(f"a model cannot be loaded: {failure}")
            return failure
        return ""

    def _unloaded(self) -> str:
        """Return why the models cannot be used; empty if they can."""
        return self.loading.result() if self.loading.done() else "the models are being loaded"

    def _answered(
        self, call: Callable[[Request, _Trace], Awaitable[Answer]], policy: Policy
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler that turns failures into answers, counts and logs."""

        async def handle(request: Request) -> Response:
            trace, begin = _Trace(), time.monotonic()
            request.state.policy = policy
            headers: dict[str, str] = {}
            try:
                answer, status = await call(request, trace), 200
                headers = _timing(trace, time.monotonic() - begin)
                if trace.warnings:
                    headers["x-ettin-warning"] = "; ".join(trace.warnings)[:MAX_HEADER]
            except ProblemError as problem:
                answer, status = problem.body(tei=trace.dialect == "tei"), problem.status
                headers = problem.headers()
            except Exception as error:
                answer, status = self._failed(error, trace)
            seconds = time.monotonic() - begin
            self.metrics.count(request.url.path, trace.dialect, status, seconds)
            self._log(request, trace, status, seconds)
            return _json(answer, status, headers)

        return handle

    def _failed(self, error: Exception, trace: _Trace) -> tuple[Answer, int]:
        if isinstance(error, ClosedError):
            problem = ProblemError(503, "the server is shutting down", retry_after=5)
        elif isinstance(error, EttinError):
            problem = ProblemError(500, error.problem)
        else:
            number = uuid.uuid4().hex[:12]
            self.reporter.notice(f"error {number}: {type(error).__name__}: {error}")
            problem = ProblemError(500, f"the server failed; its log has error {number}")
        return problem.body(tei=trace.dialect == "tei"), problem.status

    def _log(self, request: Request, trace: _Trace, status: int, seconds: float) -> None:
        client = request.client.host if request.client else "-"
        waited = trace.job.waited if trace.job and trace.job.waited else 0.0
        self.log(
            f"{client} {request.method} {request.url.path} {trace.dialect} {status} "
            f"{trace.items:,} items {trace.tokens:,} tokens, queued {waited:.3f} s, {seconds:.3f} s"
        )

    async def _rerank(self, request: Request, trace: _Trace) -> Answer:
        body = await _body(request)
        trace.dialect = dialect_of(body)
        asked = await asyncio.to_thread(rerank_request, body, self.served.limits.documents)
        model = self._reranker(asked.model, trace)
        trace.warnings += asked.warnings
        await self._admit(model.scheduler)
        counted = await asyncio.to_thread(model.counted, asked.query, asked.texts, asked.max_tokens)
        scores = await self._computed(model.scheduler, counted, request, trace, asked.priority)
        return self._ranked(asked, model, counted, scores, trace)

    def _ranked(
        self,
        asked: RerankRequest,
        model: ServedReranker,
        counted: Counted,
        scores: Sequence[Scored],
        trace: _Trace,
    ) -> Answer:
        cut = counted.cut | {at for at, score in enumerate(scores) if score.truncated}
        self.metrics.count_cut(len(cut))
        limit = min(asked.max_tokens or model.limit, model.limit)
        if cut:
            texts = f"{len(cut):,} of {len(scores):,} documents"
            trace.warnings.append(f"{texts} were cut at {limit:,} tokens")
        ranked = Ranked(
            model=model.name,
            values=[score.value for score in scores],
            scale=self._scale(asked.raw),
            cut=cut,
            tokens=sum(counted.tokens),
            warnings=trace.warnings,
        )
        return rerank_answer(asked, ranked)

    def _scale(self, raw: bool | None) -> Scale:
        """Return the scale of the scores of a request, which may ask for raw ones."""
        if raw is None:
            return self.served.scale
        return "raw" if raw else "sigmoid"

    async def _score(self, request: Request, trace: _Trace) -> Answer:
        body = await _body(request)
        trace.dialect = "vllm"
        queries, texts = pairs_of(body, self.served.limits.documents)
        model = self._reranker(_model(body), trace)
        await self._admit(model.scheduler)
        pairs = list(zip(queries, texts, strict=True))
        counted = await asyncio.to_thread(model.counted_pairs, pairs)
        scores = await self._computed(model.scheduler, counted, request, trace)
        values = [score.value for score in scores]
        tokens = sum(counted.tokens)
        return scores_answer(model.name, values, self._scale(asks_raw(body)), tokens)

    async def _embeddings(self, request: Request, trace: _Trace) -> Answer:
        body = await _body(request)
        trace.dialect = "openai"
        texts = strings_of(body, "input", self.served.limits.documents)
        encoding = body.get("encoding_format") or "float"
        if encoding not in ("float", "base64"):
            raise invalid("`encoding_format` must be float or base64", "encoding_format")
        model = self._embedder(_model(body), trace)
        self._require_loaded()
        size, own = body.get("dimensions"), model.embedder.card.dimension
        if size not in (None, own):
            raise invalid(f"`dimensions` must be {own} for {model.name}", "dimensions")
        vectors, tokens = await self._vectors(model, texts, body, request, trace)
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": at, "embedding": _encoded(vector, encoding)}
                for at, vector in enumerate(vectors)
            ],
            "model": model.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    async def _embed(self, request: Request, trace: _Trace) -> Answer:
        body = await _body(request)
        trace.dialect = "tei"
        texts = strings_of(body, "inputs", self.served.limits.documents)
        if body.get("normalize") is False:
            raise invalid("`normalize` must be true: vectors have the length 1", "normalize")
        model = self._embedder(_model(body), trace)
        vectors, _ = await self._vectors(model, texts, body, request, trace)
        return [vector.tolist() for vector in vectors]

    async def _vectors(
        self,
        model: ServedEmbedder,
        texts: list[str],
        body: Mapping[str, Any],
        request: Request,
        trace: _Trace,
    ) -> tuple[list[Floats], int]:
        role = body.get("input_type") or body.get("prompt_name")
        queries = isinstance(role, str) and role.lower() in ("query", "search_query")
        await self._admit(model.scheduler)
        counted = await asyncio.to_thread(lambda: model.counted(texts, queries=queries))
        vectors = await self._computed(model.scheduler, counted, request, trace)
        return vectors, sum(counted.tokens)

    async def _tokenize(self, request: Request, trace: _Trace) -> Answer:
        body = await _body(request)
        trace.dialect = "tei"
        texts = strings_of(body, "inputs", self.served.limits.documents)
        special = body.get("add_special_tokens", True) is not False
        if sum(map(len, texts)) > MAX_TOKENIZED:
            message = f"`inputs` has more than {MAX_TOKENIZED:,} characters"
            raise ProblemError(413, message, param="inputs")
        model = self._reranker(_model(body), trace)
        self._require_loaded()
        return await asyncio.to_thread(model.tokenized, texts, special=special)

    async def _admit(self, scheduler: Scheduler[Any]) -> None:
        """Wait for the models, and for a queue that is not too long.

        Raises:
            ProblemError: The models are not loaded in time, or the queue is too long.
        """
        limits = self.served.limits
        await asyncio.wait([self.loading], timeout=limits.timeout)
        self._require_loaded()
        seconds = scheduler.load().seconds
        if seconds > limits.max_wait:
            self.metrics.count_rejected("queue")
            message = f"the queue takes {seconds:.0f} s, more than {limits.max_wait:.0f} s"
            raise ProblemError(429, message, retry_after=math.ceil(seconds - limits.max_wait))

    async def _computed(
        self,
        scheduler: Scheduler[Result],
        counted: Counted,
        request: Request,
        trace: _Trace,
        priority: int = 0,
    ) -> list[Result]:
        """Return the results of items, unless the queue is too long or the client leaves.

        Raises:
            ProblemError: There are none.
        """
        limits = self.served.limits
        job = scheduler.submit(counted.items, counted.tokens, priority=priority)
        trace.job, trace.items, trace.tokens = job, len(counted.items), job.tokens
        try:
            return await _unless_left(job.future, request, limits.timeout)
        except TimeoutError:
            self.metrics.count_rejected("timeout")
            message = f"the request took more than {limits.timeout:.0f} s (--timeout)"
            raise ProblemError(504, message) from None
        finally:
            scheduler.cancel(job)

    def _reranker(self, name: str, trace: _Trace) -> ServedReranker:
        """Return the reranker of a name, else the first, with a warning."""
        known = self.served.rerankers
        if not known:
            raise ProblemError(404, "this server has no reranker; start it with -r MODEL")
        return known[name] if name in known else self._first(name, known, trace)

    def _embedder(self, name: str, trace: _Trace) -> ServedEmbedder:
        """Return the embedder of a name, else the first, with a warning."""
        known = self.served.embedders
        if not known:
            raise ProblemError(404, "this server has no embedder; start it with --embedder MODEL")
        return known[name] if name in known else self._first(name, known, trace)

    def _first(self, name: str, known: Mapping[str, Model], trace: _Trace) -> Model:
        first = next(iter(known.values()))
        if name and self.served.strict:
            message = f"model {name[:100]!r} is not served; {', '.join(known)}"
            raise ProblemError(404, message, param="model")
        if name:
            trace.warnings.append(f"model {name[:100]!a} is not served: {first.name} answers")
        return first

    async def _index(self, _request: Request, _trace: _Trace) -> Answer:
        return {"name": "ettin", "version": __version__, "routes": self.paths}

    async def _models(self, _request: Request, _trace: _Trace) -> Answer:
        created = int(time.time() - (time.monotonic() - self.metrics.started))
        listed = [
            {
                "id": model.name,
                "object": "model",
                "created": created,
                "owned_by": "ettin",
                "capabilities": [model.task],
                "max_tokens": None if self._unloaded() else model.limit,
                "aliases": self.served.aliases(model),
                **(
                    {"score": {"scale": self.served.scale}}
                    if isinstance(model, ServedReranker)
                    else {}
                ),
            }
            for model in self.served.models
        ]
        return {"object": "list", "data": listed}

    async def _info(self, request: Request, _trace: _Trace) -> Answer:
        if not self.served.rerankers:
            return await self._embedding_info(request, _trace)
        model = self._reranker("", _trace)
        self._require_loaded()
        kind = {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
        return self._facts(
            model.name, model.revision, model.reranker.card.backend, kind, model.limit
        )

    async def _embedding_info(self, _request: Request, _trace: _Trace) -> Answer:
        model = self._embedder("", _trace)
        self._require_loaded()
        kind: dict[str, Any] = {"embedding": {"pooling": "unknown"}}
        return self._facts(
            model.name, model.files.revision, model.embedder.backend, kind, model.limit
        )

    def _facts(
        self, name: str, revision: str | None, backend: str, kind: Answer, limit: int
    ) -> Answer:
        limits = self.served.limits
        return {
            "model_id": name,
            "model_sha": revision,
            "model_dtype": backend.split()[-1],
            "model_type": kind,
            "max_concurrent_requests": None,
            "max_input_length": limit,
            "max_batch_tokens": None,
            "max_batch_requests": None,
            "max_client_batch_size": limits.documents,
            "auto_truncate": True,
            "tokenization_workers": 1,
            "version": __version__,
            "sha": None,
            "docker_label": None,
            "ettin": {"backend": backend, "scores": self.served.scale},
        }

    def _require_loaded(self) -> None:
        if reason := self._unloaded():
            raise ProblemError(503, reason, retry_after=1)

    async def _health(self, _request: Request) -> Response:
        uptime = round(time.monotonic() - self.metrics.started, 3)
        return _json({"status": "ok", "version": __version__, "uptime": uptime}, 200, {})

    async def _ready(self, _request: Request) -> Response:
        reason = "draining" if self.draining else "loading"
        if self.loading.done() and not self.draining:
            reason = self.loading.result()
        return _json({"status": reason or "ready"}, 503 if reason else 200, {})

    async def _metrics(self, _request: Request) -> Response:
        from starlette.responses import Response

        models = self.served.models
        loads = {(model.task, model.name): model.scheduler.load() for model in models}
        return Response(self.metrics.text(loads), media_type=TYPE)

    async def _not_found(self, request: Request, _: Exception) -> Response:
        import difflib

        near = difflib.get_close_matches(request.url.path, self.paths, 1, 0.3)
        hint = f"; did you mean {near[0]}?" if near else ""
        problem = ProblemError(404, f"there is no {request.url.path[:200]}{hint}")
        return _json(problem.body(), 404, {})

    async def _not_allowed(self, request: Request, error: Exception) -> Response:
        problem = ProblemError(405, f"{request.url.path} does not take {request.method}")
        return _json(problem.body(), 405, dict(getattr(error, "headers", None) or {}))


async def _body(request: Request) -> dict[str, Any]:
    """Return the JSON object that was sent.

    Raises:
        ProblemError: It is none, or too large.
    """
    import orjson
    from starlette.requests import ClientDisconnect

    policy: Policy = request.state.policy
    pieces, size = [], 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > policy.max_body:
                raise policy.too_large()
            pieces.append(piece)
        body = orjson.loads(b"".join(pieces))
    except ClientDisconnect:
        raise ProblemError(CLOSED_BY_CLIENT, "the client has closed the connection") from None
    except orjson.JSONDecodeError as error:
        raise invalid(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object")
    return body


def _model(body: Mapping[str, Any]) -> str:
    name = body.get("model")
    return name if isinstance(name, str) else ""


async def _unless_left(future: Future[Result], request: Request, timeout: float) -> Result:
    """Return a result, unless the client closes the connection before.

    Raises:
        ProblemError: It did.
        TimeoutError: It takes too long.
    """
    result: asyncio.Future[Any] = asyncio.wrap_future(future)
    left: asyncio.Future[Any] = asyncio.create_task(_left(request))
    try:
        await asyncio.wait([result, left], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            found: Result = result.result()
            return found
        if left.done():
            raise ProblemError(CLOSED_BY_CLIENT, "the client has closed the connection")
        raise TimeoutError
    finally:
        left.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _encoded(vector: Floats, encoding: str) -> object:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()


def _timing(trace: _Trace, seconds: float) -> dict[str, str]:
    """Return the headers that tell where the time went."""
    waited = (trace.job.waited or 0.0) if trace.job else 0.0
    computed = trace.job.computed if trace.job else 0.0
    return {
        "x-total-time": f"{1000 * seconds:.0f}",
        "x-queue-time": f"{1000 * waited:.0f}",
        "x-inference-time": f"{1000 * computed:.0f}",
        "x-compute-tokens": str(trace.tokens),
        "server-timing": f"queue;dur={1000 * waited:.1f}, rerank;dur={1000 * computed:.1f}",
    }


def _json(answer: Answer, status: int, headers: Mapping[str, str]) -> Response:
    import orjson
    from starlette.responses import Response

    safe = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
    return Response(orjson.dumps(answer), status, {**safe, **headers}, "application/json")
