"""Search an index: embed the query, retrieve candidates, rerank them, rank the hits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ettin_cli.index import Index, is_unchanged
from ettin_cli.records import Answer, Candidate, Hit, Query, Reporter, Reranker, Scores, Stage
from ettin_cli.searching.calibration.fitting import Calibration
from ettin_cli.searching.candidates import CandidateFinder
from ettin_cli.searching.cascade import Remaining, Step, cascade_name, rerank_candidates, work
from ettin_cli.searching.progress import QueriesWatched
from ettin_cli.searching.ranking import SearchOptions, rank
from ettin_cli.searching.retrievers import Retriever
from ettin_cli.settings import INDEXES, cache_folder

WINDOW = 64
NONE = "none"


def search(
    index: Index,
    queries: Iterable[Query],
    retriever: Retriever,
    reranker: Reranker | None,
    options: SearchOptions,
    reporter: Reporter,
    calibration: Calibration | None = None,
    before: Sequence[Step[Reranker]] = (),
    retrieved: Callable[[Answer], None] | None = None,
) -> Iterator[Answer]:
    """Yield the answer to each query, in order.

    Queries are processed 64 at a time, which fills batches and scores equal pairs once. A query's
    seconds are its share of the window's.

    Args:
        reranker: None keeps the retrieval order.
        calibration: Maps this reranker's scores to the hits' probabilities.
        before: Rerankers that score first and pass on their best candidates.
        retrieved: Receives each answer in retrieval order, before the reranking begins.
    """
    searcher = _Searcher(index, retriever, reranker, options, calibration, before, retrieved)
    waiting = iter(queries)
    total = len(queries) if isinstance(queries, Sequence) else None
    with QueriesWatched(reporter, total, WINDOW) as watched:
        while window := list(islice(waiting, WINDOW)):
            yield from searcher.answer(window, watched)


def source_index(sources: Sequence[str], settings: str) -> Path:
    """Return the cache folder that holds the index of these sources.

    Args:
        settings: What else distinguishes indexes of the same sources, such as the embedder.
    """
    import xxhash

    locations = [source if source == "-" else str(Path(source).resolve()) for source in sources]
    key = xxhash.xxh3_64_hexdigest(
        "\0".join([*locations, settings]).encode("utf-8", "surrogatepass")
    )
    name = Path(locations[0]).name or "root"
    return cache_folder() / INDEXES / f"{name[:40]}-{key}"


class _Searcher:
    def __init__(
        self,
        index: Index,
        retriever: Retriever,
        reranker: Reranker | None,
        options: SearchOptions,
        calibration: Calibration | None,
        before: Sequence[Step[Reranker]],
        retrieved: Callable[[Answer], None] | None,
    ) -> None:
        self.index, self.retriever, self.reranker = index, retriever, reranker
        self.options, self.calibration, self.before = options, calibration, before
        self.retrieved = retrieved
        steps = [(step.reranker.card.name, step.keep) for step in before]
        self.name = cascade_name(steps, reranker.card.name) if reranker else NONE
        self.finder = CandidateFinder(index, options if reranker else options.without_reranker)
        self.fresh: dict[str, bool] = {}

    def answer(self, queries: Sequence[Query], watched: QueriesWatched) -> Iterator[Answer]:
        began = time.perf_counter()
        searches = self.retriever.searches([query.every_form for query in queries])
        embedded = time.perf_counter()
        candidates = [self.finder.find(search) for search in searches]
        done = time.perf_counter()
        seconds = {"embed": embedded - began, "retrieve": done - embedded}
        if self.retrieved and self.reranker:
            share = _share({**seconds, "total": done - began}, len(queries))
            for query, found in zip(queries, candidates, strict=True):
                self.retrieved(self._in_retrieval_order(query, found, share))
        begun = time.perf_counter()
        scored = self._scored(queries, candidates, watched)
        ended = time.perf_counter()
        seconds |= {"rerank": ended - begun, "total": ended - began}
        share = _share(seconds, len(queries))
        backend = self.reranker.card.backend if self.reranker else self.retriever.backend
        for query, (left, verdict) in zip(queries, scored, strict=True):
            hits = self._ranked(left, verdict)
            answer = self._answer(query, hits, self.name, backend, share, left.stages)
            yield replace(answer, blend=self.options.share) if self.reranker else answer

    def _in_retrieval_order(
        self, query: Query, found: Sequence[Candidate], seconds: Mapping[str, float]
    ) -> Answer:
        options = replace(self.options, min_score=None, min_probability=None)
        return self._answer(
            query, rank(found, None, options), NONE, self.retriever.backend, seconds
        )

    def _answer(
        self,
        query: Query,
        hits: Sequence[Hit],
        reranker: str,
        backend: str,
        seconds: Mapping[str, float],
        stages: Sequence[Stage] = (),
    ) -> Answer:
        return Answer(
            query=query,
            hits=[self._with_freshness(hit) for hit in hits],
            retriever=self.retriever.name,
            embedder=self.retriever.embedder,
            reranker=reranker,
            backend=backend,
            seconds=seconds,
            stages=stages,
            left_out=self.finder.left_out,
        )

    def _scored(
        self,
        queries: Sequence[Query],
        candidates: Sequence[Sequence[Candidate]],
        watched: QueriesWatched,
    ) -> Sequence[tuple[Remaining, Scores | None]]:
        """Return each query's candidates that reach the last reranker, with its scores."""
        if self.reranker is None:
            return [(Remaining(retrieved), None) for retrieved in candidates]
        pairs = work(map(len, candidates), self.before)
        lengths = [
            len(query.text) + len(candidate.passage.text)
            for query, retrieved in zip(queries, candidates, strict=True)
            for candidate in retrieved
        ]
        with watched.watch(len(queries), lengths, pairs) as advance:
            return rerank_candidates(
                queries, candidates, self.before, self.reranker, self.options, advance
            )

    def _ranked(self, left: Remaining, scores: Scores | None) -> list[Hit]:
        probabilities: list[float] | None = None
        if scores is not None and self.calibration is not None:
            values = self.calibration.probability(scores.values).tolist()
            # In float64, so that 0.1 in the calibration equals 0.1 given as an option.
            probabilities = [round(value, 6) for value in values]
        return rank(left.candidates, scores, self.options, left.ranks, probabilities)

    def _with_freshness(self, hit: Hit) -> Hit:
        path = hit.passage.path
        if path is None:
            return hit
        if path not in self.fresh:
            self.fresh[path] = is_unchanged(self.index.file_of(hit.passage_id), Path(path))
        return hit if self.fresh[path] else replace(hit, stale=True)


def _share(seconds: Mapping[str, float], queries: int) -> dict[str, float]:
    return {name: round(value / queries, 4) for name, value in seconds.items()}
