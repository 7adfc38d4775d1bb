"""Answer the judged queries with every system, exactly as a search with its options.

Candidates, reranking and ranking are those of `search`. In addition, a pair is scored once for all
systems that share it, and a text is encoded once for all queries and retrievers if the reranker
does not read it together with a query.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from ettin_cli.evaluation.metrics import Metric
from ettin_cli.evaluation.outcome import Labelled, Outcome
from ettin_cli.evaluation.results import System
from ettin_cli.evaluation.scored_once import Meter, ScoredOnce
from ettin_cli.evaluation.sweep_results import Ranking, SweepResults
from ettin_cli.files import without_spaces
from ettin_cli.files.writers import best_scores, trec_ranking
from ettin_cli.index import Index
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
from ettin_cli.searching import (
    MOST_CHARACTERS,
    MOST_PAIRS,
    CandidateFinder,
    ReadOnce,
    Remaining,
    Retrieved,
    Retriever,
    Search,
    SearchOptions,
    Step,
    encodes_apart,
    pairs_of,
    rank,
    read_candidates,
    rerank_candidates,
    work,
)
from ettin_cli.settings import CANDIDATES, NONE, TOP_K

WINDOW = 256
WHOLE_RUN = 1000
# Blends from which one is recommended, besides those measured.
TRIED_BLENDS = (0.0, 0.3, 0.5, 0.7, 0.85)

# doc_id, without spaces -> rows of its passages.
RowsByDocument = Mapping[str, Sequence[int]]


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
        own_blends: By the name of the reranker: the name of a retriever -> what "auto" is over it.
        ignores_own: Whether the document with a query's own id is no hit.
    """

    retrievers: Mapping[str, Retriever]
    rerankers: Mapping[str, TimedReranker]
    candidates: Sequence[int]
    blends: Sequence[float | str]
    metrics: Sequence[Metric]
    before: Mapping[str, Sequence[Step[TimedReranker]]] = field(default_factory=dict)
    options: SearchOptions = field(default_factory=SearchOptions)
    own_blends: Mapping[str, Callable[[str], float]] = field(default_factory=dict)
    ignores_own: bool = False

    def own_blend(self, reranker: str, retriever: str) -> float:
        """Return the share of the retrieval score that "auto" stands for."""
        own = self.own_blends.get(reranker)
        return own(retriever) if own else 0.0

    def shares(self, reranker: str, retriever: str) -> list[float]:
        """Return the blends of a reranker over a retriever as numbers, in ascending order."""
        own = self.own_blend(reranker, retriever)
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
            for blend in self.shares(reranker, retriever)
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
        options = replace(self.options, top_k=self.top_k + self.ignores_own, blend=0.0)
        return replace(options, fold=NONE) if depth is None else replace(options, candidates=depth)

    @property
    def searched_alone(self) -> SearchOptions:
        """The search options of retrieval alone."""
        return self.searched(self.depths[-1]).without_reranker

    @property
    def apart(self) -> bool:
        """Whether a reranker, or the first of a cascade, encodes a text once for all queries."""
        first = [next(iter(steps)).reranker for steps in self.before.values() if steps]
        return any(map(encodes_apart, [*first, *self.rerankers.values()]))

    def window(self, queries: Sequence[Query]) -> int:
        """Return how many queries to answer at once.

        Candidates and query vectors are held in memory, so their number is limited.
        """
        if not self.apart:
            return WINDOW
        pairs = len(self.retrievers) * sum(depth or CANDIDATES for depth in self.depths)
        characters = sum(len(query.text) for query in queries)
        fitting = len(queries) * MOST_CHARACTERS // max(1, characters)
        return max(WINDOW, min(MOST_PAIRS // pairs, fitting))


def run_sweep(
    index: Index,
    queries: Sequence[Query],
    qrels: Qrels,
    sweep: Sweep,
    reporter: Reporter,
) -> Outcome:
    """Return the outcome of every system of a sweep on the judged queries."""
    return sweep_results(index, queries, qrels, sweep, reporter).outcome(sweep, qrels)


def sweep_results(
    index: Index,
    queries: Sequence[Query],
    qrels: Qrels,
    sweep: Sweep,
    reporter: Reporter,
    rows_of: RowsByDocument | None = None,
) -> SweepResults:
    """Return what every system of a sweep does for queries.

    Args:
        qrels: The judgements of these queries.
        rows_of: What `rows_by_document` returns, if it is known.
    """
    if not sweep.candidates and rows_of is None:
        rows_of = rows_by_document(index)
    tries = _Tries(index, qrels, sweep, rows_of or {})
    size, done = sweep.window(queries), 0

    def share() -> float:
        """Return the share of the queries that is done, those in progress by their pairs."""
        return (done + tries.progress * min(size, len(queries) - done)) / max(1, len(queries))

    unit = "pairs" if sweep.rerankers else "queries"
    with reporter.track("evaluating", None, unit, share) as advance:
        waiting = iter(queries)
        while window := list(islice(waiting, size)):
            tries.answer(window, advance)
            done, tries.progress = done + len(window), 0.0
            if not sweep.rerankers:
                advance(len(window))
    return tries.results


@dataclass(slots=True)
class _Candidates:
    """Each query's candidates under some options, and the total seconds to find them."""

    candidates: list[list[Candidate]] = field(default_factory=list)
    seconds: float = 0.0


class _Tries:
    def __init__(self, index: Index, qrels: Qrels, sweep: Sweep, rows_of: RowsByDocument) -> None:
        self.index, self.qrels, self.sweep, self.rows_of = index, qrels, sweep, rows_of
        steps = chain.from_iterable(sweep.before.values())
        rerankers = [*sweep.rerankers.values(), *(step.reranker for step in steps)]
        self.meter = Meter()
        self.once = {id(reranker): ScoredOnce(reranker, self.meter) for reranker in rerankers}
        self.results = SweepResults()
        self.progress = 0.0

    def answer(self, queries: Sequence[Query], advance: Advance) -> None:
        """Add a window of queries to the run of every system."""
        read, retrievers = ReadOnce(self.index), self.sweep.retrievers
        retrieved = {name: self._retrieve(name, queries, read) for name in retrievers}
        jobs = len(self.sweep.rerankers) * len(retrievers)
        for at, name in enumerate(self.sweep.rerankers):
            self._score_together(name, queries, list(retrieved.values()), advance)
            for job, retriever in enumerate(retrievers, at * len(retrievers)):
                self.progress = max(self.progress, job / jobs)
                # The deepest first: its pairs include most of the others'.
                for depth in reversed(self.sweep.depths):
                    self._rerank(retriever, name, depth, queries, retrieved[retriever], advance)
        for once in self.once.values():
            once.forget()

    def _score_together(
        self,
        name: str,
        queries: Sequence[Query],
        retrieved: Sequence[Mapping[SearchOptions, _Candidates]],
        advance: Advance,
    ) -> None:
        """Have a reranker that encodes a text apart score the candidates of all retrievers."""
        steps = self.sweep.before.get(name, ())
        first = steps[0].reranker if steps else self.sweep.rerankers[name]
        if len(retrieved) < 2 or not encodes_apart(first):
            return
        options = self.sweep.searched(self.sweep.depths[-1])
        lists = [one[options].candidates for one in retrieved]
        together = [
            Remaining(list({one.passage_id: one for one in chain(*several)}.values()))
            for several in zip(*lists, strict=True)
        ]
        pairs = pairs_of(queries, together)
        later = sum(work(map(len, one), steps) - sum(map(len, one)) for one in lists)
        total = max(1, len(pairs) + later) * len(self.sweep.rerankers)
        self.once[id(first)].score(pairs, self._watched(total, advance))

    def _retrieve(
        self, retriever: str, queries: Sequence[Query], read: ReadOnce
    ) -> Mapping[SearchOptions, _Candidates]:
        """Return the candidates of each search of the sweep, and rank retrieval alone."""
        began = time.perf_counter()
        searches = self.sweep.retrievers[retriever].searches(
            [query.every_form for query in queries]
        )
        embedding = time.perf_counter() - began
        alone = self.sweep.searched_alone
        reranked = map(self.sweep.searched, self.sweep.depths) if self.sweep.rerankers else ()
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
        self.results.seconds[system] += retrieved[alone].seconds
        for query, candidates in zip(queries, retrieved[alone].candidates, strict=True):
            self._rank(system, query, Remaining(candidates), None, alone)
        return retrieved

    def _judged(self, query: Query, search: Search) -> list[Candidate]:
        """Return all passages of the judged documents, those not retrieved last."""
        import numpy as np

        judged = self.qrels.get(query.query_id, {})
        self.results.unindexed += sum(doc_id not in self.rows_of for doc_id in judged)
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
            jobs = len(self.sweep.rerankers) * len(self.sweep.retrievers)
            advance = self._watched(max(1, work(map(len, candidates), before)) * jobs, advance)
        self.meter.pairs, self.meter.truncated, self.meter.seconds = 0, 0, 0.0
        scored = rerank_candidates(queries, candidates, before, last, options, advance)
        for blend in self.sweep.shares(name, retriever):
            system = System(name, depth, blend, retriever)
            self.results.seconds[system] += retrieved[options].seconds + self.meter.seconds
            for query, (left, scores) in zip(queries, scored, strict=True):
                self._rank(system, query, left, scores, replace(options, blend=blend))
        if deepest and depth is not None:
            for blend in {*TRIED_BLENDS, self.sweep.own_blend(name, retriever)}:
                tried = self.results.tried[System(name, depth, blend, retriever)]
                blended = replace(options, blend=blend)
                for query, (left, scores) in zip(queries, scored, strict=True):
                    hits = rank(left.candidates, scores, blended, left.ranks)
                    tried[query.query_id] = self._ranking(query, hits)
        if deepest:
            self.results.scored[name] += self.meter.pairs
            self.results.truncated[name] += self.meter.truncated
        if deepest and not before:
            for query, (left, scores) in zip(queries, scored, strict=True):
                everything = replace(options, top_k=max(1, len(left.candidates)))
                hits = rank(left.candidates, scores, everything)
                self._label(name, query.query_id, hits)

    def _watched(self, total: int, advance: Advance) -> Advance:
        """Return an `advance` that also records progress through the pairs of a window."""

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
        self.results.runs[system][query.query_id] = self._ranking(query, hits)
        rows = self.results.rows[query.query_id]
        for hit in hits:
            for row, passage in [(hit.passage_id, hit.passage), *hit.duplicates.items()]:
                rows.setdefault(without_spaces(passage.doc_id), row)

    def _ranking(self, query: Query, hits: Sequence[Hit]) -> Ranking:
        """Return a query's hits as a run has them."""
        ranking = trec_ranking(hits)
        if not self.sweep.ignores_own:
            return ranking
        return [one for one in ranking if one[0] != query.query_id][: self.sweep.top_k]

    def _label(self, reranker: str, query_id: str, hits: Sequence[Hit]) -> None:
        """Label each document by its best hit over all retrievers."""
        judged, labelled = self.qrels.get(query_id, {}), self.results.labelled[reranker]
        for doc_id, score in best_scores(hits).items():
            if self.sweep.ignores_own and doc_id == query_id:
                continue
            before = labelled.get((query_id, doc_id))
            if before is None or before.score < score:
                relevant = judged.get(doc_id, 0) > 0
                labelled[query_id, doc_id] = Labelled(query_id, score, relevant, doc_id in judged)


def rows_by_document(index: Index) -> RowsByDocument:
    """Return the rows of the passages of each document, by ids without spaces."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, doc_id in enumerate(index.doc_ids()):
        rows[without_spaces(doc_id)].append(row)
    return rows
