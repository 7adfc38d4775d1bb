"""Retrieve candidates: by embeddings, by words (BM25), or by both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

from ettin_cli.index import Index
from ettin_cli.index.vectors import inner_products
from ettin_cli.lexical import Terms
from ettin_cli.records import Embedder, Place

if TYPE_CHECKING:
    from ettin_cli.index.vectors import Rows
    from ettin_cli.records import Floats

DENSE = "dense"
BM25 = "bm25"
HYBRID = "hybrid"
AUTO = "auto"
RETRIEVERS = (AUTO, DENSE, BM25, HYBRID)
# A text that has every word of a query is worth this many standard deviations of the cosine.
LEXICAL_WEIGHT = 10.0
SPREAD_ROWS = 512


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What a query found, best first; rows of equal score are in the order of the corpus.

    Args:
        places: Where each of several retrievers has these rows; empty if there was one alone.
    """

    rows: Rows
    scores: Floats
    places: Mapping[str, Sequence[Place]] = field(default_factory=dict)

    def places_of(self, at: int) -> dict[str, Place]:
        """Return where each retriever has one of the rows."""
        return {name: places[at] for name, places in self.places.items()}


# Depth, and the rows to choose from (None: all) -> that many of the best.
Search = Callable[[int, "Rows | None"], Retrieved]


class Retriever(Protocol):
    """Finds passages for queries."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    @property
    def engine(self) -> str:
        """Where and in what arithmetic queries are embedded."""
        ...

    @property
    def embedder(self) -> str | None:
        """The embedder's name; None without one."""
        ...

    def searches(self, texts: Sequence[str]) -> Sequence[Search]:
        """Return a search for each of some queries, embedded all at once."""
        ...


class DenseRetriever:
    """The passages whose vectors are nearest to the query's; a score is a cosine."""

    name = DENSE

    def __init__(self, index: Index, embedder: Embedder) -> None:
        self.index, self.model = index, embedder
        self.embedder, self.engine = embedder.card.name, embedder.engine

    def searches(self, texts: Sequence[str]) -> Sequence[Search]:
        """Return a search for each of some queries, embedded all at once."""
        return [partial(self._best, vector) for vector in self.model.embed_queries(texts)]

    def _best(self, vector: Floats, depth: int, among: Rows | None) -> Retrieved:
        return Retrieved(*self.index.retrieve(vector[None], depth, among)[0])


class LexicalRetriever:
    """The passages that hold the query's words, by BM25; see Lexicon.scores."""

    name = BM25
    engine = "numpy"
    embedder = None

    def __init__(self, index: Index) -> None:
        self.lexicon = index.lexicon
        self.terms = Terms(index.language)

    def searches(self, texts: Sequence[str]) -> Sequence[Search]:
        """Return a search for each of some queries."""
        return [partial(self._best, Counter(self.terms.of_query(text))) for text in texts]

    def _best(self, terms: Mapping[str, int], depth: int, among: Rows | None) -> Retrieved:
        scores = self.lexicon.scores(terms)
        rows = highest(scores, depth, among)
        return Retrieved(rows, scores[rows])


class HybridRetriever:
    """The best of both: the cosine in standard deviations, plus ten times the BM25 score.

    The deviation is that of the query's cosines with a sample of the index, so that neither the
    embedder nor the query decides how much the words weigh. Every passage that is among the best
    of one of the two has both scores, computed exactly.
    """

    name = HYBRID

    def __init__(self, index: Index, embedder: Embedder) -> None:
        self.index, self.model = index, embedder
        self.embedder, self.engine = embedder.card.name, embedder.engine
        self.lexical = LexicalRetriever(index)

    def searches(self, texts: Sequence[str]) -> Sequence[Search]:
        """Return a search for each of some queries, embedded all at once."""
        vectors = self.model.embed_queries(texts)
        terms = [Counter(self.lexical.terms.of_query(text)) for text in texts]
        return [partial(self._best, *one) for one in zip(vectors, terms, strict=True)]

    def _best(
        self, vector: Floats, terms: Mapping[str, int], depth: int, among: Rows | None
    ) -> Retrieved:
        import numpy as np

        nearest = self.index.retrieve(vector[None], depth, among)[0][0]
        worth = self.lexical.lexicon.scores(terms)
        holding = highest(worth, depth, among)
        rows = np.union1d(nearest, holding)
        cosines = inner_products(self.index.vectors[rows], vector)
        scores = cosines / self._spread(vector) + np.float32(LEXICAL_WEIGHT) * worth[rows]
        order = np.lexsort((rows, -scores))[:depth]
        rows = rows[order]
        places = {
            DENSE: _places(rows, nearest, cosines[order]),
            BM25: _places(rows, holding, worth[rows]),
        }
        return Retrieved(rows, scores[order], places)

    def _spread(self, vector: Floats) -> float:
        """Return the standard deviation of a query's cosines; 1 where there is none to speak of."""
        spread = float(inner_products(self._sample, vector).std()) if len(self._sample) else 0.0
        return spread if spread > 0 else 1.0

    @cached_property
    def _sample(self) -> Floats:
        import numpy as np

        count = len(self.index.passages)
        rows = np.linspace(0, count - 1, min(SPREAD_ROWS, count), dtype=np.int64)
        return np.asarray(self.index.vectors[rows], np.float32)


def highest(scores: Floats, depth: int, among: Rows | None = None) -> Rows:
    """Return the rows of the highest scores above zero, best first, equal ones in their order.

    Args:
        scores: One a row of the index.
        among: Rows to choose from; None: all.
    """
    import numpy as np

    rows = np.flatnonzero(scores) if among is None else np.sort(among)[scores[np.sort(among)] > 0]
    if len(rows) > depth:
        # Few reach the score of the last that is kept, and only they need an order.
        lowest = -np.partition(-scores[rows], depth - 1)[depth - 1]
        rows = rows[scores[rows] >= lowest]
    return rows[np.lexsort((rows, -scores[rows]))][:depth]


def _places(rows: Rows, ranked: Rows, scores: Floats) -> list[Place]:
    """Return the places of rows in one retriever's order, which knows the first of it alone."""
    ranks = {row: rank for rank, row in enumerate(ranked.tolist(), start=1)}
    return [
        Place(ranks.get(row), score)
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
    ]
