"""What models are to the stages: embedders, rerankers, and the scores they give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ettin_cli.records.reporting import Advance, no_progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class EmbedderCard:
    """What makes two embedders the same, and what an index remembers of its own.

    Args:
        name: Hub id, `embedded`, or folder, as shown to the user.
        weights: SHA-256 of the weights, in hex: the identity of the embedder.
        dimension: Length of a vector.
        max_tokens: What it reads of a text, special tokens included.
        query_prompt: Put before every query.
        document_prompt: Put before every passage.
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
    """What results and stored scores say of a reranker that is loaded.

    Args:
        name: Hub id, `embedded`, folder, or what another package calls it, as shown to the user.
        backend: Where and in what arithmetic it computes, such as `onnxruntime cpu float32`.
        max_tokens: What it reads of a pair, special tokens included.
    """

    name: str
    backend: str
    max_tokens: int


# The score of a text that holds nothing to read: below every real one, as in
# sentence-transformers, and a number that every format of results can hold.
NO_TEXT = -1e9


@dataclass(frozen=True, slots=True)
class Scores:
    """A reranker's verdict on some pairs: float32 scores and which texts it had to cut."""

    values: Floats
    truncated: Flags

    def split(self, counts: Iterable[int]) -> Iterator[Scores]:
        """Yield the verdicts on groups of neighbouring pairs, so many pairs each."""
        begin = 0
        for count in counts:
            part = slice(begin, begin + count)
            yield Scores(self.values[part], self.truncated[part])
            begin += count


class TokenCounter(Protocol):
    """Counts tokens as a model does, special tokens left out."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Return each token's start and end in `text`, in characters, in order."""
        ...


class Embedder(Protocol):
    """Turns texts into unit vectors whose inner product is their similarity."""

    card: EmbedderCard
    engine: str

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        ...

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        ...


class Reranker(Protocol):
    """Scores how well a text answers a query; higher is better, on a scale of its own."""

    @property
    def card(self) -> RerankerCard:
        """What results say of it."""
        ...

    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order.

        Raises:
            ModelError: A score is NaN, which has no place in an order.
        """
        ...


class TimedReranker(Reranker, Protocol):
    """A reranker that tells what each score cost."""

    def timed(
        self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress
    ) -> tuple[Scores, Floats]:
        """Return scores, and the seconds each pair took when it was scored."""
        ...
