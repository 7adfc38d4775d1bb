"""The models of a command that the daemon runs: those that it holds are used over its socket.

A model that it does not hold, or holds with other settings, is loaded here as without a daemon.
So is one whose daemon fails or ends.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import finalize

from ettin_cli.client import MODELS_SOCKET, connected, receive, send
from ettin_cli.daemon.keys import embedder_key, reranker_key
from ettin_cli.models import ModelFiles, queries_cut, query_limit, read_card, with_tokens
from ettin_cli.models.rerankers import (
    ComparesTokens,
    FolderReranker,
    KnowsRarity,
    QueryVectors,
    ResolvedReranker,
    ScriptNotice,
    TextSink,
    TokenEncoder,
    blanks_last,
    distinct,
    query_cut,
    with_long_texts,
)
from ettin_cli.records import (
    Advance,
    Embedder,
    EmbedderCard,
    Pair,
    Reporter,
    Reranker,
    RerankerCard,
    Scores,
    TokenSink,
    no_progress,
)
from ettin_cli.runtime import Lock, Once
from ettin_cli.searching import Models
from ettin_cli.settings import TRUNCATE

if TYPE_CHECKING:
    from ettin_cli.records import Flags, Floats

CONNECT_S = 2.0
# The daemon reports progress more often than that.
SILENCE_S = 60.0


class UnavailableError(Exception):
    """The daemon did not compute something."""


class WarmModels(Models):
    """Models of which the daemon holds some.

    Args:
        models: Those of the session, whose place this takes.
    """

    def __init__(self, models: Models) -> None:
        super().__init__(models.settings, offline=models.offline, reporter=models.reporter)

    def embedder(self, files: ModelFiles, card: EmbedderCard | None = None) -> Embedder:
        """Return an embedder.

        Raises:
            ModelError: The daemon does not hold it, and it cannot be loaded.
        """
        load = partial(super().embedder, files, card)
        return self.loaded.once(
            ("warm", files, card, self.settings), lambda: self._embedder(files, card, load)
        )

    def _embedder(
        self, files: ModelFiles, card: EmbedderCard | None, load: Callable[[], Embedder]
    ) -> Embedder:
        described = card or read_card(files, self.settings.max_length)
        held = _Held.found(embedder_key(files, described, self.settings), self.reporter)
        if held is None:
            return load()
        return _WarmEmbedder(held, described, query_limit(files, described), load, self.reporter)

    def reranker(self, resolved: ResolvedReranker, long: str = TRUNCATE) -> Reranker:
        """Return a reranker.

        Raises:
            ModelError: The daemon does not hold it, and it cannot be loaded.
        """
        load = partial(super().reranker, resolved)
        if not isinstance(resolved, FolderReranker):
            return load(long)
        # A relative folder is another one once the working directory changes.
        folder = resolved.files.folder.absolute()
        key = ("warm", type(resolved), resolved.files, folder, self.settings)
        plain = self.loaded.once(key, lambda: self._reranker(resolved, load))
        if plain is None:
            return load(long)
        return self.loaded.once(
            (*key, long), lambda: with_long_texts(plain, resolved, long, self.reporter)
        )

    def token_encoder(self, resolved: ResolvedReranker) -> TokenEncoder | None:
        """Return the encoder of a reranker that compares token vectors."""
        reranker = self.reranker(resolved)
        if isinstance(reranker, _WarmReranker):
            return _WarmTokens(reranker.held, reranker.load)
        return super().token_encoder(resolved)

    def _reranker(
        self, resolved: FolderReranker, load: Callable[[], Reranker]
    ) -> _WarmReranker | None:
        key = reranker_key(resolved, self.settings)
        held = _Held.found(key, self.reporter) if key else None
        if held is None:
            return None
        reranker = _WarmReranker(held, resolved, load, self.reporter)
        card = reranker.card
        self.reporter.detail(f"reranking with {card.name} on {card.backend}, in the daemon")
        return reranker


class _Held:
    """A model that the daemon holds, on a connection of its own.

    Args:
        facts: Its backend and its token limit.
    """

    def __init__(self, connection: socket.socket, key: str, facts: dict[str, Any]) -> None:
        self.connection, self.key, self.facts = connection, key, facts
        # Whoever still computes with the model when it is dropped ends first.
        finalize(self, connection.close)
        self._lock = Lock()

    @classmethod
    def found(cls, key: str, reporter: Reporter) -> _Held | None:
        """Return the model with a key; None if the daemon does not hold it."""
        connection = connected(MODELS_SOCKET, CONNECT_S)
        if connection is None:
            return None
        try:
            send(connection, {"what": "find", "key": key})
            facts, _, _ = receive(connection)
        except (OSError, ValueError):
            facts = {"error": "no answer"}
        if "error" in facts:
            connection.close()
            return None
        connection.settimeout(SILENCE_S)
        for notice in facts["notices"]:
            reporter.notice(notice)
        return cls(connection, key, facts)

    def ask(
        self, what: str, advance: Advance = no_progress, total: int = 0, **request: Any
    ) -> tuple[dict[str, Any], bytes]:
        """Return the answer to a request.

        Args:
            total: What `advance` is called with, in all.

        Raises:
            UnavailableError: There is none.
        """
        reported = 0
        answer: dict[str, Any] = {"error": "no answer"}
        try:
            with self._lock:
                send(self.connection, {"what": what, "key": self.key, **request})
                while True:
                    answer, content, _ = receive(self.connection)
                    if "done" not in answer:
                        break
                    advance(answer["done"] - reported)
                    reported = answer["done"]
        except (OSError, ValueError) as error:
            raise UnavailableError(str(error)) from error
        finally:
            advance((0 if "error" in answer or "done" in answer else total) - reported)
        if "error" in answer:
            raise UnavailableError(answer["error"])
        return answer, content


class _WarmReranker:
    """A reranker that the daemon holds; from its first failure on, one that is loaded here."""

    def __init__(
        self,
        held: _Held,
        resolved: FolderReranker,
        load: Callable[[], Reranker],
        reporter: Reporter,
    ) -> None:
        self.held, self.load, self.reporter = held, load, reporter
        facts = held.facts
        # The daemon scores a few pairs at a time, so it gains nothing from more queries at once.
        self.card = RerankerCard(resolved.name, facts["backend"], facts["max_tokens"])
        self.script = ScriptNotice(resolved.name, reporter, english=resolved.english)
        self.failed, self.first_cut = Once(), Once()

    def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order."""
        if not self.failed.over:
            try:
                return self._score(pairs, advance)
            except UnavailableError:
                self.failed()
        return self.load().score(pairs, advance)

    @blanks_last
    def _score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        import numpy as np

        texts, places = distinct([side for pair in pairs for side in pair])
        self.script.check(texts)
        numbered = list(zip(places[::2], places[1::2], strict=True))
        answer, content = self.held.ask("score", advance, len(pairs), texts=texts, pairs=numbered)
        count = answer["count"]
        values = np.frombuffer(content, np.float32, count).copy()
        truncated = np.frombuffer(content, np.bool_, count, values.nbytes).copy()
        if truncated.any() and not self.first_cut.over:
            queries = list(dict.fromkeys(query for query, _ in pairs))
            if self.held.ask("cut", texts=queries)[0]["cut"] and self.first_cut():
                self.reporter.notice(query_cut(self.card.name))
        return Scores(values, truncated)


class _WarmTokens:
    """The token vectors of queries from a model that the daemon holds.

    Texts, and from its first failure on queries too, are encoded by one that is loaded here.
    """

    def __init__(self, held: _Held, load: Callable[[], Embedder | Reranker]) -> None:
        self.held, self.load = held, load
        self.backend: str = held.facts["backend"]
        self.max_tokens: int = held.facts["max_tokens"]
        self.failed = Once()

    def queries(self, queries: Sequence[str]) -> tuple[list[QueryVectors], Flags]:
        """Return each query's vectors, and which queries were truncated."""
        import numpy as np

        answer, content = self._ask("queries", queries)
        if answer is None:
            return self._loaded().queries(queries)
        rest = np.frombuffer(content, np.float32)
        vectors = []
        for tokens, dimension in answer["shapes"]:
            matrix, weights, rest = np.split(rest, [tokens * dimension, tokens * (dimension + 1)])
            vectors.append(QueryVectors(matrix.reshape(tokens, dimension), weights))
        if answer["pooled"]:
            pooled = rest.reshape(len(vectors), -1)
            vectors = [one._replace(pooled=row) for one, row in zip(vectors, pooled, strict=True)]
        return vectors, np.array(answer["cut"], np.bool_)

    def texts(self, texts: Sequence[str], sink: TextSink) -> Flags:
        """Pass `sink` each text's position and vectors; return which texts were truncated."""
        return self._loaded().texts(texts, sink)

    def rarity(self, terms: Sequence[str]) -> Floats:
        """Return the weight of each term."""
        import numpy as np

        answer, content = self._ask("rarity", terms)
        if answer is None:
            encoder = self._loaded()
            assert isinstance(encoder, KnowsRarity)
            return encoder.rarity(terms)
        return np.frombuffer(content, np.float32)

    def _ask(self, what: str, texts: Sequence[str]) -> tuple[dict[str, Any] | None, bytes]:
        if not self.failed.over:
            try:
                return self.held.ask(what, texts=list(texts))
            except UnavailableError:
                self.failed()
        return None, b""

    def _loaded(self) -> TokenEncoder:
        model = self.load()
        assert isinstance(model, ComparesTokens)
        return model.encoder


class _WarmEmbedder:
    """An embedder that the daemon holds; from its first failure on, one that is loaded here.

    Args:
        limit: Maximum tokens read of a query.
    """

    def __init__(
        self,
        held: _Held,
        card: EmbedderCard,
        limit: int,
        load: Callable[[], Embedder],
        reporter: Reporter,
    ) -> None:
        self.limit = limit
        self.held, self.card, self.load, self.reporter = held, card, load, reporter
        self.backend = held.facts["backend"]
        self.encoder = _WarmTokens(held, load)
        self.failed = Once()

    def query_tokens(self, queries: Sequence[str]) -> list[QueryVectors]:
        """Return each query's token vectors and their weights, by a multi-vector model."""
        vectors, cut = self.encoder.queries(queries) if queries else ([], None)
        if cut is not None and cut.any():
            notice = queries_cut(int(cut.sum()), self.card.name, self.limit)
            self.reporter.notice(notice)
        return vectors

    def embed_tokens(
        self, texts: Sequence[str], sink: TokenSink, advance: Advance = no_progress
    ) -> tuple[Floats, Flags]:
        """Return the vectors of `embed_documents`, and which texts were truncated.

        The model is loaded here: the daemon sends no token vectors of texts.
        """
        return with_tokens(self.load()).embed_tokens(texts, sink, advance)

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        if not self.failed.over:
            try:
                vectors, cut = self._vectors(texts, no_progress, queries=True)
                if cut:
                    self.reporter.notice(queries_cut(cut, self.card.name, self.limit))
                return vectors
            except UnavailableError:
                self.failed()
        return self.load().embed_queries(texts)

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        if not self.failed.over:
            try:
                vectors, _ = self._vectors(texts, advance, queries=False)
                return vectors
            except UnavailableError:
                self.failed()
        return self.load().embed_documents(texts, advance)

    def _vectors(
        self, texts: Sequence[str], advance: Advance, *, queries: bool
    ) -> tuple[Floats, int]:
        import numpy as np

        answer, content = self.held.ask(
            "embed", advance, len(texts), texts=list(texts), queries=queries
        )
        vectors = np.frombuffer(content, np.float32).reshape(answer["count"], self.card.dimension)
        return vectors.copy(), answer["cut"]
