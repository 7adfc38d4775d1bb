"""How much goes into a batch, and who computes it: measured on this machine, then remembered."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ettin_cli.models.engines.devices import processor
from ettin_cli.models.hub import recall, remember_one

PACES = "paces.json"
ROUNDS = 2
# Tokens that one thread computes to be measured once.
SAMPLE_TOKENS = 4096


class Pace(NamedTuple):
    """A way to compute many texts.

    Args:
        tokens: Most tokens in a batch, padding included.
        together: Whether all threads share one batch, or each has its own.
    """

    tokens: int
    together: bool


DEFAULT = Pace(512, together=False)
CANDIDATES = (DEFAULT, Pace(1024, together=False), Pace(2048, together=False))


def candidates(threads: int) -> tuple[Pace, ...]:
    """Return the paces that are worth trying with so many threads."""
    return (*CANDIDATES, Pace(1024 * threads, together=True)) if threads > 1 else CANDIDATES


def known_pace(model: str, threads: int) -> Pace | None:
    """Return the pace that was the fastest for a model on this machine, or None."""
    found = recall(PACES).get(_key(model, threads))
    if not (isinstance(found, list) and len(found) == len(Pace._fields)):
        return None
    pace = Pace(int(found[0]), bool(found[1]))
    return pace if pace in candidates(threads) else None


def remember_pace(model: str, threads: int, pace: Pace) -> None:
    """Keep the pace of a model on this machine."""
    remember_one(PACES, _key(model, threads), list(pace))


def measured_pace(
    lengths: Sequence[int], threads: int, compute: Callable[[list[int], Pace], None]
) -> tuple[Pace | None, list[int]]:
    """Compute the first part of long work at every pace in turn, and tell which was the fastest.

    Which texts share a batch moves no score, so nothing is computed for the measurement alone.

    Args:
        lengths: Tokens of each text.
        compute: Computes the texts at some positions at one pace.

    Returns:
        The fastest pace, or None where there is too little to measure; and what is left to do.
    """
    trials = candidates(threads) * ROUNDS
    groups = sum(lengths) // (SAMPLE_TOKENS * threads)
    order = sorted(range(len(lengths)), key=lambda at: -lengths[at])
    if groups < len(trials):
        return None, order
    rates: dict[Pace, list[float]] = defaultdict(list)
    for at, pace in enumerate(trials):
        # Every sample has texts of all lengths.
        sample = order[at::groups]
        began = time.perf_counter()
        compute(sample, pace)
        seconds = time.perf_counter() - began
        rates[pace].append(sum(lengths[position] for position in sample) / seconds)
    left = [position for at in range(len(trials), groups) for position in order[at::groups]]
    return max(rates, key=lambda pace: max(rates[pace])), left


def _key(model: str, threads: int) -> str:
    return f"{model} {processor().make} {threads}"
