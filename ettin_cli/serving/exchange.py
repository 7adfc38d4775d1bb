"""One request and its answer: the body, the client that may leave, and what is logged."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ettin_cli.serving.dialects import MAX_DOCUMENTS
from ettin_cli.serving.guard import Policy
from ettin_cli.serving.metrics import Metrics
from ettin_cli.serving.problems import ProblemError, invalid
from ettin_cli.serving.scheduler import Job, Scheduler
from ettin_cli.serving.served_models import Counted
from ettin_cli.text import inert_line

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Result = TypeVar("Result")
Answer = dict[str, Any] | list[Any]

CLOSED_BY_CLIENT = 499
MAX_HEADER = 4000
# Seconds for the body of a request.
BODY_S = 60.0
# Bytes of a body that is read and counted in less time than a change of threads takes.
SMALL = 16 * 1024


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


@dataclass(slots=True)
class Exchange:
    """A request that is being answered, and what is known of it when it is logged.

    Args:
        failure: Returns what a client is told of an error.
        finish: Counts and logs the request, with its status.
        streamed: Whether the answer is still being sent when its handler returns.
        refusal: Why the request was refused, or failed.
    """

    request: Request
    policy: Policy
    limits: Limits
    metrics: Metrics
    failure: Callable[[BaseException], ProblemError]
    finish: Callable[[int], None] = lambda status: None
    streamed: bool = False
    refusal: str = ""
    begun: float = field(default_factory=time.monotonic)
    dialect: str = "-"
    items: int = 0
    tokens: int = 0
    job: Job[Any] | None = None
    warnings: list[str] = field(default_factory=list)
    size: int = 0

    @property
    def seconds(self) -> float:
        """The time since the request was received."""
        return time.monotonic() - self.begun

    async def aside(self, call: Callable[[], Result]) -> Result:
        """Return what a call returns; of a large body in a thread, not to hold up other requests.

        Each change of threads costs milliseconds on a busy machine.
        """
        return call() if self.size <= SMALL else await asyncio.to_thread(call)

    async def body(self) -> dict[str, Any]:
        """Return the JSON object that was sent.

        Raises:
            ProblemError: It is none, too large, or not sent in time.
        """
        import orjson

        content = await received(self.request, self.policy)
        self.size = len(content)
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise invalid(f"the body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise invalid("the body must be a JSON object")
        return body

    def admit(self, scheduler: Scheduler[Any]) -> None:
        """Check that the queue of a model is not too long.

        Raises:
            ProblemError: It is.
        """
        limit, seconds = self.limits.max_wait, scheduler.load().seconds
        if seconds > limit:
            self.metrics.count_rejected("queue")
            message = f"the queue takes {seconds:.0f} s, more than {limit:.0f} s"
            raise ProblemError(429, message, retry_after=math.ceil(seconds - limit))

    async def computed(
        self, scheduler: Scheduler[Result], counted: Counted, priority: int = 0
    ) -> list[Result]:
        """Return the results of items.

        Raises:
            ProblemError: The client has left, or it takes too long.
        """
        job = scheduler.submit(counted.items, counted.tokens, priority=priority)
        self.job, self.items, self.tokens = job, len(counted.items), job.tokens
        try:
            return await self.until(asyncio.wrap_future(job.future))
        finally:
            scheduler.cancel(job)

    async def until(self, result: asyncio.Future[Result]) -> Result:
        """Return a result, unless the client closes the connection before.

        Raises:
            ProblemError: It did, or it takes too long.
        """
        left: asyncio.Future[Any] = asyncio.create_task(self._left())
        result.add_done_callback(read_outcome)
        try:
            remaining = self.limits.timeout - self.seconds
            await asyncio.wait(
                [result, left], timeout=max(0.0, remaining), return_when=asyncio.FIRST_COMPLETED
            )
            if result.done():
                return result.result()
            if left.done():
                raise _left_early()
            raise self.too_slow()
        finally:
            left.cancel()

    def too_slow(self) -> ProblemError:
        """Return the problem of a request that takes too long."""
        self.metrics.count_rejected("timeout")
        return ProblemError(504, f"the request took more than {self.limits.timeout:.0f} s")

    async def _left(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass

    def log_line(self, status: int) -> str:
        """Return a line about the request, without its texts."""
        request = self.request
        client = request.client.host if request.client else "-"
        waited = self.job.waited if self.job and self.job.waited else 0.0
        return (
            f"{client} {request.method} {request.url.path} {self.dialect} {status} "
            f"{self.items:,} items {self.tokens:,} tokens, queued {waited:.3f} s, "
            f"{self.seconds:.3f} s"
            f"{': ' if self.refusal else ''}{self.refusal}"
        )

    def headers(self) -> dict[str, str]:
        """Return the headers that tell where the time went, and the warnings."""
        waited = (self.job.waited or 0.0) if self.job else 0.0
        computed = self.job.computed if self.job else 0.0
        warning = inert_line("; ".join(self.warnings)).encode("ascii", "backslashreplace")
        warned = {"x-ettin-warning": warning.decode()[:MAX_HEADER]}
        return {
            "x-total-time": f"{1000 * self.seconds:.0f}",
            "x-queue-time": f"{1000 * waited:.0f}",
            "x-inference-time": f"{1000 * computed:.0f}",
            "x-compute-tokens": str(self.tokens),
            "server-timing": f"queue;dur={1000 * waited:.1f}, rerank;dur={1000 * computed:.1f}",
            **(warned if self.warnings else {}),
        }


def read_outcome(future: asyncio.Future[Any]) -> None:
    """Read the outcome of a future that may have no reader any more; else asyncio logs it."""
    if not future.cancelled():
        future.exception()


async def received(request: Request, policy: Policy) -> bytes:
    """Return the body that was sent.

    Raises:
        ProblemError: It is too large, or not sent in time.
    """
    from starlette.requests import ClientDisconnect

    content = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                content += piece
                if len(content) > policy.max_body:
                    raise policy.too_large()
    except TimeoutError:
        message = f"the body was not sent within {BODY_S:.0f} s"
        raise ProblemError(408, message) from None
    except ClientDisconnect:
        raise _left_early() from None
    return bytes(content)


def _left_early() -> ProblemError:
    return ProblemError(CLOSED_BY_CLIENT, "the client has closed the connection")


def json_response(answer: Answer, status: int, headers: Mapping[str, str]) -> Response:
    """Return a response of JSON."""
    import orjson
    from starlette.responses import Response

    safe = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
    return Response(orjson.dumps(answer), status, {**safe, **headers}, "application/json")
