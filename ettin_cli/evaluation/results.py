"""What a measurement found: systems, their values a query, and how they compare.

Plain values, in the form that the table, the files and the report are made of.
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
        reranker: Its name; `none` is retrieval alone; for a run made elsewhere the file's name.
        candidates: Passages scored a query; None: retrieval alone, the judged documents, or a
            run made elsewhere.
        blend: Share of the retrieval score.
        retriever: What finds the candidates, where several are compared; else None.
    """

    reranker: str = NONE
    candidates: int | None = None
    blend: float = 0.0
    retriever: str | None = None

    @property
    def name(self) -> str:
        """What it is, whatever its depth and blend."""
        if self.retriever is None:
            return self.reranker
        return self.retriever + ("" if self.reranker == NONE else f" with {self.reranker}")

    def __str__(self) -> str:
        depth = "" if self.candidates is None else f", {self.candidates} candidates"
        return f"{self.name}{depth}" + (f", blend {self.blend:g}" if self.blend else "")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a system is worth.

    Args:
        values: Metric name -> query_id -> value, over the queries with judgements.
        run: query_id -> its documents with their scores, best first.
        seconds: What a query took, embedding and retrieval included; None for a run that was
            made elsewhere.
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
    """A system against retrieval alone, by one metric.

    Args:
        gain: Mean difference, this system less the baseline.
        interval: 95 % bootstrap interval of the gain.
        p: Of the paired randomisation test, Holm-corrected for the number of rows.
        better: Queries whose value rose; `worse` and `same` likewise.
        queries_needed: About how many would tell an effect of this size; None: no effect.
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
class Shown:
    """A document as the report shows it to people."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A whole measurement.

    Args:
        name: What was measured, as the user named it.
        metrics: Names, the first of which systems are compared by.
        queries: query_id -> text, of the queries with judgements.
        qrels: query_id -> doc_id -> relevance.
        baseline: Retrieval alone, by the first of several retrievers; or the first of several runs.
        systems: The others, in the order asked for.
        comparisons: One a system, by the first metric, in the order of `systems`.
        verdicts: In words, what the numbers say.
        notes: What to know beside them, such as queries without judgements.
        documents: Those that the report shows, by doc_id.
        retrievers: What found the candidates; empty for runs made elsewhere.
    """

    name: str
    metrics: Sequence[str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    baseline: Measured
    systems: Sequence[Measured]
    comparisons: Sequence[Comparison]
    verdicts: Sequence[str] = ()
    notes: Sequence[str] = ()
    documents: Mapping[str, Shown] = field(default_factory=dict)
    retrievers: Sequence[str] = ()
