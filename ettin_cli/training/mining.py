"""Mine hard negatives: passages that rank high for a query but are not positives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.files import without_spaces
from ettin_cli.index import Index
from ettin_cli.records import Advance, Candidate, Passage, Query, Reporter, Reranker, require_least
from ettin_cli.searching import (
    MOST_TEXTS,
    CandidateFinder,
    ReadOnce,
    Retrieved,
    Retriever,
    Search,
    SearchOptions,
    Wanted,
    encodes_apart,
    gathered,
)
from ettin_cli.settings import CANDIDATES, NEGATIVES, PASSAGE
from ettin_cli.training.positives import Positive, Sought, squeezed

if TYPE_CHECKING:
    from ettin_cli.index import Rows

WINDOW = 32


@dataclass(frozen=True, slots=True)
class MiningOptions:
    """How negatives are selected.

    Args:
        negatives: Maximum number per query.
        candidates: Passages retrieved per query.
        skip_top: Number of top non-positives to skip.
        max_score_ratio: Maximum score of a negative as a share of the lowest positive score; None:
            no limit.
        ignores_own: Whether the document with a query's own id is no negative.

    Raises:
        InvalidArgumentError: A number is out of range.
    """

    negatives: int = NEGATIVES
    candidates: int = CANDIDATES
    skip_top: int = 0
    max_score_ratio: float | None = None
    ignores_own: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (
            ("negatives", self.negatives, 1),
            ("candidates", self.candidates, 1),
            ("skip_top", self.skip_top, 0),
        ):
            require_least(value, least, name)
        ratio = self.max_score_ratio
        if ratio is not None and not 0 <= ratio <= 1:
            raise InvalidArgumentError(
                f"maximum score ratio {ratio} is not between 0 and 1", argument="max_score_ratio"
            )

    def require_margin(self, reranker: str | None) -> None:
        """Check that a reranker, if there is one, has scores to compare.

        Raises:
            InvalidArgumentError: There is no limit of scores.
        """
        if reranker is not None and self.max_score_ratio is None:
            raise InvalidArgumentError(
                "a reranker needs a maximum score ratio", argument="max_score_ratio"
            )


@dataclass(frozen=True, slots=True)
class Mined:
    """A query with its positives and its negatives, hardest first.

    Args:
        indexed: Whether one of the positives is in the index.
        dropped: Candidates rejected by the margin.
        truncated: Texts that the reranker truncated.
    """

    query: Query
    positives: Sequence[str]
    negatives: Sequence[Passage]
    indexed: bool
    dropped: int
    truncated: int

    def to_dict(self) -> dict[str, Any]:
        """Return the row of training data that `ettin mine` writes."""
        return {
            "query_id": self.query.query_id,
            "query": self.query.text,
            "positive": list(self.positives),
            "negatives": [passage.content for passage in self.negatives],
            "negative_ids": [passage.doc_id for passage in self.negatives],
        }


def mine(
    index: Index,
    sought: Iterable[Sought],
    total: int,
    retriever: Retriever,
    reranker: Reranker | None,
    options: MiningOptions,
    reporter: Reporter,
) -> Iterator[Mined]:
    """Yield the negatives mined for each query, in order.

    Candidates are those of a search, with duplicates merged. A passage that contains a positive of
    its query or is contained in one, ignoring white space, is never a negative. The margin is that
    of Moreira et al. (2024), NV-Retriever: a share of the lowest positive score or, if that is
    negative, the same distance below it.

    Args:
        total: The number of queries.
        reranker: The margin compares its scores; None: retrieval scores.
    """
    miner = _Miner(index, retriever, reranker, options)
    done = within = 0.0

    def share() -> float:
        return (done + within) / max(1, total)

    blocks = miner.retrieved(sought)
    if encodes_apart(reranker):
        blocks = gathered(blocks, lambda one: one.wanted)
    with reporter.track("mining", None, "pairs" if reranker else "queries", share) as advance:
        for window in blocks:
            pairs = sum(len(one.positives) + len(one.candidates) for one in window)

            def watched(more: int, part: float = len(window) / max(1, pairs)) -> None:
                nonlocal within
                within += more * part
                advance(more)

            yield from miner.mined(window, watched)
            done, within = done + len(window), 0.0
            if reranker is None:
                advance(len(window))


@dataclass(frozen=True, slots=True)
class _Retrieved:
    """The positives and candidates of a query, with the scores for the margin."""

    query: Query
    positives: Sequence[str]
    positive_scores: Sequence[float]
    candidates: Sequence[Passage]
    scores: Sequence[float]
    indexed: bool
    truncated: int = 0

    @property
    def texts(self) -> list[str]:
        """The texts that a reranker scores."""
        return [*self.positives, *(passage.content for passage in self.candidates)]

    @property
    def wanted(self) -> Wanted:
        """What the query adds to a window."""
        return Wanted(self.query.text, list(map(hash, self.texts)))


class _Miner:
    def __init__(
        self,
        index: Index,
        retriever: Retriever,
        reranker: Reranker | None,
        options: MiningOptions,
    ) -> None:
        self.index, self.retriever, self.reranker = index, retriever, reranker
        self.options = options
        searched = SearchOptions(by=PASSAGE, candidates=options.candidates)
        read = ReadOnce(index, MOST_TEXTS) if encodes_apart(reranker) else None
        self.finder = CandidateFinder(index, searched, read)

    def retrieved(self, sought: Iterable[Sought]) -> Iterator[Sequence[_Retrieved]]:
        waiting = iter(sought)
        while block := list(islice(waiting, WINDOW)):
            searches = self.retriever.searches([item.query.every_form for item in block])
            yield [self._retrieved(*item) for item in zip(block, searches, strict=True)]

    def mined(self, retrieved: Sequence[_Retrieved], advance: Advance) -> Iterator[Mined]:
        if self.reranker is not None:
            retrieved = self._reranked(retrieved, self.reranker, advance)
        return map(self._mined, retrieved)

    def _retrieved(self, sought: Sought, search: Search) -> _Retrieved:
        top: dict[int, float] = {}

        def watched(depth: int, among: Rows | None) -> Retrieved:
            retrieved = search(depth, among)
            top.update(zip(retrieved.rows.tolist(), retrieved.scores.tolist(), strict=True))
            return retrieved

        found = self.finder.find(watched) if sought.positives else []
        known = [
            self._positive(positive, sought.query, search, top) for positive in sought.positives
        ]
        indexed = any(len(positive.rows) for positive in sought.positives)
        texts, scores = [text for text, _ in known], [score for _, score in known]
        candidates = self._others(sought, texts, found)
        kept = [candidate.retrieval_score or 0.0 for candidate in candidates]
        passages = [candidate.passage for candidate in candidates]
        return _Retrieved(sought.query, texts, scores, passages, kept, indexed)

    def _positive(
        self, positive: Positive, query: Query, search: Search, top: Mapping[int, float]
    ) -> tuple[str, float]:
        """Return the text and the retrieval score of a positive.

        Args:
            top: The scores of the rows retrieved for the query. A positive that is not among them
                scores below all of them.
        """
        import numpy as np

        if not len(positive.rows):
            assert positive.text is not None
            if self.options.max_score_ratio is None or self.reranker is not None:
                return positive.text, 0.0
            [score] = self.retriever.score_texts(query.every_form, [positive.text])
            return positive.text, score
        own = np.sort(np.array(positive.rows, np.int64))
        ranked = [row for row in own.tolist() if row in top]
        score = max((top[row] for row in ranked), default=-math.inf)
        best = [row for row in ranked if top[row] == score] or search(1, own).rows.tolist()
        # BM25 retrieves no passage without a query term.
        [passage] = self.index.read([*best, *own.tolist()][:1])
        # With the title, as in the negatives, so that it does not distinguish them.
        if positive.text is None or squeezed(positive.text) == squeezed(passage.text):
            return passage.content, score
        return positive.text, score

    def _others(
        self, sought: Sought, positives: Sequence[str], candidates: Sequence[Candidate]
    ) -> list[Candidate]:
        """Return the candidates that are not a positive, nor contain or are contained in one."""
        own = {row for positive in sought.positives for row in positive.rows}
        answers = [squeezed(text) for text in positives]
        others: list[Candidate] = []
        seen: set[str] = set()
        for candidate in candidates:
            text = squeezed(candidate.passage.content)
            known = text in seen or not own.isdisjoint(
                [candidate.passage_id, *candidate.duplicates]
            )
            known |= self._is_own(sought.query, candidate.passage)
            if not known and not any(text in answer or answer in text for answer in answers):
                seen.add(text)
                others.append(candidate)
        return others

    def _is_own(self, query: Query, passage: Passage) -> bool:
        return self.options.ignores_own and without_spaces(passage.doc_id) == query.query_id

    def _reranked(
        self, retrieved: Sequence[_Retrieved], reranker: Reranker, advance: Advance
    ) -> list[_Retrieved]:
        # Queries share passages, and pairs the text of each.
        same: dict[str, str] = {}
        texts = [[same.setdefault(text, text) for text in entry.texts] for entry in retrieved]
        pairs = [
            (entry.query.text, t)
            for entry, some in zip(retrieved, texts, strict=True)
            for t in some
        ]
        verdicts = reranker.score(pairs, advance).split(map(len, texts))
        reranked = []
        for entry, verdict in zip(retrieved, verdicts, strict=True):
            values, own = verdict.values.tolist(), len(entry.positives)
            cut = int(verdict.truncated.sum())
            reranked.append(
                replace(entry, positive_scores=values[:own], scores=values[own:], truncated=cut)
            )
        return reranked

    def _mined(self, retrieved: _Retrieved) -> Mined:
        skip, wanted = self.options.skip_top, self.options.negatives
        bound = self._bound(retrieved.positive_scores)
        ranked = list(zip(retrieved.candidates, retrieved.scores, strict=True))[skip:]
        negatives: list[Passage] = []
        dropped = 0
        for passage, score in ranked:
            if len(negatives) == wanted:
                break
            if score <= bound:
                negatives.append(passage)
            else:
                dropped += 1
        return Mined(
            retrieved.query,
            retrieved.positives,
            negatives,
            retrieved.indexed,
            dropped,
            retrieved.truncated,
        )

    def _bound(self, scores: Sequence[float]) -> float:
        """Return the maximum score of a negative."""
        ratio = self.options.max_score_ratio
        if ratio is None or not scores:
            return float("inf")
        score = min(scores)
        return score - (1 - ratio) * abs(score) if math.isfinite(score) else score
