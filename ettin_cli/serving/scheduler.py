"""Share one model among requests: fairly, and with the results that each would get alone.

Requests hand in items of two strings, such as a query and a text. One thread computes them in
batches that mix requests. The next batch begins with the request that has been served the fewest
tokens, so that a short request passes a long one: least attained service (Nuyens and Wierman,
2008). An item that several requests wait for is computed once.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ettin_cli.errors import ClosedError

Item = tuple[str, str]
Result = TypeVar("Result")

# A batch takes from one to two times so long, which a new request waits at most before its turn: as
# long as ten documents take with a small model.
BATCH_SECONDS = 0.04
# The least tokens of a full batch, and of one that ends a request: smaller ones cost more than they
# save.
LEAST_TOKENS, END_TOKENS = 2048, 1024
# Results that are remembered, for a client that asks the same again.
REMEMBERED = 20_000
# The share of the last batch in the measured pace.
SMOOTHING = 0.3


@dataclass(slots=True, eq=False)
class _Entry:
    """An item that is queued or being computed, and who waits for it.

    Args:
        taken: Whether it is being computed.
    """

    item: Item
    tokens: int
    taken: bool = False
    waiters: list[tuple[Job[Any], int]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Job(Generic[Result]):
    """The items of one request.

    Args:
        future: Gets the results, in the order of the items, or the error.
        tokens: Tokens of all items.
        queue: The items that are not computed yet, longest first.
        served: Tokens that were computed for it.
        waited: Seconds from its submission to its first batch; None before that.
        computed: Seconds of the batches that it took part in.
    """

    future: Future[list[Result]]
    results: list[Result | None]
    tokens: int
    number: int
    priority: int
    submitted: float
    missing: int
    queue: deque[_Entry] = field(default_factory=deque)
    served: int = 0
    waited: float | None = None
    computed: float = 0.0

    def rank(self) -> tuple[int, int, int]:
        """Return its place in the queue: lower is served first."""
        return self.priority, self.served, self.number


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a scheduler is.

    Args:
        pace: Tokens a second; 0.0 before the first large batch.
        computed: Items that were computed.
        shared: Items that were not, as another request had them computed.
        cancelled: Items of requests that were cancelled.
    """

    jobs: int
    items: int
    tokens: int
    pace: float
    computed: int
    computed_tokens: int
    shared: int
    cancelled: int

    @property
    def seconds(self) -> float:
        """The time that the queue will take; 0.0 if the pace is unknown."""
        return self.tokens / self.pace if self.pace else 0.0


class Scheduler(Generic[Result]):
    """Computes the items of many requests with one model.

    Args:
        compute: Returns the result of each item. An item's result must not depend on the others.
        name: Of the thread.
    """

    def __init__(self, compute: Callable[[list[Item]], Sequence[Result]], name: str) -> None:
        self._compute = compute
        self._wake = threading.Condition()
        self._jobs: dict[int, Job[Result]] = {}
        self._entries: dict[Item, _Entry] = {}
        self._known: OrderedDict[bytes, Result] = OrderedDict()
        self._count = self._items = self._tokens = 0
        self._pace, self._most = 0.0, LEAST_TOKENS
        self._computed = self._computed_tokens = self._shared = self._cancelled = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(
        self, items: Sequence[Item], tokens: Sequence[int], *, priority: int = 0
    ) -> Job[Result]:
        """Queue the items of a request.

        Args:
            tokens: The cost of each item.
            priority: A lower one is served first.

        Raises:
            ClosedError: The scheduler is closed.
        """
        with self._wake:
            if self._closed:
                raise ClosedError("the server is shutting down")
            self._count += 1
            job: Job[Result] = Job(
                future=Future(),
                results=[None] * len(items),
                tokens=sum(tokens),
                number=self._count,
                priority=priority,
                submitted=time.monotonic(),
                missing=len(items),
            )
            order = sorted(range(len(items)), key=lambda at: -tokens[at])
            for at in order:
                self._add(job, at, items[at], tokens[at])
            if job.missing:
                self._jobs[job.number] = job
                self._wake.notify()
            else:
                job.future.set_result(job.results)  # type: ignore[arg-type]
        return job

    def cancel(self, job: Job[Result]) -> None:
        """Remove a request; what is being computed for it is completed."""
        with self._wake:
            if self._jobs.pop(job.number, None) is None:
                return
            self._cancelled += job.missing
            self._forget(job)
            job.future.cancel()

    def load(self) -> Load:
        """Return how busy it is."""
        with self._wake:
            return Load(
                jobs=len(self._jobs),
                items=self._items,
                tokens=self._tokens,
                pace=self._pace,
                computed=self._computed,
                computed_tokens=self._computed_tokens,
                shared=self._shared,
                cancelled=self._cancelled,
            )

    def close(self) -> None:
        """Fail what is queued, and end the thread after its batch."""
        with self._wake:
            self._closed = True
            for job in list(self._jobs.values()):
                self._fail(job, ClosedError("the server is shutting down"))
            self._wake.notify()

    def _add(self, job: Job[Result], at: int, item: Item, tokens: int) -> None:
        digest = _digest(item)
        if digest in self._known:
            self._known.move_to_end(digest)
            job.results[at] = self._known[digest]
            job.missing -= 1
            self._shared += 1
            return
        entry = self._entries.get(item)
        if entry is None:
            entry = self._entries[item] = _Entry(item, tokens)
            self._items += 1
            self._tokens += tokens
        else:
            self._shared += 1
        entry.waiters.append((job, at))
        if not entry.taken:
            # In every queue of those that wait for it, as one of them may be cancelled.
            job.queue.append(entry)

    def _forget(self, job: Job[Result]) -> None:
        """Drop the queued items that only this request waits for."""
        for entry in job.queue:
            entry.waiters = [waiter for waiter in entry.waiters if waiter[0] is not job]
            if not entry.waiters and not entry.taken:
                del self._entries[entry.item]
                self._items -= 1
                self._tokens -= entry.tokens
        job.queue.clear()

    def _fail(self, job: Job[Result], error: Exception) -> None:
        if self._jobs.pop(job.number, None) is not None:
            self._forget(job)
            job.future.set_exception(error)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._jobs and not self._closed:
                    self._wake.wait()
                if self._closed:
                    return
                batch = self._batch()
            if batch:
                self._serve(batch)

    def _batch(self) -> list[_Entry]:
        """Take the next items off the queues, until they have about the tokens of a batch.

        A batch with the last items of a request is smaller, so that the request need not wait for
        many items of others.
        """
        most = self._most
        now = time.monotonic()
        ranked = [(job.rank(), job) for job in self._jobs.values()]
        heapq.heapify(ranked)
        batch: list[_Entry] = []
        tokens = 0
        while ranked and (not batch or tokens < most):
            _, job = heapq.heappop(ranked)
            while job.queue and (not batch or tokens + job.queue[0].tokens <= most):
                entry = job.queue.popleft()
                if entry.taken:
                    # For another request that waits for it.
                    continue
                entry.taken = True
                batch.append(entry)
                tokens += entry.tokens
                job.served += entry.tokens
                if job.waited is None:
                    job.waited = now - job.submitted
            if job.queue:
                break
            most = max(END_TOKENS, self._most // 2)
        return batch

    def _serve(self, batch: list[_Entry]) -> None:
        begin = time.monotonic()
        try:
            results = list(self._compute([entry.item for entry in batch]))
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} texts")
        except Exception as error:
            self._retry(batch, error)
            return
        seconds = time.monotonic() - begin
        with self._wake:
            tokens = self._measure(batch, seconds)
            for entry, result in zip(batch, results, strict=True):
                self._deliver(entry, result, seconds * entry.tokens / tokens)

    def _measure(self, batch: list[_Entry], seconds: float) -> int:
        tokens = max(1, sum(entry.tokens for entry in batch))
        pace = tokens / max(seconds, 1e-6)
        # A small batch is slower than those in which a long queue is computed.
        if tokens >= END_TOKENS:
            self._pace = (1 - SMOOTHING) * self._pace + SMOOTHING * pace if self._pace else pace
        self._computed += len(batch)
        self._computed_tokens += tokens
        # A batch has costs of its own, so its size follows its time and not the pace.
        if seconds > 2 * BATCH_SECONDS:
            self._most = max(LEAST_TOKENS, self._most // 2)
        elif seconds < BATCH_SECONDS and 2 * tokens > self._most:
            self._most *= 2
        return tokens

    def _done(self, entry: _Entry) -> None:
        del self._entries[entry.item]
        self._items -= 1
        self._tokens -= entry.tokens

    def _deliver(self, entry: _Entry, result: Result, seconds: float) -> None:
        self._done(entry)
        self._known[_digest(entry.item)] = result
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        for job, at in entry.waiters:
            job.results[at] = result
            job.missing -= 1
            job.computed += seconds / len(entry.waiters)
            if not job.missing and self._jobs.pop(job.number, None) is not None:
                job.future.set_result(job.results)

    def _retry(self, batch: list[_Entry], error: Exception) -> None:
        """Compute the items of a batch that failed one by one, to fail only the right requests."""
        # It may have been too large for the memory.
        self._most = max(LEAST_TOKENS, self._most // 2)
        for entry in batch:
            failure: Exception | None = error
            if len(batch) > 1:
                try:
                    [result] = self._compute([entry.item])
                    failure = None
                except Exception as own:
                    failure = own
            with self._wake:
                if failure is None:
                    self._deliver(entry, result, 0.0)
                    continue
                self._done(entry)
                for job, _ in entry.waiters:
                    self._fail(job, failure)


def _digest(item: Item) -> bytes:
    import xxhash

    first, second = item
    content = f"{len(first)} {first}{second}"
    return xxhash.xxh3_128(content.encode("utf-8", "surrogatepass")).digest()
