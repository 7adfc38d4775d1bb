"""Retrieve by late interaction: MaxSim of the token vectors of a query and of every passage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ettin_cli.errors import IndexMismatchError
from ettin_cli.index import Index, best_first, text_hashes
from ettin_cli.models.rerankers import QueryVectors, TextVectors
from ettin_cli.records import Embedder, TextTokens, TokenEmbedder
from ettin_cli.searching.retrievers import MULTI_VECTOR, Forms, Retrieved, Search

if TYPE_CHECKING:
    from ettin_cli.index import JoinedTokenLists, JoinedTokens, Rows, StoredTokens, TokenLists
    from ettin_cli.records import Floats

# How many texts are scored: at least so many, for each one wanted, and for the cube root of the
# number of texts. Measured by benchmarks/multi_vector.py to find 98 % of the best 100.
LEAST_SCORED, SCORED_A_WANTED, SCORED_A_ROOT = 1000, 4, 50


@runtime_checkable
class QueryTokenEmbedder(TokenEmbedder, Protocol):
    """An embedder that has the token vectors of queries and texts."""

    def query_tokens(self, queries: Sequence[str]) -> list[QueryVectors]:
        """Return each query's token vectors and their weights."""
        ...


class TokenNearness:
    """Nearness by the token vectors that an index stores: MaxSim.

    A text of which no token is compared scores 0, and so does every text for such a query.

    Raises:
        IndexMismatchError: The index has no token vectors of a multi-vector model.
    """

    name = MULTI_VECTOR

    def __init__(self, index: Index, embedder: Embedder) -> None:
        self.stored, self.lists = require_token_lists(index)
        assert isinstance(embedder, QueryTokenEmbedder)
        self.index, self.model = index, embedder
        # Scores of the last query's texts: a sweep retrieves it at several depths.
        self._last: tuple[QueryVectors, dict[int, float]] | None = None

    def asked(self, queries: Sequence[Forms]) -> Sequence[QueryVectors]:
        """Return the token vectors of queries; those of several forms count as one query's."""
        import numpy as np

        forms = self.model.query_tokens([form for query in queries for form in query])
        asked = []
        for begin, end in pairwise(accumulate(map(len, queries), initial=0)):
            tokens = np.concatenate([form.tokens for form in forms[begin:end]])
            weights = np.concatenate([form.weights for form in forms[begin:end]])
            weights /= np.float32(end - begin)
            asked.append(QueryVectors(self.stored.codec.rotated(tokens), weights))
        return asked

    def best(self, query: QueryVectors, depth: int, among: Rows | None) -> tuple[Rows, Floats]:
        """Return the rows of the highest scores, best first, and the scores."""
        import numpy as np

        positions = self.lists.positions if among is None else self.lists.positions[among]
        candidates = self._candidates(query, depth, None if among is None else positions)
        values = np.full(len(self.stored), np.nan, np.float32)
        values[candidates] = self._scored(query, candidates)
        scores = values[positions]
        at = np.flatnonzero(~np.isnan(scores))
        rows = at if among is None else among[at]
        order = best_first(rows, scores[at], depth)
        return rows[order], scores[at][order]

    def _candidates(self, query: QueryVectors, depth: int, among: Rows | None) -> Rows:
        """Return the positions of the texts to score.

        Args:
            among: Those of the passages to choose from; None: all.
        """
        import numpy as np

        distinct = self.stored.distinct
        texts = distinct if among is None else np.unique(among)
        wanted = max(
            LEAST_SCORED,
            SCORED_A_WANTED * depth,
            round(SCORED_A_ROOT * len(distinct) ** (1 / 3)),
        )
        if len(texts) <= wanted:
            return texts
        likely = self.lists.likely(query.tokens, query.weights)
        first = self.stored.first_rows(texts)
        return texts[best_first(first, likely[first], wanted)]

    def scores(self, query: QueryVectors, rows: Rows) -> Floats:
        """Return the scores of some rows."""
        return self._scored(query, self.lists.positions[rows])

    def _scored(self, query: QueryVectors, positions: Rows) -> Floats:
        import numpy as np

        last = self._last
        if last is None or last[0] is not query:
            self._last = last = query, {}
        known = last[1]
        missing = [position for position in positions.tolist() if position not in known]
        for position, text in zip(missing, self.stored.read(missing), strict=True):
            known[position] = _maxsim(query, text.vectors)
        return np.array([known[position] for position in positions.tolist()], np.float32)

    def text_scores(self, query: QueryVectors, texts: Sequence[str]) -> Floats:
        """Return the scores of texts as if they were passages."""
        import numpy as np

        scores = np.zeros(len(texts), np.float32)
        positions = self.stored.find(text_hashes(texts))
        known, others = np.flatnonzero(positions >= 0), np.flatnonzero(positions < 0)
        scores[known] = self._scored(query, positions[known])

        def score(at: int, text: TextTokens) -> None:
            codec = self.stored.codec
            scores[others[at]] = _maxsim(query, codec.decoded(codec.encoded(text.vectors)))

        if len(others):
            self.model.embed_tokens([texts[at] for at in others.tolist()], score)
        return scores

    def moved(self, query: QueryVectors, rows: Rows) -> QueryVectors:
        """Not for token vectors: `choose_retriever` refuses expansion."""
        raise NotImplementedError


def _maxsim(query: QueryVectors, tokens: Floats) -> float:
    return query.score(TextVectors(tokens)) if len(tokens) else 0.0


class MultiVectorRetriever:
    """Retrieves the passages with the highest MaxSim, computed from the stored token vectors.

    The texts that are scored are chosen by inverted lists; in a small index, all are.
    """

    name = MULTI_VECTOR

    def __init__(self, index: Index, embedder: Embedder) -> None:
        self.index, self.near = index, TokenNearness(index, embedder)
        self.embedder, self.backend = embedder.card.name, embedder.backend

    def searches(self, queries: Sequence[Forms]) -> Sequence[Search]:
        """Return a search per query; the queries are embedded in one batch."""
        return [partial(self._best, query) for query in self.near.asked(queries)]

    def score_texts(self, query: Forms, texts: Sequence[str]) -> Sequence[float]:
        """Return the scores of texts outside the index for a query."""
        [asked] = self.near.asked([query])
        scores: list[float] = self.near.text_scores(asked, texts).tolist()
        return scores

    def _best(self, query: QueryVectors, depth: int, among: Rows | None) -> Retrieved:
        return Retrieved(*self.near.best(query, depth, among))


def require_token_lists(
    index: Index,
) -> tuple[StoredTokens | JoinedTokens, TokenLists | JoinedTokenLists]:
    """Return the token vectors of an index and their lists.

    Raises:
        IndexMismatchError: It has none of a multi-vector model.
    """
    stored, lists = index.tokens, index.token_lists
    if stored is None or lists is None:
        raise IndexMismatchError(
            f"{index.folder} has no token vectors of a multi-vector model",
            code="index-without-token-vectors",
            folder=index.folder,
        )
    return stored, lists
