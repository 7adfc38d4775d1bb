"""The models of searches on a server: their work goes through the queues of the requests."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from ettin_cli.errors import ClosedError
from ettin_cli.index import Index
from ettin_cli.models.rerankers import (
    ComparesTokens,
    QueryVectors,
    ResolvedReranker,
    TokenEncoder,
)
from ettin_cli.records import (
    Advance,
    Embedder,
    EmbedderCard,
    Reranker,
    RerankerCard,
    Scores,
    Silence,
    TokenSink,
    no_progress,
)
from ettin_cli.runtime import Lock
from ettin_cli.searching import Models, QueryTokenEmbedder
from ettin_cli.serving.scheduler import Job, Scheduler
from ettin_cli.serving.served_models import Counted, ServedEmbedder, ServedReranker
from ettin_cli.settings import TRUNCATE

if TYPE_CHECKING:
    from ettin_cli.records import Flags, Floats

Result = TypeVar("Result")


class SearchTask:
    """A search of a request: the work that it waits for, and what is to be told of it.

    Args:
        warnings: Receives the notices of the search.
        jobs: The work that was queued for it.
    """

    def __init__(self, warnings: list[str]) -> None:
        self.warnings = warnings
        self.jobs: list[Job[Any]] = []
        self._waiting: tuple[Scheduler[Any], Job[Any]] | None = None
        self._ended = False
        self._lock = threading.Lock()

    def computed(self, scheduler: Scheduler[Result], counted: Counted) -> list[Result]:
        """Queue items, and return their results.

        Raises:
            ClosedError: The search has ended, or the server is shutting down.
        """
        with self._lock:
            self.require()
            job = scheduler.submit(counted.items, counted.tokens)
            self.jobs.append(job)
            self._waiting = scheduler, job
        return job.future.result()

    def require(self) -> None:
        """Check that the search is still wanted.

        Raises:
            ClosedError: It has ended.
        """
        if self._ended:
            raise ClosedError("the search has ended")

    def end(self) -> None:
        """Drop the work that is queued for the search, and refuse more."""
        with self._lock:
            self._ended = True
            if self._waiting:
                scheduler, job = self._waiting
                scheduler.cancel(job)


_TASK: ContextVar[SearchTask] = ContextVar("search")


@contextmanager
def searching(task: SearchTask) -> Iterator[None]:
    """Let the work of this thread be that of a search."""
    token = _TASK.set(task)
    try:
        yield
    finally:
        _TASK.reset(token)


class ScheduledReranker:
    """A reranker whose pairs are queued with those of other requests."""

    def __init__(self, served: ServedReranker) -> None:
        self.served = served

    @property
    def card(self) -> RerankerCard:
        """The description of the model."""
        return self.served.reranker.card

    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Return the scores of pairs, in their order."""
        import numpy as np

        counted = self.served.counted_pairs(list(pairs))
        scored = _TASK.get().computed(self.served.scheduler, counted)
        advance(len(pairs))
        return Scores(
            np.array([score.value for score in scored], np.float32),
            np.array([score.truncated for score in scored], np.bool_),
        )


class ScheduledEmbedder:
    """An embedder whose texts are queued with those of other requests."""

    def __init__(self, served: ServedEmbedder) -> None:
        self.served = served
        self.card: EmbedderCard = served.embedder.card
        self.backend = served.embedder.backend

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        return self._vectors(texts, queries=True)

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        vectors = self._vectors(texts, queries=False)
        advance(len(texts))
        return vectors

    def query_tokens(self, queries: Sequence[str]) -> list[QueryVectors]:
        """Return each query's token vectors and their weights, by a multi-vector model.

        Encoding a query takes milliseconds and does not queue.
        """
        return self._comparing().query_tokens(queries)

    def embed_tokens(
        self, texts: Sequence[str], sink: TokenSink, advance: Advance = no_progress
    ) -> tuple[Floats, Flags]:
        """Return the vectors of `embed_documents`, and which texts were truncated."""
        return self._comparing().embed_tokens(texts, sink, advance)

    def _comparing(self) -> QueryTokenEmbedder:
        model = self.served.embedder
        assert isinstance(model, QueryTokenEmbedder)
        return model

    def _vectors(self, texts: Sequence[str], *, queries: bool) -> Floats:
        import numpy as np

        counted = self.served.counted(texts, queries=queries)
        vectors = _TASK.get().computed(self.served.scheduler, counted)
        return np.stack(vectors) if vectors else np.empty((0, self.card.dimension), np.float32)


class ScheduledModels(Models):
    """The models that searches on a server use.

    Args:
        models: Loads them.
        rerankers: Those that requests may ask for.
    """

    def __init__(self, models: Models, rerankers: Iterable[ServedReranker]) -> None:
        super().__init__(models.settings, offline=models.offline, reporter=_TaskReporter())
        self.loading, self.loaded = models, models.loaded
        self.served_rerankers = list(rerankers)
        self.served_embedders: dict[EmbedderCard, ServedEmbedder] = {}
        self._lock = Lock()

    def reranker(self, resolved: ResolvedReranker, long: str = TRUNCATE) -> Reranker:
        """Return the served reranker, loaded."""
        served = next(one for one in self.served_rerankers if one.resolved is resolved)
        assert served.long == long
        return ScheduledReranker(served)

    def token_encoder(self, resolved: ResolvedReranker) -> TokenEncoder | None:
        """Return the loaded encoder of a served reranker that compares token vectors.

        A search encodes only its query with it, which takes milliseconds and does not queue.
        """
        served = next(one for one in self.served_rerankers if one.resolved is resolved)
        reranker = served.reranker
        return reranker.encoder if isinstance(reranker, ComparesTokens) else None

    def embedder_of(self, index: Index) -> Embedder:
        """Return the embedder that an index was made with, loaded.

        Raises:
            IndexMismatchError: The model's weights have changed since.
            ModelError: The embedder cannot be loaded.
        """
        card = index.manifest.embedder
        with self._lock:
            served = self.served_embedders.get(card)
            if served is None:
                model = self.loading.embedder_of(index)
                files = self.loading.find_embedder(card.name)
                served = ServedEmbedder(files, lambda: model)
                self.served_embedders[card] = served
        return ScheduledEmbedder(served)


class _TaskReporter(Silence):
    """Keeps the notices of a search with its answer."""

    def notice(self, message: str) -> None:
        """Keep a notice."""
        task = _TASK.get(None)
        if task and message not in task.warnings:
            task.warnings.append(message)
