"""An index, judged queries and systems to measure -> an evaluation and calibrations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.evaluation.measuring import evaluation_of, judged_queries
from ettin_cli.evaluation.metrics import Metric, parse_metrics
from ettin_cli.evaluation.outcome import Labelled, Outcome
from ettin_cli.evaluation.results import Evaluation
from ettin_cli.evaluation.sweep import (
    RowsByDocument,
    Sweep,
    rows_by_document,
    sweep_results,
)
from ettin_cli.evaluation.sweep_results import SweepResults
from ettin_cli.index import Index
from ettin_cli.models.rerankers import KeptScores, ResolvedReranker, require_long
from ettin_cli.records import Qrels, Query, TimedReranker
from ettin_cli.searching import (
    Models,
    RerankerCascade,
    Retriever,
    SearchOptions,
    Step,
    cascade_name,
    choose_retriever,
    require_blend,
    require_retriever,
)
from ettin_cli.searching.calibration import Calibration, fit, save
from ettin_cli.settings import AUTO, CANDIDATES, ETTIN_MODELS, MAX, METRICS, TRUNCATE

# Queries and their judgements -> what every system does for them.
Results = Callable[[Sequence[Query], Qrels], SweepResults]


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What to measure.

    Args:
        retrievers: Names as in search; several are compared.
        rerankers: Rerankers by the names that results show; empty: retrieval alone.
        candidates: Depths, smallest first; empty: rank the judged documents of each query.
        blends: Shares of the retrieval score; "auto" is the reranker's.
        metrics: Systems are compared by the first.
        expand: Whether to measure each retriever with query expansion as well.
        long: How rerankers score texts beyond their token limit.
        options: Search options except depth, blend and number of hits.
        exact: Whether to score with the model even where the index has its token vectors.
        instruction: What an embedder that takes instructions is told; None: its own.
        ignores_own: Whether the document with a query's own id is no hit.

    Raises:
        InvalidArgumentError: A name is unknown or a number is out of range.
    """

    retrievers: Sequence[str] = (AUTO,)
    rerankers: Mapping[str, RerankerCascade] = field(default_factory=dict)
    candidates: Sequence[int] = (CANDIDATES,)
    blends: Sequence[float | str] = (AUTO,)
    metrics: Sequence[Metric] = field(default_factory=lambda: parse_metrics(METRICS))
    expand: bool = False
    long: str = TRUNCATE
    options: SearchOptions = field(default_factory=SearchOptions)
    exact: bool = False
    instruction: str | None = None
    ignores_own: bool = False

    def __post_init__(self) -> None:
        for name in self.retrievers:
            require_retriever(name)
        require_long(self.long, reranked=bool(self.rerankers))
        if not self.blends:
            raise InvalidArgumentError("blends are empty", argument="blends")
        for blend in self.blends:
            require_blend(blend, "blends")
        if any(depth < 1 for depth in self.candidates):
            raise InvalidArgumentError(
                f"candidates {list(self.candidates)} are not all at least 1",
                argument="candidates",
            )


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration fitted for a reranker, and its file."""

    reranker: str
    calibration: Calibration
    path: Path


class Evaluator:
    """Measures the systems of a request on an index, loading each model once.

    Args:
        keeps: Keep scores in `kept`, by the identity of the reranker, instead of in the cache.
    """

    def __init__(
        self, index: Index, models: Models, request: EvaluationRequest, *, keeps: bool = False
    ) -> None:
        self.index, self.models, self.request, self.keeps = index, models, request, keeps
        self.kept: dict[str, KeptScores] = {}

    @cached_property
    def sweep(self) -> Sweep:
        """The systems to measure.

        Raises:
            IndexMismatchError: The index has no terms, or its embedder's weights have changed.
        """
        request = self.request
        retrievers = [
            self._retriever(name, expand)
            for name in request.retrievers
            for expand in ((False, True) if request.expand else (False,))
        ]
        return Sweep(
            {retriever.name: retriever for retriever in retrievers},
            {name: self._reranker(cascade) for name, cascade in request.rerankers.items()},
            request.candidates,
            request.blends,
            request.metrics,
            {name: self._before(cascade) for name, cascade in request.rerankers.items()},
            request.options,
            {name: cascade.blend for name, cascade in request.rerankers.items()},
            request.ignores_own,
        )

    def _retriever(self, name: str, expand: bool) -> Retriever:
        return choose_retriever(
            name,
            self.index,
            lambda: self.models.instructed_embedder(self.index, self.request.instruction),
            self.models.reporter,
            expand=expand,
        )

    def _reranker(self, cascade: RerankerCascade) -> TimedReranker:
        return self._cached(cascade.last)

    def _before(self, cascade: RerankerCascade) -> list[Step[TimedReranker]]:
        return [Step(self._cached(reranker), keep) for reranker, keep in cascade.before]

    def _cached(self, resolved: ResolvedReranker) -> TimedReranker:
        tokens_of = None if self.request.exact else self.index
        kept = self.kept.setdefault(resolved.identity, KeptScores()) if self.keeps else None
        return self.models.cached_reranker(resolved, self.request.long, tokens_of, kept)

    @cached_property
    def _rows_of(self) -> RowsByDocument | None:
        return None if self.request.candidates else rows_by_document(self.index)

    def results(self, queries: Sequence[Query], qrels: Qrels) -> SweepResults:
        """Return what every system does for queries.

        Args:
            qrels: The judgements of these queries.
        """
        return sweep_results(
            self.index, queries, qrels, self.sweep, self.models.reporter, self._rows_of
        )

    def run(self, queries: Sequence[Query], qrels: Qrels) -> Outcome:
        """Return the outcome of answering queries with every system."""
        return self.results(queries, qrels).outcome(self.sweep, qrels)

    def measure(
        self,
        name: str,
        queries: Sequence[Query],
        qrels: Qrels,
        remarks: Sequence[str] = (),
        results: Results | None = None,
    ) -> tuple[Evaluation, Outcome]:
        """Return the comparison of every system on the judged queries, and the raw outcome.

        Args:
            name: The title of the evaluation.
            remarks: Notes to begin with.
            results: Does what the method `results` does, such as in units.

        Raises:
            CorpusError: No query has judgements.
        """
        judged, kept, found = judged_queries(queries, qrels)
        notes = [*remarks, *found]
        if self.request.ignores_own:
            notes.append("the document with a query's own id is no hit, as in mteb")
        if self.request.long == MAX:
            notes.append("texts beyond a reranker's token limit are scored by their best window")
        outcome = (results or self.results)(judged, kept).outcome(self.sweep, kept)
        return evaluation_of(name, outcome, judged, kept, self.sweep, notes), outcome

    def calibrate(self, outcome: Outcome) -> Iterator[Calibrated]:
        """Yield a calibration fitted to each reranker's hits, saved in the index.

        Raises:
            CalibrationError: There are too few judgements.
            OutputError: A file cannot be written.
        """
        retrievers = list(self.sweep.retrievers) if self.request.candidates else []
        for name, labelled in outcome.labelled.items():
            fitted = _fitted(labelled, retrievers)
            tokens = self.sweep.rerankers[name].card.max_tokens
            last = self.request.rerankers[name].last
            path = save(self.index.folder, last, tokens, fitted, long=self.request.long)
            yield Calibrated(name, fitted, path)


def require_calibratable(rerankers: Mapping[str, RerankerCascade]) -> None:
    """Check that rerankers can be calibrated.

    Raises:
        InvalidArgumentError: There is no reranker, or one is a cascade.
    """
    if not rerankers:
        raise InvalidArgumentError(
            "a calibration needs a reranker", code="needs-reranker", argument="calibrate"
        )
    if several := [name for name, cascade in rerankers.items() if cascade.before]:
        raise InvalidArgumentError(
            f"cannot calibrate the cascade {several[0]}; give single rerankers",
            argument="calibrate",
        )


def named_rerankers(names: Sequence[str], models: Models) -> dict[str, RerankerCascade]:
    """Return rerankers by short names, without `none`, which stands for retrieval alone.

    Raises:
        InvalidArgumentError: A name is not a valid reranker or cascade.
        ModelError: A reranker is unknown or cannot be downloaded.
    """
    wanted = [name for name in dict.fromkeys(names) if name != "none"]
    return {_short(cascade): cascade for cascade in map(models.find_rerankers, wanted)}


def _short(cascade: RerankerCascade) -> str:
    aliases = {model.hub_id: model.alias for model in ETTIN_MODELS.values()}
    *before, last = [aliases.get(reranker.name, reranker.name) for reranker in cascade.every]
    keeps = [keep for _, keep in cascade.before]
    return cascade_name(zip(before, keeps, strict=True), last)


def _fitted(labelled: Sequence[Labelled], retrievers: Sequence[str]) -> Calibration:
    import numpy as np

    scores = np.array([pair.score for pair in labelled], np.float32)
    relevant = np.array([pair.relevant for pair in labelled], np.bool_)
    return fit(
        scores,
        relevant,
        [pair.query_id for pair in labelled],
        judged=sum(pair.judged for pair in labelled),
        retrievers=retrievers,
    )
