"""Batch size and threading: measured on this machine, then remembered."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ettin_cli.models.engines.devices import processor
from ettin_cli.models.remembered import recall, remember_fact

PACES = "paces.json"
ROUNDS = 2
# Number of tokens that one thread computes for a single measurement.
SAMPLE_TOKENS = 4096


class Pace(NamedTuple):
    """A way to batch texts.

    Args:
        tokens: Maximum tokens in a batch, padding included.
        together: Whether all threads share one batch, or each runs its own.
    """

    tokens: int
    together: bool


DEFAULT = Pace(512, together=False)
CANDIDATES = (DEFAULT, Pace(1024, together=False), Pace(2048, together=False))


def candidates(threads: int) -> tuple[Pace, ...]:
    """Return the paces to try with so many threads."""
    return (*CANDIDATES, Pace(1024 * threads, together=True)) if threads > 1 else CANDIDATES


def known_pace(model: str, threads: int) -> Pace | None:
    """Return the fastest pace measured for a model on this machine, or None."""
    stored = recall(PACES).get(_key(model, threads))
    if not (isinstance(stored, list) and len(stored) == len(Pace._fields)):
        return None
    pace = Pace(int(stored[0]), bool(stored[1]))
    return pace if pace in candidates(threads) else None


def remember_pace(model: str, threads: int, pace: Pace) -> None:
    """Store the pace of a model on this machine."""
    remember_fact(PACES, _key(model, threads), list(pace))


def measured_pace(
    lengths: Sequence[int], threads: int, compute: Callable[[list[int], Pace], None]
) -> tuple[Pace | None, list[int]]:
    """Compute the first part of a long job at every pace in turn, and determine the fastest.

    Scores do not depend on which texts share a batch, so the measured work is not wasted.

    Args:
        lengths: Tokens of each text.
        compute: Computes the texts at some positions at one pace.

    Returns:
        The fastest pace, or None if there is too little to measure; and the remaining positions.
    """
    trials = candidates(threads) * ROUNDS
    groups = sum(lengths) // (SAMPLE_TOKENS * threads)
    order = sorted(range(len(lengths)), key=lambda at: -lengths[at])
    if groups < len(trials):
        return None, order
    rates: dict[Pace, list[float]] = defaultdict(list)
    for at, pace in enumerate(trials):
        # Every sample contains texts of all lengths.
        sample = order[at::groups]
        began = time.perf_counter()
        compute(sample, pace)
        seconds = time.perf_counter() - began
        rates[pace].append(sum(lengths[position] for position in sample) / seconds)
    left = [position for at in range(len(trials), groups) for position in order[at::groups]]
    return max(rates, key=lambda pace: max(rates[pace])), left


def _key(model: str, threads: int) -> str:
    return f"{model} {processor().make} {threads}"
