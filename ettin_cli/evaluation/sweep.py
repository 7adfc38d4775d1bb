"""Answer the judged queries with every system, exactly as a search with its options.

Candidates, reranking and ranking are those of `search`. In addition, a pair is scored once for all
systems that share it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from ettin_cli.evaluation.metrics import Metric, evaluate
from ettin_cli.evaluation.results import Measured, System
from ettin_cli.evaluation.scored_once import Meter, ScoredOnce
from ettin_cli.files import without_spaces
from ettin_cli.files.writers import best_scores, trec_ranking
from ettin_cli.index import Index
from ettin_cli.records import (
    Advance,
    Candidate,
    Hit,
    Passage,
    Qrels,
    Query,
    Reporter,
    Scores,
    TimedReranker,
)
from ettin_cli.searching import (
    CandidateFinder,
    Remaining,
    Retrieved,
    Retriever,
    Search,
    SearchOptions,
    Step,
    rank,
    read_candidates,
    rerank_candidates,
    work,
)
from ettin_cli.settings import NONE, TOP_K

if TYPE_CHECKING:
    from ettin_cli.index import Rows

WINDOW = 256
WHOLE_RUN = 1000
# Blends from which one is recommended, besides those measured.
TRIED_BLENDS = (0.0, 0.3, 0.5, 0.7, 0.85)

Ranking = list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Sweep:
    """The systems to measure.

    Args:
        retrievers: Retrievers by displayed name; the first alone is the baseline.
        rerankers: Rerankers by displayed name.
        candidates: Depths in passages; empty: all passages of each query's judged documents.
        blends: Shares of the retrieval score; "auto" is the reranker's own.
        before: The earlier steps of each reranker's cascade, by the same names.
        options: Search options except depth, blend and number of hits.
        own_blends: The share that "auto" stands for, by the name of the reranker.
    """

    retrievers: Mapping[str, Retriever]
    rerankers: Mapping[str, TimedReranker]
    candidates: Sequence[int]
    blends: Sequence[float | str]
    metrics: Sequence[Metric]
    before: Mapping[str, Sequence[Step[TimedReranker]]] = field(default_factory=dict)
    options: SearchOptions = field(default_factory=SearchOptions)
    own_blends: Mapping[str, float] = field(default_factory=dict)

    def own_blend(self, reranker: str) -> float:
        """Return the share of the retrieval score that "auto" stands for."""
        return self.own_blends.get(reranker, 0.0)

    def shares(self, reranker: str) -> list[float]:
        """Return the blends of a reranker as numbers, in ascending order."""
        own = self.own_blend(reranker)
        return sorted({own if isinstance(blend, str) else blend for blend in self.blends})

    def alone(self, retriever: str) -> System:
        """Return the system of retrieval alone."""
        return System(retriever=retriever)

    @property
    def baseline(self) -> System:
        """The first retriever alone."""
        return self.alone(next(iter(self.retrievers)))

    def reranked(self, retriever: str) -> list[System]:
        """Return every system that reranks the candidates of a retriever."""
        return [
            System(reranker, depth, blend, retriever)
            for reranker in self.rerankers
            for depth in self.depths
            for blend in self.shares(reranker)
        ]

    @property
    def systems(self) -> list[System]:
        """Every system except the baseline, in display order."""
        every = [
            system
            for retriever in self.retrievers
            for system in (self.alone(retriever), *self.reranked(retriever))
        ]
        return every[1:]

    @property
    def depths(self) -> Sequence[int | None]:
        """The depths, or only None if the judged documents are ranked."""
        return self.candidates or (None,)

    @property
    def top_k(self) -> int:
        """The number of hits per query that the metrics need."""
        cutoffs = [metric.cutoff for metric in self.metrics]
        deepest = [WHOLE_RUN if cutoff is None else cutoff for cutoff in cutoffs]
        return max([TOP_K, *deepest])

    def searched(self, depth: int | None) -> SearchOptions:
        """Return the search options of the systems at a depth, without their blends."""
        # Judged documents are never merged: each is ranked.
        options = replace(self.options, top_k=self.top_k, blend=0.0)
        return replace(options, fold=NONE) if depth is None else replace(options, candidates=depth)

    @property
    def searched_alone(self) -> SearchOptions:
        """The search options of retrieval alone."""
        return self.searched(self.depths[-1]).without_reranker


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


def run_sweep(
    index: Index,
    queries: Sequence[Query],
    qrels: Qrels,
    sweep: Sweep,
    reporter: Reporter,
) -> Outcome:
    """Return the outcome of every system of a sweep on the judged queries."""
    tries = _Tries(index, qrels, sweep)
    done = 0

    def share() -> float:
        """Return the share of the queries that is done, those in progress by their pairs."""
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


@dataclass(slots=True)
class _Candidates:
    """Each query's candidates under some options, and the total seconds to find them."""

    candidates: list[list[Candidate]] = field(default_factory=list)
    seconds: float = 0.0


class _ReadOnce:
    """Reads passages of an index, each once, since the depths of a sweep share most of them."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.known: dict[int, Passage] = {}

    def __call__(self, rows: Rows) -> list[Passage]:
        """Return passages by row."""
        numbers = rows.tolist()
        fresh = [row for row in numbers if row not in self.known]
        self.known.update(zip(fresh, self.index.read(fresh), strict=True))
        return [self.known[row] for row in numbers]


class _Tries:
    def __init__(self, index: Index, qrels: Qrels, sweep: Sweep) -> None:
        self.index, self.qrels, self.sweep = index, qrels, sweep
        self.rows_of = _rows_by_document(index) if not sweep.candidates else {}
        steps = chain.from_iterable(sweep.before.values())
        rerankers = [*sweep.rerankers.values(), *(step.reranker for step in steps)]
        self.meter = Meter()
        self.once = {id(reranker): ScoredOnce(reranker, self.meter) for reranker in rerankers}
        self.runs: dict[System, dict[str, Ranking]] = defaultdict(dict)
        self.tried: dict[System, dict[str, Ranking]] = defaultdict(dict)
        self.seconds: dict[System, float] = defaultdict(float)
        self.labelled: dict[str, dict[tuple[str, str], Labelled]] = defaultdict(dict)
        self.rows: dict[str, dict[str, int]] = defaultdict(dict)
        self.unindexed = 0
        self.scored: dict[str, int] = defaultdict(int)
        self.truncated: dict[str, int] = defaultdict(int)
        self.progress = 0.0

    def answer(self, queries: Sequence[Query], advance: Advance) -> None:
        """Add a window of queries to the run of every system."""
        rerankers = self.sweep.rerankers
        for at, retriever in enumerate(self.sweep.retrievers):
            retrieved = self._retrieve(retriever, queries)
            for job, name in enumerate(rerankers, at * len(rerankers)):
                self.progress = job / (len(rerankers) * len(self.sweep.retrievers))
                # The deepest first: its pairs include most of the others'.
                for depth in reversed(self.sweep.depths):
                    self._rerank(retriever, name, depth, queries, retrieved, advance)
        for once in self.once.values():
            once.forget()

    def _retrieve(
        self, retriever: str, queries: Sequence[Query]
    ) -> Mapping[SearchOptions, _Candidates]:
        """Return the candidates of each search of the sweep, and rank retrieval alone."""
        began = time.perf_counter()
        searches = self.sweep.retrievers[retriever].searches(
            [query.every_form for query in queries]
        )
        embedding = time.perf_counter() - began
        alone = self.sweep.searched_alone
        reranked = map(self.sweep.searched, self.sweep.depths) if self.sweep.rerankers else ()
        read = _ReadOnce(self.index)
        finders = {
            options: CandidateFinder(self.index, options, read) for options in (alone, *reranked)
        }
        retrieved = {options: _Candidates(seconds=embedding) for options in finders}
        # All depths of a query before the next query: a retriever caches its last scores.
        for query, search in zip(queries, searches, strict=True):
            for options, finder in finders.items():
                began = time.perf_counter()
                judged = not self.sweep.candidates
                candidates = self._judged(query, search) if judged else finder.find(search)
                retrieved[options].candidates.append(candidates)
                retrieved[options].seconds += time.perf_counter() - began
        system = self.sweep.alone(retriever)
        self.seconds[system] += retrieved[alone].seconds
        for query, candidates in zip(queries, retrieved[alone].candidates, strict=True):
            self._rank(system, query, Remaining(candidates), None, alone)
        return retrieved

    def _judged(self, query: Query, search: Search) -> list[Candidate]:
        """Return all passages of the judged documents, those not retrieved last."""
        import numpy as np

        judged = self.qrels.get(query.query_id, {})
        self.unindexed += sum(doc_id not in self.rows_of for doc_id in judged)
        rows = [row for doc_id in judged for row in self.rows_of.get(doc_id, ())]
        among = np.array(sorted(rows), np.int64)
        retrieved = search(max(1, len(rows)), among)
        rest = np.setdiff1d(among, retrieved.rows)
        scores = np.concatenate([retrieved.scores, np.zeros(len(rest), np.float32)])
        every = Retrieved(np.concatenate([retrieved.rows, rest]), scores)
        return read_candidates(self.index.read, every, range(len(every.rows)))

    def _rerank(
        self,
        retriever: str,
        name: str,
        depth: int | None,
        queries: Sequence[Query],
        retrieved: Mapping[SearchOptions, _Candidates],
        advance: Advance,
    ) -> None:
        """Rank the candidates with a reranker or cascade at one depth and every blend."""
        options = self.sweep.searched(depth)
        candidates = retrieved[options].candidates
        deepest = depth == self.sweep.depths[-1]
        steps = self.sweep.before.get(name, ())
        before = [Step(self.once[id(step.reranker)], step.keep) for step in steps]
        last = self.once[id(self.sweep.rerankers[name])]
        if deepest:
            advance = self._watched(work(map(len, candidates), before), advance)
        self.meter.pairs, self.meter.truncated, self.meter.seconds = 0, 0, 0.0
        scored = rerank_candidates(queries, candidates, before, last, options, advance)
        for blend in self.sweep.shares(name):
            system = System(name, depth, blend, retriever)
            self.seconds[system] += retrieved[options].seconds + self.meter.seconds
            for query, (left, scores) in zip(queries, scored, strict=True):
                self._rank(system, query, left, scores, replace(options, blend=blend))
        if deepest and depth is not None:
            for blend in {*TRIED_BLENDS, self.sweep.own_blend(name)}:
                tried = self.tried[System(name, depth, blend, retriever)]
                blended = replace(options, blend=blend)
                for query, (left, scores) in zip(queries, scored, strict=True):
                    hits = rank(left.candidates, scores, blended, left.ranks)
                    tried[query.query_id] = trec_ranking(hits)
        if deepest:
            self.scored[name] += self.meter.pairs
            self.truncated[name] += self.meter.truncated
        if deepest and not before:
            for query, (left, scores) in zip(queries, scored, strict=True):
                everything = replace(options, top_k=max(1, len(left.candidates)))
                hits = rank(left.candidates, scores, everything)
                self._label(name, query.query_id, hits)

    def _watched(self, pairs: int, advance: Advance) -> Advance:
        """Return an `advance` that also records progress through a system's pairs in a window."""
        total = max(1, pairs) * len(self.sweep.rerankers) * len(self.sweep.retrievers)

        def watched(more: int) -> None:
            self.progress += more / total
            advance(more)

        return watched

    def _rank(
        self,
        system: System,
        query: Query,
        left: Remaining,
        scores: Scores | None,
        options: SearchOptions,
    ) -> None:
        """Add a query's hits to the run of a system."""
        hits = rank(left.candidates, scores, options, left.ranks)
        self.runs[system][query.query_id] = trec_ranking(hits)
        rows = self.rows[query.query_id]
        for hit in hits:
            for row, passage in [(hit.passage_id, hit.passage), *hit.duplicates.items()]:
                rows.setdefault(without_spaces(passage.doc_id), row)

    def _label(self, reranker: str, query_id: str, hits: Sequence[Hit]) -> None:
        """Label each document by its best hit over all retrievers."""
        judged, labelled = self.qrels.get(query_id, {}), self.labelled[reranker]
        for doc_id, score in best_scores(hits).items():
            before = labelled.get((query_id, doc_id))
            if before is None or before.score < score:
                relevant = judged.get(doc_id, 0) > 0
                labelled[query_id, doc_id] = Labelled(query_id, score, relevant, doc_id in judged)

    def outcome(self, queries: int) -> Outcome:
        """Return the measured runs."""
        systems = [self._measured(system, queries) for system in self.sweep.systems]
        baseline = self._measured(self.sweep.baseline, queries)
        return Outcome(
            baseline,
            systems,
            {name: list(pairs.values()) for name, pairs in self.labelled.items()},
            self.rows,
            self.unindexed,
            dict(self.scored),
            dict(self.truncated),
            self._blends(),
        )

    def _blends(self) -> dict[System, dict[float, float]]:
        """Return the mean of the first metric for each blend tried."""
        metric = self.sweep.metrics[0]
        means: dict[System, dict[float, float]] = defaultdict(dict)
        for system, run in sorted(self.tried.items(), key=lambda entry: entry[0].blend):
            rankings = {query_id: dict(ranking) for query_id, ranking in run.items()}
            values = evaluate(rankings, self.qrels, [metric])[metric].values()
            name = replace(system, blend=self.sweep.own_blend(system.reranker))
            means[name][system.blend] = sum(values) / max(1, len(values))
        return dict(means)

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
