"""A reranker whose scores are kept for as long as the systems of a sweep ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ettin_cli.records import Advance, RerankerCard, Scores, TimedReranker, no_progress

Pair = tuple[str, str]


@dataclass(slots=True)
class Meter:
    """What was asked of some rerankers: how many pairs, of which cut, and their seconds.

    A pair counts with what it cost when it was scored, each time it is asked for.
    """

    pairs: int = 0
    truncated: int = 0
    seconds: float = 0.0


class ScoredOnce:
    """Scores as another reranker does, and no pair a second time until `forget`.

    Args:
        meter: Counts what is asked for.
    """

    def __init__(self, reranker: TimedReranker, meter: Meter) -> None:
        self.reranker, self.meter = reranker, meter
        self.known: dict[Pair, tuple[float, bool, float]] = {}

    @property
    def card(self) -> RerankerCard:
        """What results say of it."""
        return self.reranker.card

    def forget(self) -> None:
        """Free the scores."""
        self.known.clear()

    def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order; `advance` counts those not known yet."""
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
