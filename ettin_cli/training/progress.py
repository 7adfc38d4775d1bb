"""How far a run is, and what it is measured by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ettin_cli.records import TimedReranker


@dataclass(frozen=True, slots=True)
class Measure:
    """What a student is measured by while it trains.

    Args:
        told: What it is, for the log and the model card.
        metric: Its name.
        retrieval: What retrieval alone reaches.
        of: Higher is better.
    """

    told: str
    metric: str
    retrieval: float
    of: Callable[[TimedReranker], float]


@dataclass(slots=True)
class Progress:
    """How far a run is; all that a checkpoint holds beside weights and random states.

    Args:
        batch_tokens: Most tokens at once; halved where the GPU's memory was too small.
        loss: A moving mean.
        measured: How many tenths of the run were done when the student was last measured.
        measured_step: When that was; None: never.
        metrics_bytes: Length of the metrics file at the last checkpoint.
    """

    batch_tokens: int
    step: int = 0
    seconds: float = 0.0
    pairs: int = 0
    cut: int = 0
    first_loss: float | None = None
    loss: float | None = None
    measured: int = -1
    measured_step: int | None = None
    before: float | None = None
    best: float | None = None
    best_step: int = 0
    metrics_bytes: int = 0
