"""Search an index: embed the query, retrieve candidates, rerank them, rank the hits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

from ettin_cli.corpus import located
from ettin_cli.index import Index, is_unchanged
from ettin_cli.records import (
    Advance,
    Answer,
    Candidate,
    Hit,
    Query,
    Reporter,
    Reranker,
    Scores,
    Stage,
)
from ettin_cli.searching.calibration.fitting import Calibration
from ettin_cli.searching.candidates import CandidateFinder, ReadOnce
from ettin_cli.searching.cascade import (
    Remaining,
    Step,
    as_remaining,
    cascade_name,
    documents_kept,
    narrow_in_steps,
    rerank_in_steps,
    work,
)
from ettin_cli.searching.gathering import MOST_TEXTS, Wanted, encodes_apart, gathered
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

    Queries are processed 64 at a time, which fills batches and scores equal pairs once. More of a
    sequence are processed together if a reranker encodes a text once for all of them; a stream is
    not waited for. A query's seconds are its share of those of the queries processed with it.

    Args:
        reranker: None keeps the retrieval order.
        calibration: Maps this reranker's scores to the hits' probabilities.
        before: Rerankers that score first and pass on their best candidates.
        retrieved: Receives each answer in retrieval order, before the reranking begins.
    """
    searcher = _Searcher(index, retriever, reranker, options, calibration, before, retrieved)
    total = len(queries) if isinstance(queries, Sequence) else None
    with QueriesWatched(reporter, total, WINDOW) as watched:
        for window in searcher.windows(queries):
            yield from searcher.answer(window, watched)


def source_index(sources: Sequence[str], settings: str) -> Path:
    """Return the cache folder that holds the index of these sources.

    Args:
        settings: What else distinguishes indexes of the same sources, such as the embedder.
    """
    import xxhash

    locations = [source if source == "-" else str(located(source)) for source in sources]
    key = xxhash.xxh3_64_hexdigest(
        "\0".join([*locations, settings]).encode("utf-8", "surrogatepass")
    )
    name = Path(locations[0]).name or "root"
    return cache_folder() / INDEXES / f"{name[:40]}-{key}"


class _Retrieved(NamedTuple):
    """A query with its candidates, and the seconds that it took to find them."""

    query: Query
    candidates: Sequence[Candidate]
    seconds: Mapping[str, float]

    @property
    def wanted(self) -> Wanted:
        """What the query adds to a window."""
        return Wanted(self.query.text, [candidate.passage_id for candidate in self.candidates])


Scored = tuple[Remaining, Scores | None]


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
        rerankers = [*(step.reranker for step in before), reranker]
        # How many rerankers, from the first one on, are given more queries at once.
        self.gathering = len(list(takewhile(encodes_apart, rerankers)))
        read = ReadOnce(index, MOST_TEXTS) if self.gathering else None
        searched = options if reranker else options.without_reranker
        self.finder = CandidateFinder(index, searched, read)
        self.fresh: dict[str, bool] = {}

    def windows(self, queries: Iterable[Query]) -> Iterator[Sequence[_Retrieved]]:
        """Yield the queries to process together, with their candidates."""
        gather = self.gathering > 0 and isinstance(queries, Sequence)
        blocks = self._blocks(queries)
        return gathered(blocks, lambda one: one.wanted) if gather else blocks

    def _blocks(self, queries: Iterable[Query]) -> Iterator[Sequence[_Retrieved]]:
        waiting = iter(queries)
        while block := list(islice(waiting, WINDOW)):
            yield self._retrieved(block)

    def _retrieved(self, queries: Sequence[Query]) -> list[_Retrieved]:
        began = time.perf_counter()
        searches = self.retriever.searches([query.every_form for query in queries])
        embedded = time.perf_counter()
        candidates = [self.finder.find(search) for search in searches]
        done = time.perf_counter()
        count = len(queries)
        seconds = {"embed": (embedded - began) / count, "retrieve": (done - embedded) / count}
        if self.retrieved and self.reranker:
            share = _total(seconds)
            for query, found in zip(queries, candidates, strict=True):
                self.retrieved(self._in_retrieval_order(query, found, share))
        return [
            _Retrieved(query, found, seconds)
            for query, found in zip(queries, candidates, strict=True)
        ]

    def answer(self, window: Sequence[_Retrieved], watched: QueriesWatched) -> Iterator[Answer]:
        backend = self.reranker.card.backend if self.reranker else self.retriever.backend
        done = 0
        for scored, seconds in self._scored(window, watched):
            part = window[done : done + len(scored)]
            done += len(part)
            for one, (left, verdict) in zip(part, scored, strict=True):
                hits = self._ranked(left, verdict)
                share = _total({**one.seconds, "rerank": seconds})
                answer = self._answer(one.query, hits, self.name, backend, share, left.stages)
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
        self, window: Sequence[_Retrieved], watched: QueriesWatched
    ) -> Iterator[tuple[Sequence[Scored], float]]:
        """Yield each query's candidates that reach the last reranker, with its scores.

        They come for the whole window or for 64 queries at a time, with a query's seconds.
        """
        candidates = [one.candidates for one in window]
        if self.reranker is None:
            yield [(Remaining(retrieved), None) for retrieved in candidates], 0.0
            return
        queries = [one.query for one in window]
        first, rest = self.before[: self.gathering], self.before[self.gathering :]
        alike = self.gathering > len(self.before)
        size = len(window) if alike else WINDOW
        documents = documents_kept(self.options)
        with ExitStack() as stack:
            advance = stack.enter_context(self._watch(window, watched))
            began = time.perf_counter()
            left = narrow_in_steps(
                queries, as_remaining(candidates, self.options), first, advance, documents=documents
            )
            shared = (time.perf_counter() - began) / len(window)
            for begin in range(0, len(window), size):
                part = slice(begin, begin + size)
                began = time.perf_counter()
                scored = rerank_in_steps(
                    queries[part], left[part], rest, self.reranker, advance, documents=documents
                )
                seconds = shared + (time.perf_counter() - began) / len(scored)
                if begin + size >= len(window):
                    stack.close()
                yield scored, seconds

    def _watch(
        self, window: Sequence[_Retrieved], watched: QueriesWatched
    ) -> AbstractContextManager[Advance]:
        pairs = work((len(one.candidates) for one in window), self.before)
        lengths = [
            len(one.query.text) + len(candidate.passage.text)
            for one in window
            for candidate in one.candidates
        ]
        return watched.watch(len(window), lengths, pairs)

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


def _total(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return seconds rounded, with their sum."""
    every = {**seconds, "total": sum(seconds.values())}
    return {name: round(value, 4) for name, value in every.items()}
