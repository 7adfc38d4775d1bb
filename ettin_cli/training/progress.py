"""The progress and the validation metric of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ettin_cli.records import TimedReranker


@dataclass(frozen=True, slots=True)
class Measure:
    """The validation metric of a student during training.

    Args:
        description: A description for the log and the model card.
        metric: The name of the metric.
        retrieval: The value of retrieval alone.
        of: Returns the value of a reranker; higher is better.
    """

    description: str
    metric: str
    retrieval: float
    of: Callable[[TimedReranker], float]


@dataclass(slots=True)
class Progress:
    """The progress of a run, saved in checkpoints beside weights and random states.

    Args:
        batch_tokens: Maximum tokens per batch; halved when GPU memory is too small.
        loss: A moving average.
        rejected: Rows read in training that hold no example.
        measured: How many parts of the run were done at the last measurement.
        measured_step: The step of the last measurement; None: never.
        metrics_bytes: Length of the metrics file at the last checkpoint.
    """

    batch_tokens: int
    step: int = 0
    seconds: float = 0.0
    pairs: int = 0
    cut: int = 0
    rejected: int = 0
    first_loss: float | None = None
    loss: float | None = None
    measured: int = -1
    measured_step: int | None = None
    before: float | None = None
    best: float | None = None
    best_step: int = 0
    metrics_bytes: int = 0
