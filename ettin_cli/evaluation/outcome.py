"""What a sweep yields: the measured systems, and what calibrations are fitted to."""

from __future__ import annotations

from dataclasses import dataclass, field

from ettin_cli.evaluation.results import Measured, System


@dataclass(frozen=True, slots=True)
class Labelled:
    """A hit's raw score and relevance, to fit a calibration.

    Args:
        judged: Whether the document has a judgement; without one it counts as irrelevant.
    """

    query_id: str
    score: float
    relevant: bool
    judged: bool


@dataclass(slots=True)
class Outcome:
    """The results of a sweep.

    Args:
        labelled: By reranker, the hits of the deepest systems over all retrievers, each document
            of a query once.
        rows: By query_id and doc_id, the row of the passage that a system ranks highest.
        unindexed: Judged documents that are not in the index.
        scored: By reranker, the number of texts scored, each text once per query.
        truncated: By reranker, how many of those were truncated.
        blends: The mean of the first metric by blend, for each reranker over each retriever at the
            greatest depth.
    """

    baseline: Measured
    systems: list[Measured]
    labelled: dict[str, list[Labelled]]
    rows: dict[str, dict[str, int]]
    unindexed: int
    scored: dict[str, int]
    truncated: dict[str, int]
    blends: dict[System, dict[float, float]] = field(default_factory=dict)
