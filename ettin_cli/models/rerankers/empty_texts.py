"""Empty and white-space texts: accepted, not given to any model, and ranked last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, TypeVar

from ettin_cli.records import NO_TEXT, Advance, Pair, Scores, no_progress

S = TypeVar("S")
Method = Callable[Concatenate[S, ...], Scores]


def with_text(pairs: Sequence[Pair]) -> list[int]:
    r"""Return the indices of the pairs whose text is not empty.

    >>> with_text([("a query", "a text"), ("a query", " \n"), ("a query", "")])
    [0]
    """
    return [at for at, (_, text) in enumerate(pairs) if text.strip()]


def blanks_last(score: Method[S]) -> Method[S]:
    """Wrap a reranker's scoring method so that empty texts get `NO_TEXT`."""

    @wraps(score)
    def scored(self: S, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        read = with_text(pairs)
        if len(read) == len(pairs):
            return score(self, pairs, advance)
        advance(len(pairs) - len(read))
        scores = no_scores(len(pairs))
        if read:
            some = score(self, [pairs[at] for at in read], advance)
            scores.values[read], scores.truncated[read] = some.values, some.truncated
        return scores

    return scored


def no_scores(count: int) -> Scores:
    """Return the scores of `count` empty texts."""
    import numpy as np

    return Scores(np.full(count, NO_TEXT, np.float32), np.zeros(count, np.bool_))
