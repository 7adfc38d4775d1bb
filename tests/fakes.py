"""Test doubles for models: deterministic, instant, and with plausible rankings."""

from collections.abc import Sequence

import numpy as np

from ettin_cli.records import Advance, RerankerCard, Scores, no_progress


class OverlapReranker:
    """Scores a text by the words it shares with the query; very long texts count as truncated.

    Args:
        noisy: Add what depends on the batch, as the last bits of a model's scores do.
    """

    card = RerankerCard("overlap", "words", 1000)

    def __init__(self, *, noisy: bool = False) -> None:
        self.noisy = noisy
        self.calls: list[int] = []

    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order."""
        self.calls.append(len(pairs))
        values = [float(len(words(query) & words(text))) for query, text in pairs]
        noise = sum(len(text) for _, text in pairs) / 1e6 if self.noisy else 0.0
        cut = [len(text) > self.card.max_tokens for _, text in pairs]
        advance(len(pairs))
        return Scores(np.array(values, np.float32) + np.float32(noise), np.array(cut, np.bool_))


def words(text: str) -> set[str]:
    return {word.strip(".,?!").casefold() for word in text.split()}
