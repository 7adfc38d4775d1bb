"""The models of the daemon, for the commands that it runs: over a socket of its user alone.

Requests are messages of `client.wire`. Pairs and texts go through the scheduler of their model,
together with requests over HTTP.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ettin_cli.client import receive, send
from ettin_cli.errors import EttinError, InvalidArgumentError
from ettin_cli.models.rerankers import ComparesTokens, KnowsRarity, TokenEncoder
from ettin_cli.records import Reporter
from ettin_cli.serving import Activity, ServedEmbedder, ServedReranker

if TYPE_CHECKING:
    from ettin_cli.serving import Job, Scheduler

Served = ServedReranker | ServedEmbedder
Answer = tuple[dict[str, Any], bytes]
# A client hears so often from a request that takes longer.
PROGRESS_S = 0.2


class ModelServer:
    """Answers the commands of the daemon, each in a thread of its own.

    Args:
        held: The models, by their keys.
        notices: What was reported when each was loaded.
        control: Answers what is not about a model, such as `status`.
    """

    def __init__(
        self,
        listener: socket.socket,
        held: dict[str, Served],
        notices: dict[str, list[str]],
        activity: Activity,
        reporter: Reporter,
        control: Callable[[str], dict[str, Any]],
    ) -> None:
        self.listener, self.held, self.notices = listener, held, notices
        self.activity, self.reporter, self.control = activity, reporter, control

    def start(self) -> None:
        """Accept connections from now on."""
        threading.Thread(target=self._accept, name="models", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                if self.listener.fileno() < 0:
                    return
                # Too many files are open.
                time.sleep(PROGRESS_S)
                continue
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        # A client that goes away, or is none of ours, ends its thread.
        with connection, suppress(OSError, ValueError, KeyError, TypeError):
            while True:
                request, _, _ = receive(connection)
                try:
                    header, content = self._answered(request, connection)
                except EttinError as error:
                    header, content = {"error": error.problem}, b""
                except (OSError, ValueError, KeyError, TypeError):
                    raise
                except Exception as error:
                    self.reporter.notice(f"{type(error).__name__}: {error}")
                    header, content = {"error": str(error)}, b""
                send(connection, header, content)

    def _answered(self, request: dict[str, Any], connection: socket.socket) -> Answer:
        what = request["what"]
        if what not in ("find", "score", "embed", "cut", "queries", "rarity"):
            return self.control(what), b""
        model = self.held.get(request["key"])
        if model is None:
            return {"error": "the model is not held"}, b""
        if what == "find":
            return self._found(model, request["key"]), b""
        texts: list[str] = request["texts"]
        if what == "cut":
            return {"cut": _cut(model, texts)}, b""
        with self.activity.busy():
            if what in ("queries", "rarity"):
                return _query_vectors(model, texts) if what == "queries" else _rarity(model, texts)
            if isinstance(model, ServedReranker):
                pairs = [(texts[query], texts[text]) for query, text in request["pairs"]]
                return self._scores(model, pairs, connection)
            return self._vectors(model, texts, connection, queries=request["queries"])

    def _found(self, model: Served, key: str) -> dict[str, Any]:
        if isinstance(model, ServedEmbedder):
            backend, limit = model.embedder.backend, model.limit
        else:
            backend, limit = model.reranker.card.backend, model.limit
        return {"backend": backend, "max_tokens": limit, "notices": self.notices.get(key, [])}

    def _scores(
        self, model: ServedReranker, pairs: list[tuple[str, str]], connection: socket.socket
    ) -> Answer:
        import numpy as np

        counted = model.counted_pairs(pairs)
        scored = _computed(model.scheduler, counted.items, counted.tokens, connection)
        values = np.array([score.value for score in scored], np.float32)
        cut = np.array([score.truncated for score in scored], np.bool_)
        return {"count": len(scored)}, values.tobytes() + cut.tobytes()

    def _vectors(
        self, model: ServedEmbedder, texts: list[str], connection: socket.socket, *, queries: bool
    ) -> Answer:
        import numpy as np

        counted = model.counted(texts, queries=queries)
        vectors = _computed(model.scheduler, counted.items, counted.tokens, connection)
        content = b"".join(np.asarray(vector, np.float32).tobytes() for vector in vectors)
        return {"count": len(vectors), "cut": _cut(model, texts) if queries else 0}, content


def _cut(model: Served, queries: Sequence[str]) -> int:
    """Return how many queries a model truncates; 0 for a reranker that reads pairs."""
    loaded = model.embedder if isinstance(model, ServedEmbedder) else model.reranker
    cut = getattr(loaded, "cut", None)
    return cut(queries) if cut else 0


def _query_vectors(model: Served, queries: Sequence[str]) -> Answer:
    """Return the token vectors of queries by a model that compares them."""
    import numpy as np

    vectors, cut = _encoder(model).queries(queries)
    shapes = [one.tokens.shape for one in vectors]
    pooled = [one.pooled for one in vectors if one.pooled is not None]
    arrays = [part for one in vectors for part in (one.tokens, one.weights)] + pooled
    content = b"".join(np.asarray(array, np.float32).tobytes() for array in arrays)
    return {"shapes": shapes, "pooled": bool(pooled), "cut": cut.tolist()}, content


def _rarity(model: Served, terms: Sequence[str]) -> Answer:
    encoder = _encoder(model)
    assert isinstance(encoder, KnowsRarity)
    return {}, encoder.rarity(terms).tobytes()


def _encoder(model: Served) -> TokenEncoder:
    loaded = model.embedder if isinstance(model, ServedEmbedder) else model.reranker
    if not isinstance(loaded, ComparesTokens):
        raise InvalidArgumentError("the model has no token vectors", argument="key")
    return loaded.encoder


def _computed(
    scheduler: Scheduler[Any],
    items: list[tuple[str, str]],
    tokens: list[int],
    connection: socket.socket,
) -> list[Any]:
    """Return the results of items, and report progress until then.

    Raises:
        OSError: The client goes away; what was queued for it is dropped.
    """
    job: Job[Any] = scheduler.submit(items, tokens)
    ready, raised = socket.socketpair()

    def wake(_: Future[list[Any]]) -> None:
        with suppress(OSError):
            raised.send(b"!")

    try:
        with ready, raised:
            job.future.add_done_callback(wake)
            while not job.future.done():
                readable, _, _ = select.select([ready, connection], [], [], PROGRESS_S)
                if connection in readable and not job.future.done():
                    # It sends nothing before it has the answer.
                    raise ConnectionResetError("the client has gone")
                if not readable:
                    send(connection, {"done": len(items) - job.missing})
        return job.future.result()
    finally:
        scheduler.cancel(job)
