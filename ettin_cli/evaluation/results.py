"""The results of an evaluation: systems, their values per query, and comparisons.

Plain values, from which the table, the files and the report are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NONE = "none"
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class System:
    """A way to answer queries.

    Args:
        reranker: The reranker's name; `none` is retrieval alone.
        candidates: Passages scored per query; None: retrieval alone, the judged documents, or an
            external run.
        blend: Share of the retrieval score.
        retriever: The retriever's name.
        run: File name of an external run, of which nothing else is known.
    """

    reranker: str = NONE
    candidates: int | None = None
    blend: float = 0.0
    retriever: str | None = None
    run: str | None = None

    @property
    def alone(self) -> bool:
        """Whether it is retrieval without reranking."""
        return self.run is None and self.reranker == NONE

    @property
    def name(self) -> str:
        """The name without depth and blend."""
        if self.run is not None:
            return self.run
        if self.retriever is None:
            return self.reranker
        return self.retriever + ("" if self.alone else f" with {self.reranker}")

    @property
    def settings(self) -> str:
        """The depth and blend, if they apply."""
        depth = [] if self.candidates is None else [f"{self.candidates} candidates"]
        return ", ".join([*depth, *([f"blend {self.blend:g}"] if self.blend else [])])

    def __str__(self) -> str:
        return ", ".join(filter(None, [self.name, self.settings]))


@dataclass(frozen=True, slots=True)
class Measured:
    """The measured values of a system.

    Args:
        values: Metric name -> query_id -> value, over the queries with judgements.
        run: query_id -> its documents with their scores, best first.
        seconds: Seconds per query, including embedding and retrieval; None for an external run.
    """

    system: System
    values: Mapping[str, Values]
    run: Mapping[str, Sequence[tuple[str, float]]]
    seconds: float | None = None

    def mean(self, metric: str) -> float:
        """Return a metric's mean over the queries."""
        values = self.values[metric]
        return sum(values.values()) / len(values) if values else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A system compared with another, by one metric.

    Args:
        gain: Mean difference, this system minus the other.
        interval: 95 % confidence interval of the gain, corrected for the number of systems.
        p: p-value of the paired randomisation test, corrected in the same way: below 0.05 if and
            only if the interval excludes 0.
        better: Queries whose value rose; `worse` and `same` likewise.
        queries_needed: About how many queries would show an effect of this size; None: no effect.
    """

    system: System
    metric: str
    gain: float
    interval: tuple[float, float]
    p: float
    better: int
    worse: int
    same: int
    queries_needed: int | None


@dataclass(frozen=True, slots=True)
class Gains:
    """The comparisons of all systems except the first, by one metric.

    Args:
        over_alone: Each system against the same retriever alone; a run against the first run.
            None if the system is retrieval alone.
        over_first: Each system against the first retriever alone; empty unless there are several
            retrievers.
    """

    over_alone: Sequence[Comparison | None]
    over_first: Sequence[Comparison] = ()


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """A document as the report shows it."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A complete evaluation.

    Args:
        name: The title, as the user named it.
        metrics: Names; systems are compared by the first.
        queries: query_id -> text of the queries with judgements.
        qrels: query_id -> doc_id -> relevance.
        baseline: Retrieval alone, by the first of several retrievers; or the first of several runs.
        systems: The others, in the requested order.
        gains: Metric name -> how the systems compare, in the order of `systems`.
        verdicts: The conclusions, as sentences.
        notes: Remarks such as the number of queries without judgements.
        documents: The documents that the report shows, by doc_id.
        retrievers: The retrievers measured; empty for external runs.
    """

    name: str
    metrics: Sequence[str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    baseline: Measured
    systems: Sequence[Measured]
    gains: Mapping[str, Gains]
    verdicts: Sequence[str] = ()
    notes: Sequence[str] = ()
    documents: Mapping[str, ShownDocument] = field(default_factory=dict)
    retrievers: Sequence[str] = ()

    @property
    def measured(self) -> list[Measured]:
        """Every system, the baseline first."""
        return [self.baseline, *self.systems]

    @property
    def over_alone(self) -> Sequence[Comparison | None]:
        """Each system against the same retriever alone, by the first metric."""
        return self.gains[self.metrics[0]].over_alone

    @property
    def over_first(self) -> Sequence[Comparison]:
        """Each system against the first of several retrievers, by the first metric."""
        return self.gains[self.metrics[0]].over_first

    @property
    def comparisons(self) -> list[Comparison]:
        """All comparisons with the same retriever alone, by the first metric."""
        return [comparison for comparison in self.over_alone if comparison is not None]

    def reference(self, measured: Measured) -> Measured:
        """Return the reference of a system's gain: the same retriever alone, else the baseline."""
        return reference(measured.system, self.measured)


def reference(system: System, measured: Sequence[Measured]) -> Measured:
    """Return the reference of a system: the same retriever alone, else the first system."""
    if not system.alone:
        for candidate in measured:
            if candidate.system.alone and candidate.system.retriever == system.retriever:
                return candidate
    return measured[0]
