"""Search an index: embed the query, retrieve candidates, rerank them, order the hits."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.calibration import Calibration
from ettin_cli.duplicates import NEAR, SAME, grouped, leading, nearly_grouped
from ettin_cli.index import Index, is_unchanged
from ettin_cli.pipeline.cascade import Left, Step, cascade_name, rerank_in_steps, work
from ettin_cli.pipeline.demanding import demanded
from ettin_cli.pipeline.progress import QueriesWatched
from ettin_cli.pipeline.retrieving import Retrieved, Retriever, Search
from ettin_cli.ranking import SearchOptions, most_documents, rank, retrieval_ranks
from ettin_cli.records import (
    Answer,
    Candidate,
    Hit,
    Query,
    Reporter,
    Reranker,
    Scores,
)
from ettin_cli.settings import INDEXES, cache_folder

if TYPE_CHECKING:
    from ettin_cli.index.vectors import Rows

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
) -> Iterator[Answer]:
    """Yield the answer to each query, in order.

    Queries are taken 64 at a time, so that a text which several of them need is scored once and
    batches are full; a query's seconds are then its share of the window's.

    Args:
        reranker: None keeps the order of retrieval.
        calibration: Turns this reranker's scores into the hits' probabilities.
        before: Rerankers that score before this one, which is given their best alone.
    """
    searcher = _Searcher(index, retriever, reranker, options, calibration, before)
    waiting = iter(queries)
    total = len(queries) if isinstance(queries, Sequence) else None
    with QueriesWatched(reporter, total, WINDOW) as watched:
        while window := list(islice(waiting, WINDOW)):
            yield from searcher.answer(window, watched)


def candidates_of(index: Index, found: Retrieved, kept: Sequence[int]) -> list[Candidate]:
    """Return some of what a query found as candidates, their passages read."""
    passages = index.read(found.rows[kept])
    return [
        Candidate(int(found.rows[at]), passage, float(found.scores[at]), found.places_of(at))
        for at, passage in zip(kept, passages, strict=True)
    ]


def chosen_rows(index: Index, options: SearchOptions) -> Rows:
    """Return the rows that filters, paths and demands leave.

    Raises:
        InvalidArgumentError: A demand has no words.
    """
    import numpy as np

    rows = index.select(options.filters, options.paths)
    if not options.demands:
        return rows
    return np.intersect1d(rows, demanded(index, options.demands), assume_unique=True)


def source_index(sources: Sequence[str], settings: str) -> Path:
    """Return the folder in our cache where the index of these sources is kept.

    Args:
        settings: What else tells two indexes of the same sources apart, such as the embedder.
    """
    import xxhash

    places = [source if source == "-" else str(Path(source).resolve()) for source in sources]
    key = xxhash.xxh3_64_hexdigest("\0".join([*places, settings]).encode("utf-8", "surrogatepass"))
    name = Path(places[0]).name or "root"
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
    ) -> None:
        self.index, self.retriever, self.reranker = index, retriever, reranker
        self.options, self.calibration, self.before = options, calibration, before
        steps = [(step.reranker.name, step.keep) for step in before]
        self.name = cascade_name(steps, reranker.name) if reranker else NONE
        self.among = chosen_rows(index, options) if options.narrowed else None
        self.fresh: dict[str, bool] = {}

    def answer(self, queries: Sequence[Query], watched: QueriesWatched) -> Iterator[Answer]:
        began = time.perf_counter()
        searches = self.retriever.searches([query.every_form for query in queries])
        embedded = time.perf_counter()
        candidates = [self._candidates(search) for search in searches]
        retrieved = time.perf_counter()
        scored = self._scored(queries, candidates, watched)
        done = time.perf_counter()
        seconds = {
            "embed": embedded - began,
            "retrieve": retrieved - embedded,
            "rerank": done - retrieved,
            "total": done - began,
        }
        share = {name: round(value / len(queries), 4) for name, value in seconds.items()}
        for query, (left, verdict) in zip(queries, scored, strict=True):
            yield Answer(
                query=query,
                hits=[self._with_freshness(hit) for hit in self._ranked(left, verdict)],
                retriever=self.retriever.name,
                embedder=self.retriever.embedder,
                reranker=self.name,
                engine=self.reranker.engine if self.reranker else self.retriever.engine,
                seconds=share,
                stages=left.stages,
            )

    def _candidates(self, search: Search) -> list[Candidate]:
        """Return the passages to score: the best, and where documents count, enough of those.

        When a few documents own all the best passages, the best passage of each further document
        takes the place of the weakest of theirs, until the list can hold `top_k` documents.
        Of passages that say the same one is among them, and stands for the others: the best, but
        where documents count one of a document that would not be found without it.
        """
        depth = self.options.candidates
        while True:
            found = search(depth, self.among)
            groups = self._folded(found.rows)
            doc_ids = self.index.passages.column("doc_id", found.rows[[one[0] for one in groups]])
            if len(found.rows) < depth or self._are_enough(doc_ids):
                break
            depth *= 4
        documents = self.options.top_k if self.options.by == "document" else 0
        kept = most_documents(doc_ids, self.options.candidates, documents)
        candidates = candidates_of(self.index, found, [groups[at][0] for at in kept])
        return [
            self._standing_for(candidate, found.rows[groups[at][1:]])
            for candidate, at in zip(candidates, kept, strict=True)
        ]

    def _standing_for(self, candidate: Candidate, rows: Rows) -> Candidate:
        if not len(rows):
            return candidate
        passages = self.index.read(rows)
        return replace(candidate, duplicates=dict(zip(rows.tolist(), passages, strict=True)))

    def _folded(self, rows: Rows) -> list[list[int]]:
        """Return the places of rows that say the same together, first that which stands for all."""
        groups = self._alike(rows)
        if self.options.by == "passage" or len(groups) == len(rows):
            return groups
        doc_ids = self.index.passages.column("doc_id", rows)
        owners = [[doc_ids[at] for at in group] for group in groups]
        for group, lead in zip(groups, leading(owners), strict=True):
            group.insert(0, group.pop(lead))
        return groups

    def _alike(self, rows: Rows) -> list[list[int]]:
        """Return the places of rows that say the same together, the best of each group first."""
        if self.options.fold == NEAR:
            return nearly_grouped(self.index.passages.contents(rows.tolist()))
        if self.options.fold == SAME:
            return grouped(self.index.passages.column("hash", rows))
        return [[place] for place in range(len(rows))]

    def _are_enough(self, doc_ids: Sequence[str]) -> bool:
        if len(doc_ids) < self.options.candidates:
            return False
        wanted = min(self.options.top_k, self.index.manifest.counts.documents)
        return self.options.by == "passage" or len(set(doc_ids)) >= wanted

    def _scored(
        self,
        queries: Sequence[Query],
        candidates: Sequence[Sequence[Candidate]],
        watched: QueriesWatched,
    ) -> Sequence[tuple[Left, Scores | None]]:
        """Return what is left of each query's candidates for the last reranker, and its scores."""
        if self.reranker is None:
            return [(Left(found), None) for found in candidates]
        pairs = work(map(len, candidates), self.before)
        by_document = self.options.by == "document"
        lengths = [
            len(query.text) + len(candidate.passage.text)
            for query, found in zip(queries, candidates, strict=True)
            for candidate in found
        ]
        with watched.watch(len(queries), lengths, pairs) as advance:
            return rerank_in_steps(
                queries,
                [Left(one, retrieval_ranks(one, by_document=by_document)) for one in candidates],
                self.before,
                self.reranker,
                advance,
                documents=self.options.top_k if by_document else 0,
            )

    def _ranked(self, left: Left, scores: Scores | None) -> list[Hit]:
        probabilities: list[float] | None = None
        if scores is not None and self.calibration is not None:
            found = self.calibration.probability(scores.values).tolist()
            # As float64, so that a tenth in the calibration is a tenth on the command line.
            probabilities = [round(value, 6) for value in found]
        return rank(left.candidates, scores, self.options, left.places, probabilities)

    def _with_freshness(self, hit: Hit) -> Hit:
        path = hit.passage.path
        if path is None:
            return hit
        if path not in self.fresh:
            self.fresh[path] = is_unchanged(self.index.file_of(hit.passage_id), Path(path))
        return hit if self.fresh[path] else replace(hit, stale=True)
