"""An embedder that several devices share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_runtime import windows_of
from ettin_cli.records import (
    Advance,
    EmbedderCard,
    Reporter,
    TextTokens,
    TokenEmbedder,
    TokenSink,
    no_progress,
)

if TYPE_CHECKING:
    from ettin_cli.models.engines.workers import Load
    from ettin_cli.models.rerankers.maxsim import QueryVectors
    from ettin_cli.records import Flags, Floats


class SharedEmbedder:
    """An embedder on several devices, each of which embeds some windows of the texts.

    Args:
        load: Loads it on a device, as `CollectedTokens`.

    Attributes:
        at_once: How many calls at once keep the devices busy, if each is of one window.
    """

    def __init__(
        self, load: Load, card: EmbedderCard, settings: EngineSettings, reporter: Reporter
    ) -> None:
        from ettin_cli.models.engines.workers import LANES, Workers

        self.card = card
        self.workers = Workers(load, settings.devices, reporter, ["backend"])
        self.at_once = LANES * len(settings.devices)
        self.backend: str = self.workers.facts["backend"]

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        return self.workers.call("embed_queries", texts)  # type: ignore[no-any-return]

    def cut(self, queries: Sequence[str]) -> int:
        """Return how many of some queries are truncated."""
        return int(self.workers.call("cut", queries))

    def query_tokens(self, queries: Sequence[str]) -> list[QueryVectors]:
        """Return each query's token vectors and their weights, of a multi-vector model."""
        return self.workers.call("query_tokens", queries)  # type: ignore[no-any-return]

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        import numpy as np

        vectors, done = np.empty((len(texts), self.card.dimension), np.float32), 0
        for window in self.workers.each("embed_documents", windows_of(texts)):
            vectors[done : done + len(window)] = window
            done += len(window)
            advance(len(window))
        return vectors

    def embed_tokens(
        self, texts: Sequence[str], sink: TokenSink, advance: Advance = no_progress
    ) -> tuple[Floats, Flags]:
        """Return the vectors of `embed_documents`, and which texts were truncated."""
        import numpy as np

        vectors, cut = np.empty((len(texts), self.card.dimension), np.float32), list[bool]()
        for window, flags, tokens in self.workers.each("embedded_tokens", windows_of(texts)):
            for at, one in enumerate(tokens, len(cut)):
                sink(at, one)
            vectors[len(cut) : len(cut) + len(window)] = window
            cut += flags.tolist()
            advance(len(window))
        return vectors, np.array(cut, np.bool_)


class CollectedTokens:
    """An embedder in a process of its own, which returns token vectors instead of passing them."""

    def __init__(self, embedder: TokenEmbedder) -> None:
        self.embedder = embedder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.embedder, name)

    def embedded_tokens(self, texts: Sequence[str]) -> tuple[Floats, Flags, list[TextTokens]]:
        """Return vectors, which texts were truncated, and token vectors."""
        found: dict[int, TextTokens] = {}
        vectors, cut = self.embedder.embed_tokens(texts, found.__setitem__)
        return vectors, cut, [found[at] for at in range(len(texts))]
