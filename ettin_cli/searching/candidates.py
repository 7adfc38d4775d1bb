"""The retrieval loop that search, evaluation and mining share: a query -> passages to score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ettin_cli.index import Index
from ettin_cli.records import Candidate, Passage
from ettin_cli.searching.constraints import matching_rows
from ettin_cli.searching.ranking import SearchOptions, most_documents
from ettin_cli.searching.retrievers import Retrieved, Search
from ettin_cli.settings import DOCUMENT, NEAR, PASSAGE, SAME
from ettin_cli.text import grouped, leading, nearly_grouped

if TYPE_CHECKING:
    from ettin_cli.index import Rows

    Read = Callable[[Rows], list[Passage]]


class ReadOnce:
    """Reads passages of an index, each once, since several queries or depths share them.

    Args:
        most: How many passages to remember before forgetting them all; None: no limit.
    """

    def __init__(self, index: Index, most: int | None = None) -> None:
        self.index, self.most = index, most
        self.known: dict[int, Passage] = {}

    def __call__(self, rows: Rows) -> list[Passage]:
        """Return passages by row."""
        if self.most is not None and len(self.known) > self.most:
            self.known.clear()
        numbers = rows.tolist()
        fresh = [row for row in numbers if row not in self.known]
        self.known.update(zip(fresh, self.index.read(fresh), strict=True))
        return [self.known[row] for row in numbers]


class CandidateFinder:
    """Retrieves passages for a query, merges duplicates and selects the candidates to score.

    Args:
        options: Uses `candidates`, `top_k`, `by`, `fold` and the filters.
        read: Reads passages by row; None: from the index.

    Raises:
        InvalidArgumentError: A query constraint contains no words.
    """

    def __init__(self, index: Index, options: SearchOptions, read: Read | None = None) -> None:
        self.index, self.options, self.read = index, options, read or index.read
        self.among = chosen_rows(index, options) if options.narrowed else None
        self.left_out: int | None = None
        if options.demands and self.among is not None:
            self.left_out = len(index.passages) - len(self.among)

    def find(self, search: Search) -> list[Candidate]:
        """Return the passages to score, best first, covering `top_k` documents where possible.

        When few documents own all top passages, the best passage of each further document
        replaces the weakest of theirs until the list covers `top_k` documents. A group of
        duplicates is represented by its best passage or, when ranking documents, by one whose
        document would otherwise be missing.
        """
        depth = self.options.candidates
        while True:
            retrieved = search(depth, self.among)
            groups = self._folded(retrieved.rows)
            doc_ids = self.index.passages.column(
                "doc_id", retrieved.rows[[group[0] for group in groups]]
            )
            if len(retrieved.rows) < depth or self._are_enough(doc_ids):
                break
            depth *= 4
        documents = self.options.top_k if self.options.by == DOCUMENT else 0
        kept = most_documents(doc_ids, self.options.candidates, documents)
        candidates = read_candidates(self.read, retrieved, [groups[at][0] for at in kept])
        return [
            self._standing_for(candidate, retrieved.rows[groups[at][1:]])
            for candidate, at in zip(candidates, kept, strict=True)
        ]

    def _standing_for(self, candidate: Candidate, rows: Rows) -> Candidate:
        if not len(rows):
            return candidate
        passages = self.read(rows)
        return replace(candidate, duplicates=dict(zip(rows.tolist(), passages, strict=True)))

    def _folded(self, rows: Rows) -> list[list[int]]:
        """Return the positions grouped by duplicates, each group's representative first."""
        groups = self._alike(rows)
        if self.options.by == PASSAGE or len(groups) == len(rows):
            return groups
        doc_ids = self.index.passages.column("doc_id", rows)
        owners = [[doc_ids[at] for at in group] for group in groups]
        for group, lead in zip(groups, leading(owners), strict=True):
            group.insert(0, group.pop(lead))
        return groups

    def _alike(self, rows: Rows) -> list[list[int]]:
        """Return the positions grouped by duplicates, the best of each group first."""
        if self.options.fold == NEAR:
            return nearly_grouped(self.index.passages.contents(rows.tolist()))
        if self.options.fold == SAME:
            return grouped(self.index.passages.column("hash", rows))
        return [[at] for at in range(len(rows))]

    def _are_enough(self, doc_ids: Sequence[str]) -> bool:
        options = self.options
        if len(doc_ids) < options.candidates:
            return False
        wanted = min(options.top_k, options.candidates, self.index.manifest.counts.documents)
        return options.by == PASSAGE or len(set(doc_ids)) >= wanted


def read_candidates(read: Read, retrieved: Retrieved, kept: Sequence[int]) -> list[Candidate]:
    """Return the retrieved rows at the positions `kept` as candidates with their passages."""
    passages = read(retrieved.rows[kept])
    return [
        Candidate(
            int(retrieved.rows[at]), passage, float(retrieved.scores[at]), retrieved.ranks_of(at)
        )
        for at, passage in zip(kept, passages, strict=True)
    ]


def chosen_rows(index: Index, options: SearchOptions) -> Rows:
    """Return the rows that match the filters, the path globs and the query constraints.

    Raises:
        InvalidArgumentError: A constraint contains no words.
    """
    import numpy as np

    rows = index.select(options.filters, options.paths)
    if not options.demands:
        return rows
    return np.intersect1d(rows, matching_rows(index, options.demands), assume_unique=True)
