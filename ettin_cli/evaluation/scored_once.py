"""A reranker that caches its scores for the systems of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ettin_cli.records import Advance, Pair, RerankerCard, Scores, TimedReranker, no_progress


@dataclass(slots=True)
class Meter:
    """Counts the pairs requested from rerankers, those truncated, and their seconds.

    Each request of a pair counts the seconds of its original scoring.
    """

    pairs: int = 0
    truncated: int = 0
    seconds: float = 0.0


class ScoredOnce:
    """Wraps a reranker and scores each pair once until `forget`.

    Args:
        meter: Counts the requests.
    """

    def __init__(self, reranker: TimedReranker, meter: Meter) -> None:
        self.reranker, self.meter = reranker, meter
        self.known: dict[Pair, tuple[float, bool, float]] = {}

    @property
    def card(self) -> RerankerCard:
        """The wrapped reranker's card."""
        return self.reranker.card

    def forget(self) -> None:
        """Free the cached scores."""
        self.known.clear()

    def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        """Return the scores of (query, text) pairs, in order; `advance` counts uncached ones."""
        import numpy as np

        fresh = [pair for pair in dict.fromkeys(pairs) if pair not in self.known]
        if fresh:
            scores, seconds = self.reranker.timed(fresh, advance)
            columns = (scores.values.tolist(), scores.truncated.tolist(), seconds.tolist())
            self.known.update(zip(fresh, zip(*columns, strict=True), strict=True))
        rows = [self.known[pair] for pair in pairs]
        truncated = np.array([cut for _, cut, _ in rows], np.bool_)
        self.meter.pairs += len(rows)
        self.meter.truncated += int(truncated.sum())
        self.meter.seconds += sum(seconds for _, _, seconds in rows)
        return Scores(np.array([value for value, _, _ in rows], np.float32), truncated)
