"""Late interaction: a score out of the vectors of a query's and a text's tokens.

Knows no model: the embedded stand-in and every multi-vector model are compared by this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ettin_cli.records import NO_TEXT

if TYPE_CHECKING:
    from ettin_cli.records import Flags, Floats


class TextVectors(NamedTuple):
    """What a text is compared by.

    Args:
        tokens: Shape (tokens, dimension).
        pooled: One vector of the whole text, where it counts too.
    """

    tokens: Floats
    pooled: Floats | None = None


class QueryVectors(NamedTuple):
    """What a query is compared by.

    Args:
        tokens: Shape (tokens, dimension).
        weights: One a token: what its best match counts.
        pooled: One vector of the whole query, where it counts too.
    """

    tokens: Floats
    weights: Floats
    pooled: Floats | None = None

    def score(self, text: TextVectors) -> float:
        """Return MaxSim, and where there are pooled vectors their product besides."""
        matched = maxsim(self.tokens, self.weights, text.tokens) if len(self.weights) else 0.0
        if self.pooled is None or text.pooled is None:
            return matched
        return float(text.pooled @ self.pooled) + matched


def maxsim(query: Floats, weights: Floats, document: Floats) -> float:
    """Return the weighted sum of the best match of every query token in a document.

    Late interaction as in ColBERT (Khattab and Zaharia, 2020), where every weight is 1.

    Args:
        query: Token vectors, shape (query tokens, dimension).
        weights: One a query token.
        document: Token vectors, shape (tokens, dimension).
    """
    if not len(document):
        return NO_TEXT
    best = (query @ document.T).max(axis=1)
    return float(best @ weights)


TextSink = Callable[[int, TextVectors], None]


class TokenEncoder(Protocol):
    """Turns queries and texts into vectors of their tokens."""

    @property
    def engine(self) -> str:
        """What results say of where they were computed."""
        ...

    @property
    def max_tokens(self) -> int:
        """What it reads of a text, special tokens included."""
        ...

    def queries(self, queries: Sequence[str]) -> tuple[list[QueryVectors], Flags]:
        """Return each query's vectors, and which were cut."""
        ...

    def texts(self, texts: Sequence[str], sink: TextSink) -> Flags:
        """Give `sink` each text's place and vectors, in any order; return which were cut."""
        ...
