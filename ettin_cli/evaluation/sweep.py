"""Answer the judged queries with every system: each pair scored once, used at every depth."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from ettin_cli.evaluation.results import Measured, System
from ettin_cli.index import Index
from ettin_cli.metrics import Metric, evaluate
from ettin_cli.pipeline.cascade import Left, Step, narrowed, pairs_of, work
from ettin_cli.pipeline.retrieving import Retrieved, Retriever, Search
from ettin_cli.pipeline.searching import candidates_of
from ettin_cli.ranking import SearchOptions, most_documents, rank
from ettin_cli.records import (
    Advance,
    Candidate,
    Hit,
    Qrels,
    Query,
    Reporter,
    Scores,
    TimedReranker,
)
from ettin_cli.settings import TOP_K
from ettin_cli.trec import without_spaces
from ettin_cli.writers import decreasing

if TYPE_CHECKING:
    from ettin_cli.records import Floats

WINDOW = 256
WHOLE_RUN = 1000

Ranking = list[tuple[str, float]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sweep:
    """What to try.

    Args:
        retrievers: By the names that they are shown with; the first alone is the baseline.
        rerankers: By the names that they are shown with.
        candidates: Depths, in passages scored; none: the judged documents of each query, all of
            their passages.
        blends: Shares of the retrieval score.
        before: By the same names, rerankers that score before one, which is given their best
            alone.
    """

    retrievers: Mapping[str, Retriever]
    rerankers: Mapping[str, TimedReranker]
    candidates: Sequence[int]
    blends: Sequence[float]
    metrics: Sequence[Metric]
    before: Mapping[str, Sequence[Step[TimedReranker]]] = field(default_factory=dict)

    def alone(self, retriever: str) -> System:
        """Return retrieval alone."""
        return System(retriever=retriever)

    @property
    def baseline(self) -> System:
        """Retrieval alone, by the first retriever."""
        return self.alone(next(iter(self.retrievers)))

    def reranked(self, retriever: str) -> list[System]:
        """Return every system that reranks what a retriever found."""
        return [
            System(reranker, depth, blend, retriever)
            for reranker in self.rerankers
            for depth in self.depths
            for blend in self.blends
        ]

    @property
    def systems(self) -> list[System]:
        """Every system but the baseline, in the order in which they are shown."""
        every = [
            system
            for retriever in self.retrievers
            for system in (self.alone(retriever), *self.reranked(retriever))
        ]
        return every[1:]

    @property
    def depths(self) -> Sequence[int | None]:
        """The depths, or None alone where the judged documents are what is ranked."""
        return self.candidates or (None,)

    @property
    def documents(self) -> int:
        """How many documents of a run count for the metrics."""
        cutoffs = [metric.cutoff for metric in self.metrics]
        deepest = [WHOLE_RUN if cutoff is None else cutoff for cutoff in cutoffs]
        return max([TOP_K, *deepest])


@dataclass(frozen=True, slots=True)
class Labelled:
    """A hit's raw score and whether its document is relevant: what a calibration learns from.

    Args:
        judged: Whether somebody said so; a document without a judgement counts as irrelevant.
    """

    query_id: str
    score: float
    relevant: bool
    judged: bool


@dataclass(slots=True)
class Outcome:
    """What the sweep found.

    Args:
        labelled: By reranker, the hits of the deepest system over every retriever, each document
            of a query once.
        rows: By query_id and doc_id, the row of the passage that retrieval ranks highest.
        unindexed: Judged documents that the index does not hold.
        scored: By reranker, how many texts it scored, a text once a query.
        truncated: By reranker, how many of those it could not read whole.
    """

    baseline: Measured
    systems: list[Measured]
    labelled: dict[str, list[Labelled]]
    rows: dict[str, dict[str, int]]
    unindexed: int
    scored: dict[str, int]
    truncated: dict[str, int]


def run_sweep(
    index: Index,
    queries: Sequence[Query],
    qrels: Qrels,
    sweep: Sweep,
    reporter: Reporter,
) -> Outcome:
    """Measure retrieval alone and every system of a sweep on the judged queries.

    Below the documents that a system reranked follow the others that retrieval found, in its
    order, so that a metric deeper than the candidates is not lost by reranking.
    """
    tries = _Tries(index, qrels, sweep)
    done = 0

    def share() -> float:
        """Return which share of the queries is done, those in progress by their pairs."""
        return (done + tries.progress * min(WINDOW, len(queries) - done)) / max(1, len(queries))

    unit = "pairs" if sweep.rerankers else "queries"
    with reporter.track("evaluating", None, unit, share) as advance:
        waiting = iter(queries)
        while window := list(islice(waiting, WINDOW)):
            tries.answer(window, advance)
            done, tries.progress = done + len(window), 0.0
            if not sweep.rerankers:
                advance(len(window))
    return tries.outcome(len(queries))


@dataclass(frozen=True, slots=True)
class _Found:
    """What retrieval found for a query: passages to score, and documents with their scores."""

    query: Query
    candidates: Sequence[Candidate]
    documents: Mapping[str, float]


class _Tries:
    def __init__(self, index: Index, qrels: Qrels, sweep: Sweep) -> None:
        self.index, self.qrels, self.sweep = index, qrels, sweep
        self.rows_of = _rows_by_document(index) if not sweep.candidates else {}
        self.runs: dict[System, dict[str, Ranking]] = defaultdict(dict)
        self.seconds: dict[System, float] = defaultdict(float)
        self.labelled: dict[str, dict[tuple[str, str], Labelled]] = defaultdict(dict)
        self.rows: dict[str, dict[str, int]] = {}
        self.unindexed = 0
        self.scored: dict[str, int] = defaultdict(int)
        self.truncated: dict[str, int] = defaultdict(int)
        self.progress = 0.0

    def answer(self, queries: Sequence[Query], advance: Advance) -> None:
        """Add a window of queries to the run of every system."""
        for retriever in self.sweep.retrievers:
            self._answer(retriever, queries, advance)

    def _answer(self, retriever: str, queries: Sequence[Query], advance: Advance) -> None:
        began = time.perf_counter()
        searches = self.sweep.retrievers[retriever].searches(
            [query.every_form for query in queries]
        )
        found = [self._found(query, one) for query, one in zip(queries, searches, strict=True)]
        retrieval = time.perf_counter() - began
        alone = self.sweep.alone(retriever)
        for system in [alone, *self.sweep.reranked(retriever)]:
            self.seconds[system] += retrieval
        for one in found:
            self.runs[alone][one.query.query_id] = _ranking({}, one.documents)
        for name in self.sweep.rerankers:
            if self.sweep.before.get(name):
                for depth in self.sweep.depths:
                    self._cascade(retriever, name, depth, found, advance)
            else:
                self._rerank(retriever, name, found, advance)

    def _found(self, query: Query, search: Search) -> _Found:
        found = self._retrieved(query, search)
        doc_ids = self.index.passages.column("doc_id", found.rows)
        best = _firsts(doc_ids, found.scores.tolist())
        ordered = sorted(best.items(), key=lambda one: (-one[1], one[0]))
        documents = dict(ordered[: self.sweep.documents])
        places = _firsts(map(without_spaces, doc_ids), found.rows.tolist())
        self.rows[query.query_id] = places | self.rows.get(query.query_id, {})
        deepest = max(self.sweep.candidates, default=len(found.rows))
        kept = most_documents(doc_ids, deepest, TOP_K)
        return _Found(query, candidates_of(self.index, found, kept), documents)

    def _retrieved(self, query: Query, search: Search) -> Retrieved:
        if not self.sweep.candidates:
            return self._judged(query, search)
        depth = max(*self.sweep.candidates, self.sweep.documents)
        while True:
            found = search(depth, None)
            documents = len(set(self.index.passages.column("doc_id", found.rows)))
            if documents >= self.sweep.documents or len(found.rows) < depth:
                return found
            depth *= 4

    def _judged(self, query: Query, search: Search) -> Retrieved:
        """Return all passages of the judged documents, last those that retrieval does not find."""
        import numpy as np

        judged = self.qrels.get(query.query_id, {})
        self.unindexed += sum(doc_id not in self.rows_of for doc_id in judged)
        rows = [row for doc_id in judged for row in self.rows_of.get(doc_id, ())]
        among = np.array(sorted(rows), np.int64)
        found = search(max(1, len(rows)), among)
        rest = np.setdiff1d(among, found.rows)
        scores = np.concatenate([found.scores, np.zeros(len(rest), np.float32)])
        return Retrieved(np.concatenate([found.rows, rest]), scores)

    def _cascade(
        self,
        retriever: str,
        name: str,
        depth: int | None,
        found: Sequence[_Found],
        advance: Advance,
    ) -> None:
        """Rank at one depth what several rerankers leave to the last one, at every blend."""
        before = self.sweep.before[name]
        system = System(name, depth, retriever=retriever)
        queries = [one.query for one in found]
        left = [Left(self._at_depth(one, depth)) for one in found]
        counts = [len(one.candidates) for one in left]
        scored = self._counted(work(counts, before) * len(self.sweep.depths), advance)
        deepest = depth == self.sweep.depths[-1]

        def score(reranker: TimedReranker) -> Scores:
            scores, seconds = reranker.timed(pairs_of(queries, left), scored)
            for blend in self.sweep.blends:
                self.seconds[replace(system, blend=blend)] += float(seconds.sum())
            self.scored[name] += len(scores.values) * deepest
            self.truncated[name] += int(scores.truncated.sum()) * deepest
            return scores

        for step in before:
            left = list(narrowed(left, score(step.reranker), step, documents=TOP_K))
        verdicts = score(self.sweep.rerankers[name]).split(len(one.candidates) for one in left)
        for one, rest, verdict in zip(found, left, verdicts, strict=True):
            self._order(system, one, rest.candidates, verdict)

    def _at_depth(self, found: _Found, depth: int | None) -> list[Candidate]:
        doc_ids = [candidate.passage.doc_id for candidate in found.candidates]
        kept = most_documents(doc_ids, depth or len(doc_ids), TOP_K)
        return [found.candidates[at] for at in kept]

    def _counted(self, pairs: int, advance: Advance) -> Advance:
        """Return what tells of progress where a system scores so many pairs of a window."""
        whole = max(1, pairs) * len(self.sweep.rerankers) * len(self.sweep.retrievers)

        def scored(more: int) -> None:
            self.progress += more / whole
            advance(more)

        return scored

    def _rerank(self, retriever: str, name: str, found: Sequence[_Found], advance: Advance) -> None:
        reranker = self.sweep.rerankers[name]
        pairs = [(one.query.text, c.passage.content) for one in found for c in one.candidates]
        scores, seconds = reranker.timed(pairs, self._counted(len(pairs), advance))
        self.scored[name] += len(pairs)
        self.truncated[name] += int(scores.truncated.sum())
        begin = 0
        counts = [len(one.candidates) for one in found]
        for one, verdict in zip(found, scores.split(counts), strict=True):
            took = seconds[begin : begin + len(one.candidates)]
            begin += len(one.candidates)
            self._try(retriever, name, one, verdict, took)

    def _try(
        self, retriever: str, reranker: str, found: _Found, scores: Scores, seconds: Floats
    ) -> None:
        """Rank a query's candidates at every depth and blend."""
        doc_ids = [candidate.passage.doc_id for candidate in found.candidates]
        for depth in self.sweep.depths:
            kept = most_documents(doc_ids, depth or len(doc_ids), TOP_K)
            candidates = [found.candidates[at] for at in kept]
            verdict = Scores(scores.values[kept], scores.truncated[kept])
            system = System(reranker, depth, retriever=retriever)
            self._order(system, found, candidates, verdict)
            for blend in self.sweep.blends:
                self.seconds[replace(system, blend=blend)] += float(seconds[kept].sum())
        everything = rank(found.candidates, scores, SearchOptions(top_k=len(doc_ids)))
        self._label(reranker, found.query.query_id, everything)

    def _order(
        self, system: System, found: _Found, candidates: Sequence[Candidate], scores: Scores
    ) -> None:
        """Rank a query's candidates at every blend, and below them what else was retrieved."""
        for blend in self.sweep.blends:
            hits = rank(candidates, scores, SearchOptions(top_k=len(candidates), blend=blend))
            reranked = {hit.passage.doc_id: hit.score for hit in hits}
            run = self.runs[replace(system, blend=blend)]
            run[found.query.query_id] = _ranking(reranked, found.documents)

    def _label(self, reranker: str, query_id: str, hits: Sequence[Hit]) -> None:
        """Label each document by its best passage; another retriever may have found it too."""
        judged, labelled = self.qrels.get(query_id, {}), self.labelled[reranker]
        for hit in hits:
            doc_id = without_spaces(hit.passage.doc_id)
            before = labelled.get((query_id, doc_id))
            if before is None or before.score < hit.score:
                relevant = judged.get(doc_id, 0) > 0
                label = Labelled(query_id, hit.score, relevant, doc_id in judged)
                labelled[query_id, doc_id] = label

    def outcome(self, queries: int) -> Outcome:
        """Measure the runs."""
        systems = [self._measured(system, queries) for system in self.sweep.systems]
        baseline = self._measured(self.sweep.baseline, queries)
        return Outcome(
            baseline,
            systems,
            {name: list(found.values()) for name, found in self.labelled.items()},
            self.rows,
            self.unindexed,
            dict(self.scored),
            dict(self.truncated),
        )

    def _measured(self, system: System, queries: int) -> Measured:
        run = self.runs[system]
        values = evaluate(
            {i: dict(ranking) for i, ranking in run.items()}, self.qrels, self.sweep.metrics
        )
        named = {str(metric): by_query for metric, by_query in values.items()}
        return Measured(system, named, run, self.seconds[system] / max(1, queries))


def _rows_by_document(index: Index) -> Mapping[str, Sequence[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, doc_id in enumerate(index.doc_ids()):
        rows[without_spaces(doc_id)].append(row)
    return rows


def _firsts(keys: Iterable[str], values: Iterable[T]) -> dict[str, T]:
    """Return each key's first value, in their order."""
    firsts: dict[str, T] = {}
    for key, value in zip(keys, values, strict=True):
        firsts.setdefault(key, value)
    return firsts


def _ranking(reranked: Mapping[str, float], retrieved: Mapping[str, float]) -> Ranking:
    """Return the documents that were reranked, and below them the others as they were retrieved.

    The scores of the others go on below the lowest of the reranked, which are on another scale.
    """
    lowest = min(reranked.values(), default=0.0)
    rest = {doc_id: score for doc_id, score in retrieved.items() if doc_id not in reranked}
    below = [lowest - place for place in range(1, len(rest) + 1)] if reranked else rest.values()
    names = [without_spaces(doc_id) for doc_id in [*reranked, *rest]]
    return list(zip(names, decreasing([*reranked.values(), *below]), strict=True))
