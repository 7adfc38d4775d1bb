"""The interfaces of embedders and rerankers, and the scores that these return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ettin_cli.records.reporting import Advance, no_progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Flags = NDArray[np.bool_]


# A query and a text.
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class EmbedderCard:
    """The identity of an embedder, as stored in an index.

    Args:
        name: Hub id, `embedded`, or folder, as shown to the user.
        weights: SHA-256 of the weights, in hex: the identity of the embedder.
        dimension: Length of a vector.
        max_tokens: Maximum tokens read of a text, special tokens included.
        query_prompt: Prefix of every query.
        document_prompt: Prefix of every passage.
    """

    name: str
    revision: str | None
    weights: str
    dimension: int
    max_tokens: int
    query_prompt: str = ""
    document_prompt: str = ""


@dataclass(frozen=True, slots=True)
class RerankerCard:
    """The description of a loaded reranker in results and in stored scores.

    Args:
        name: Hub id, `embedded`, folder, or the name given by a plugin, as shown to the user.
        backend: Runtime, device and dtype, such as `onnxruntime cpu float32`.
        max_tokens: Maximum tokens read of a pair, special tokens included.
        reads_pairs: Whether it reads a query together with a text, as cross-encoders do. If not, a
            call of `score` encodes a text once, however many of its queries are paired with it.
        at_once: How many calls of `score` at once keep its devices busy.
    """

    name: str
    backend: str
    max_tokens: int
    reads_pairs: bool = True
    at_once: int = 1


# The score of an empty text: below every real score, as in sentence-transformers, and
# representable in every result format.
NO_TEXT = -1e9


@dataclass(frozen=True, slots=True)
class Scores:
    """A reranker's output for some pairs: float32 scores and which texts were truncated."""

    values: Floats
    truncated: Flags

    def split(self, counts: Iterable[int]) -> Iterator[Scores]:
        """Yield the scores of consecutive groups of pairs, of the given sizes."""
        begin = 0
        for count in counts:
            part = slice(begin, begin + count)
            yield Scores(self.values[part], self.truncated[part])
            begin += count


class TokenCounter(Protocol):
    """Counts a model's tokens, without special tokens."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the start and end of each token in `text`, in characters, in order."""
        ...


class Embedder(Protocol):
    """Turns texts into unit vectors whose inner product is their similarity."""

    card: EmbedderCard
    backend: str

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        ...

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        ...


class TextTokens(NamedTuple):
    """The token vectors of a text, as an index stores them.

    Args:
        vectors: Shape (tokens, dimension).
        kept: Which of them are worth storing; None: all.
    """

    vectors: Floats
    kept: Flags | None = None


# Receives the position of a text and its token vectors.
TokenSink = Callable[[int, TextTokens], None]


class TokenEmbedder(Embedder, Protocol):
    """An embedder that also has the token vectors of a text, from the same forward pass."""

    def embed_tokens(
        self, texts: Sequence[str], sink: TokenSink, advance: Advance = no_progress
    ) -> tuple[Floats, Flags]:
        """Return the vectors of `embed_documents`, and which texts were truncated.

        Args:
            sink: Receives each text's token vectors, in any order.
        """
        ...


class Reranker(Protocol):
    """Scores how well a text answers a query; higher is better. Each has its own scale."""

    @property
    def card(self) -> RerankerCard:
        """The description of this reranker in results."""
        ...

    def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order.

        Raises:
            ModelError: A score is NaN, which cannot be sorted.
        """
        ...


class TimedReranker(Reranker, Protocol):
    """A reranker that measures the time of each score."""

    def timed(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> tuple[Scores, Floats]:
        """Return the scores, and the seconds that scoring each pair took."""
        ...
