"""Two lists of scores of the same pairs -> their agreement, and that of their rankings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ettin_cli.records import Floats

DEPTH = 10


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of scores with those of a reference.

    Args:
        max_difference: Largest absolute difference.
        mean_difference: Mean absolute difference.
        kendall_tau: Mean over the queries for which it is defined; None without any.
        overlap_at_10: Mean over the queries with more than ten documents; None without any.
    """

    max_difference: float
    mean_difference: float
    kendall_tau: float | None
    overlap_at_10: float | None


def agree(queries: Sequence[str], reference: Floats, scores: Floats) -> Agreement:
    """Return the agreement of scores with a reference, over at least one pair.

    Args:
        queries: The query of each pair; pairs of the same query are ranked together.
    """
    import numpy as np

    apart = np.abs(scores.astype(np.float64) - reference.astype(np.float64))
    groups: dict[str, list[int]] = {}
    for at, query in enumerate(queries):
        groups.setdefault(query, []).append(at)
    rankings = [(reference[group], scores[group]) for group in groups.values()]
    return Agreement(
        max_difference=float(apart.max()),
        mean_difference=float(apart.mean()),
        kendall_tau=_mean(kendall_tau(one, other) for one, other in rankings),
        overlap_at_10=_mean(overlap(one, other, DEPTH) for one, other in rankings),
    )


def kendall_tau(one: Floats, other: Floats) -> float | None:
    """Return Kendall's tau-b of two lists of scores; None if all scores of a list are tied.

    Kendall (1945), The treatment of ties in ranking problems: a pair tied in one list counts for
    neither side, and the divisor excludes it.
    """
    import numpy as np

    agreed = ordered_by_one = ordered_by_other = 0
    for at in range(len(one) - 1):
        first, second = np.sign(one[at] - one[at + 1 :]), np.sign(other[at] - other[at + 1 :])
        agreed += int((first * second).sum())
        ordered_by_one += int(np.count_nonzero(first))
        ordered_by_other += int(np.count_nonzero(second))
    if not ordered_by_one or not ordered_by_other:
        return None
    return agreed / math.sqrt(ordered_by_one * ordered_by_other)


def overlap(one: Floats, other: Floats, depth: int) -> float | None:
    """Return the share of the top `depth` that two lists of scores have in common.

    None for lists of at most `depth`, which overlap completely. Ties are in list order.
    """
    if len(one) <= depth:
        return None
    best = [set((-scores).argsort(kind="stable")[:depth].tolist()) for scores in (one, other)]
    return len(best[0] & best[1]) / depth


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
