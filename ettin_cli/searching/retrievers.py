"""Retrieve candidates by embeddings, by terms (BM25), or by both.

Retrieval by the token vectors of a multi-vector model is in `multi_vector`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from ettin_cli.index import Index, inner_products
from ettin_cli.models import unit
from ettin_cli.records import Embedder, RetrieverRank
from ettin_cli.searching.feedback import PASSAGES, expanded_terms, expanded_vector
from ettin_cli.searching.fusion import HEAD, Scale, fused
from ettin_cli.settings import AUTO
from ettin_cli.text.lexical import Terms

if TYPE_CHECKING:
    from ettin_cli.index import JoinedLexicon, JoinedScores, Lexicon, Rows, Scored
    from ettin_cli.records import Floats
    from ettin_cli.searching.fusion import Numbers

DENSE = "dense"
BM25 = "bm25"
HYBRID = "hybrid"
MULTI_VECTOR = "multi-vector"
RETRIEVERS = (AUTO, DENSE, BM25, HYBRID, MULTI_VECTOR)
# Those that read a query as it is, without terms.
BY_MEANING = (DENSE, MULTI_VECTOR)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The rows retrieved for a query, best first; ties are in corpus order.

    Args:
        by_retriever: The rows' ranks in each combined retriever; empty for a single one.
    """

    rows: Rows
    scores: Floats
    by_retriever: Mapping[str, Sequence[RetrieverRank]] = field(default_factory=dict)

    def ranks_of(self, position: int) -> dict[str, RetrieverRank]:
        """Return the rank and score of one row in each retriever."""
        return {name: ranks[position] for name, ranks in self.by_retriever.items()}


# Depth and the rows to choose from (None: all) -> the top rows.
Search = Callable[[int, "Rows | None"], Retrieved]
Forms = Sequence[str]
# What a query is compared by.
Asked = TypeVar("Asked")


class Retriever(Protocol):
    """Retrieves passages for queries."""

    @property
    def name(self) -> str:
        """The name that results report."""
        ...

    @property
    def backend(self) -> str:
        """The backend and dtype that embed queries."""
        ...

    @property
    def embedder(self) -> str | None:
        """The embedder's name; None without one."""
        ...

    def searches(self, queries: Sequence[Forms]) -> Sequence[Search]:
        """Return a search per query; the queries are embedded in one batch.

        Args:
            queries: Each in one form, or in several paraphrases.
        """
        ...

    def score_texts(self, query: Forms, texts: Sequence[str]) -> Sequence[float]:
        """Return the scores of texts outside the index for a query."""
        ...


class DenseRetriever:
    """Retrieves the passages whose vectors are nearest to the query's; a score is a cosine.

    Args:
        expand: Retrieve again with a query vector moved towards the top passages.
    """

    def __init__(self, index: Index, embedder: Embedder, *, expand: bool = False) -> None:
        self.index, self.model, self.expand = index, embedder, expand
        self.name = _named(DENSE, expand)
        self.embedder, self.backend = embedder.card.name, embedder.backend

    def searches(self, queries: Sequence[Forms]) -> Sequence[Search]:
        """Return a search per query; the queries are embedded in one batch."""
        return [partial(self._best, vector) for vector in embedded(self.model, queries)]

    def score_texts(self, query: Forms, texts: Sequence[str]) -> Sequence[float]:
        """Return the cosines between texts outside the index and a query."""
        [vector] = embedded(self.model, [query])
        return [float(text @ vector) for text in self.model.embed_documents(texts)]

    def _best(self, vector: Floats, depth: int, among: Rows | None) -> Retrieved:
        if self.expand:
            first = self.index.retrieve(vector[None], PASSAGES, among)[0][0]
            vector = expanded_vector(vector, self.index.vectors[first])
        return Retrieved(*self.index.retrieve(vector[None], depth, among)[0])


class LexicalRetriever:
    """Retrieves the passages that contain the query's terms, by BM25; see Lexicon.scores.

    Args:
        expand: Retrieve again with terms of the top passages.
    """

    backend = "numpy"
    embedder = None

    def __init__(self, index: Index, *, expand: bool = False) -> None:
        self.index, self.expand = index, expand
        self.name = _named(BM25, expand)
        self.terms = Terms(index.language)
        # Scores of the last query: a sweep retrieves it at several depths.
        self._last: tuple[Mapping[str, float], Scored | JoinedScores] | None = None

    @property
    def lexicon(self) -> Lexicon | JoinedLexicon:
        """The lexicon of the index, held by the index alone."""
        return self.index.lexicon

    def searches(self, queries: Sequence[Forms]) -> Sequence[Search]:
        """Return a search per query."""
        return [partial(self._best, self.terms_of(forms)) for forms in queries]

    def terms_of(self, forms: Forms) -> Counter[str]:
        """Return the terms of a query with their counts."""
        return Counter(term for form in forms for term in self.terms.of_query(form))

    def expanded(
        self, terms: Mapping[str, float], rows: Rows, scores: Floats
    ) -> Mapping[str, float]:
        """Return a query's terms expanded with those of its top passages."""
        texts = map(self.terms.of_query, self.index.passages.contents(rows.tolist()))
        return expanded_terms(terms, list(texts), scores.tolist())

    def score_texts(self, query: Forms, texts: Sequence[str]) -> Sequence[float]:
        """Return the BM25 scores of texts outside the index for a query."""
        terms = self.terms_of(query)
        return [self.lexicon.score_text(terms, Counter(self.terms.of(text))) for text in texts]

    def scores(self, terms: Mapping[str, float]) -> Scored | JoinedScores:
        """Return the BM25 scores of the rows with a term; the last query's are cached."""
        last = self._last
        if last is None or last[0] is not terms:
            self._last = last = terms, self.lexicon.scores(terms)
        return last[1]

    def _best(self, terms: Mapping[str, float], depth: int, among: Rows | None) -> Retrieved:
        scores = self.scores(terms)
        if self.expand:
            scores = self.lexicon.scores(self.expanded(terms, *scores.highest(PASSAGES, among)))
        return Retrieved(*scores.highest(depth, among))


class Nearness(Protocol[Asked]):
    """What a hybrid fuses with BM25: a score by a model, exact for every passage."""

    @property
    def name(self) -> str:
        """The name of its ranks in results."""
        ...

    @property
    def model(self) -> Embedder:
        """The embedder of the index."""
        ...

    def asked(self, queries: Sequence[Forms]) -> Sequence[Asked]:
        """Return what queries are compared by; they are embedded in one batch."""
        ...

    def best(self, query: Asked, depth: int, among: Rows | None) -> tuple[Rows, Floats]:
        """Return the rows of the highest scores, best first, and the scores."""
        ...

    def scores(self, query: Asked, rows: Rows) -> Floats:
        """Return the scores of some rows."""
        ...

    def text_scores(self, query: Asked, texts: Sequence[str]) -> Floats:
        """Return the scores of texts as if they were passages."""
        ...

    def moved(self, query: Asked, rows: Rows) -> Asked:
        """Return a query moved towards some rows."""
        ...


class _Cosines:
    """Nearness by one vector per passage."""

    name = DENSE

    def __init__(self, index: Index, embedder: Embedder) -> None:
        self.index, self.model = index, embedder

    def asked(self, queries: Sequence[Forms]) -> Sequence[Floats]:
        return list(embedded(self.model, queries))

    def best(self, query: Floats, depth: int, among: Rows | None) -> tuple[Rows, Floats]:
        return self.index.retrieve(query[None], depth, among)[0]

    def scores(self, query: Floats, rows: Rows) -> Floats:
        return inner_products(self.index.vectors[rows], query)

    def text_scores(self, query: Floats, texts: Sequence[str]) -> Floats:
        import numpy as np

        return np.array([text @ query for text in self.model.embed_documents(texts)])

    def moved(self, query: Floats, rows: Rows) -> Floats:
        return expanded_vector(query, self.index.vectors[rows])


class HybridRetriever:
    """Fuses both scores: their mean, each scaled to the range of its 100 best.

    The 100 best are those of the query among the passages searched; a passage without any term has
    0 by BM25. So the score of a passage does not depend on the depth, and parts of an index can be
    searched apart once their best scores are merged. Every passage that is among the top of either
    side gets both scores, computed exactly.

    Args:
        expand: Retrieve again both ways, with the top passages as feedback.
        near: The score that is fused with BM25; None: the cosine of the embedder's vectors.
    """

    def __init__(
        self,
        index: Index,
        embedder: Embedder,
        *,
        expand: bool = False,
        near: Nearness[Any] | None = None,
    ) -> None:
        self.index, self.expand = index, expand
        self.near: Nearness[Any] = near or _Cosines(index, embedder)
        self.name = _named(HYBRID, expand)
        self.embedder, self.backend = embedder.card.name, embedder.backend
        self.lexical = LexicalRetriever(index)

    def searches(self, queries: Sequence[Forms]) -> Sequence[Search]:
        """Return a search per query; the queries are embedded in one batch."""
        terms = map(self.lexical.terms_of, queries)
        return [
            partial(self._best, *pair) for pair in zip(self.near.asked(queries), terms, strict=True)
        ]

    def score_texts(self, query: Forms, texts: Sequence[str]) -> Sequence[float]:
        """Return the fused scores of texts outside the index, in the scale of a search of it."""
        import numpy as np

        [asked] = self.near.asked([query])
        sides = self._sides(asked, self.lexical.terms_of(query), HEAD, None)
        worth = np.array(self.lexical.score_texts(query, texts))
        scores: list[float] = sides.fused(self.near.text_scores(asked, texts), worth).tolist()
        return scores

    def _best(
        self, asked: Any, terms: Mapping[str, float], depth: int, among: Rows | None
    ) -> Retrieved:
        if self.expand:
            first = self._fused(asked, terms, PASSAGES, among)
            terms = self.lexical.expanded(terms, first.rows, first.scores.clip(min=0))
            asked = self.near.moved(asked, first.rows)
        return self._fused(asked, terms, depth, among)

    def _fused(
        self, asked: Any, terms: Mapping[str, float], depth: int, among: Rows | None
    ) -> Retrieved:
        import numpy as np

        sides = self._sides(asked, terms, max(depth, HEAD), among)
        rows = np.union1d(sides.nearest, sides.holding)
        nearness, worth = self.near.scores(asked, rows), self.lexical.scores(terms).of(rows)
        scores = sides.fused(nearness, worth)
        order = np.lexsort((rows, -scores))[:depth]
        rows = rows[order]
        ranks = {
            self.near.name: _ranks(rows, sides.nearest, nearness[order]),
            BM25: _ranks(rows, sides.holding, worth[order]),
        }
        return Retrieved(rows, scores[order], ranks)

    def _sides(
        self, asked: Any, terms: Mapping[str, float], depth: int, among: Rows | None
    ) -> _Sides:
        """Return the top of both sides, and the scales of their scores."""
        nearest, nearness = self.near.best(asked, depth, among)
        holding, worth = self.lexical.scores(terms).highest(depth, among)
        searched = len(self.index.passages) if among is None else len(among)
        head = worth[:HEAD].tolist()
        # The passages without any term follow those that have one.
        head += [0.0] * (min(HEAD, searched) - len(head))
        return _Sides(nearest, holding, Scale.of(nearness[:HEAD].tolist()), Scale.of(head))


class _Sides(NamedTuple):
    """The top rows of both sides, best first, and the scales of their scores."""

    nearest: Rows
    holding: Rows
    near: Scale
    lexical: Scale

    def fused(self, nearness: Numbers, worth: Numbers) -> Floats:
        """Return the fused scores of passages or texts."""
        return fused(self.near.above(nearness), self.lexical.above(worth))


def embedded(embedder: Embedder, queries: Sequence[Forms]) -> Floats:
    """Return a unit vector per query; for several forms, their normalised mean."""
    import numpy as np

    forms = [form for query in queries for form in query]
    vectors = embedder.embed_queries(forms)
    counts = np.array([len(query) for query in queries], dtype=np.int64)
    means = np.add.reduceat(vectors, np.cumsum(counts) - counts, axis=0)
    # Dividing a unit vector by its length again may change its last bits.
    means[counts > 1] = unit(means[counts > 1])
    return means


def _named(retriever: str, expand: bool) -> str:
    return f"{retriever} expanded" if expand else retriever


def _ranks(rows: Rows, ranked: Rows, scores: Floats) -> list[RetrieverRank]:
    """Return the rows' ranks in one retriever's top list; rows beyond it have no rank."""
    ranks = {row: rank for rank, row in enumerate(ranked.tolist(), start=1)}
    return [
        RetrieverRank(ranks.get(row), score)
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
    ]
