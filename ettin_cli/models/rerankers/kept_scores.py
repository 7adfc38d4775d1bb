"""Scores that a worker keeps until its driver writes them to the score cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ettin_cli.records import RerankerCard


class ModelProperties(NamedTuple):
    """Properties of a reranker that are known only when it is loaded."""

    backend: str
    max_tokens: int

    @classmethod
    def of(cls, card: RerankerCard) -> ModelProperties:
        """Return a card's properties except the name."""
        return cls(card.backend, card.max_tokens)


class ScoredPair(NamedTuple):
    """A pair's score, whether its text was truncated, and the seconds that it took."""

    score: float
    truncated: bool
    seconds: float


class ScoreStore(Protocol):
    """Where a cached reranker finds and keeps its scores, by keys of 16 bytes."""

    def model(self) -> ModelProperties | None:
        """Return the properties remembered when the model was last loaded."""
        ...

    def remember(self, model: ModelProperties) -> None:
        """Keep the properties of a model that was loaded."""
        ...

    def find(self, keys: Sequence[bytes]) -> dict[bytes, ScoredPair]:
        """Return the pairs with these keys that are known."""
        ...

    def add(self, pairs: Mapping[bytes, ScoredPair]) -> None:
        """Keep scored pairs."""
        ...


class KeptScores:
    """Scores in memory, of the pairs since they were last taken."""

    def __init__(self) -> None:
        self._model: ModelProperties | None = None
        self._pairs: dict[bytes, ScoredPair] = {}

    def model(self) -> ModelProperties | None:
        """Return the properties of the model; None before it is loaded."""
        return self._model

    def remember(self, model: ModelProperties) -> None:
        """Keep the properties of the model."""
        self._model = model

    def find(self, keys: Sequence[bytes]) -> dict[bytes, ScoredPair]:
        """Return the pairs with these keys that were not taken."""
        return {key: self._pairs[key] for key in keys if key in self._pairs}

    def add(self, pairs: Mapping[bytes, ScoredPair]) -> None:
        """Keep scored pairs."""
        self._pairs.update(pairs)

    def take(self) -> dict[str, Any]:
        """Return the model and all pairs as a value of JSON, and keep the pairs no longer."""
        pairs, self._pairs = self._pairs, {}
        return {
            "model": list(self._model or ()),
            "pairs": [[key.hex(), *pair] for key, pair in pairs.items()],
        }


def store_scores(taken: Mapping[str, Any], store: ScoreStore) -> None:
    """Add what was taken from `KeptScores` to a store."""
    if taken["pairs"]:
        store.remember(ModelProperties(*taken["model"]))
        store.add({bytes.fromhex(key): ScoredPair(*pair) for key, *pair in taken["pairs"]})
