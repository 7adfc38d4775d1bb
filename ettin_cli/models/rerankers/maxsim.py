"""Late interaction: a score from the token vectors of a query and a text.

Independent of models: the embedded reranker and all multi-vector models use it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from ettin_cli.models.rerankers.empty_texts import blanks_last
from ettin_cli.models.rerankers.score_checks import ScriptNotice, checked, distinct
from ettin_cli.records import NO_TEXT, Advance, Reporter, RerankerCard, Scores, no_progress
from ettin_cli.runtime import Once, product

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.records import Flags, Floats

    # Terms and texts -> the count of each term in each text, the length of each text in terms, and
    # which texts are known.
    WordCounts = Callable[
        [Sequence[str], Sequence[str]],
        tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]],
    ]


class TextVectors(NamedTuple):
    """A text's vectors.

    Args:
        tokens: Shape (tokens, dimension).
        pooled: One vector of the text, if that is scored too.
    """

    tokens: Floats
    pooled: Floats | None = None


class QueryVectors(NamedTuple):
    """A query's vectors.

    Args:
        tokens: Shape (tokens, dimension).
        weights: The weight of each token's best match.
        pooled: One vector of the query, if that is scored too.
    """

    tokens: Floats
    weights: Floats
    pooled: Floats | None = None

    def score(self, text: TextVectors) -> float:
        """Return MaxSim, plus the product of the pooled vectors if there are any."""
        matched = maxsim(self.tokens, self.weights, text.tokens) if len(self.weights) else 0.0
        if self.pooled is None or text.pooled is None:
            return matched
        return float(text.pooled @ self.pooled) + matched


def maxsim(query: Floats, weights: Floats, document: Floats) -> float:
    """Return the weighted sum of the best match of every query token in a document.

    Late interaction as in ColBERT (Khattab and Zaharia, 2020), where every weight is 1.

    Args:
        query: Token vectors, shape (query tokens, dimension).
        weights: One per query token.
        document: Token vectors, shape (tokens, dimension).
    """
    if not len(document):
        return NO_TEXT
    best = product(query, document.T).max(axis=1)
    return float(best @ weights)


TextSink = Callable[[int, TextVectors], None]


class TokenEncoder(Protocol):
    """Turns queries and texts into token vectors."""

    @property
    def backend(self) -> str:
        """The runtime, device and dtype, as shown in results."""
        ...

    @property
    def max_tokens(self) -> int:
        """Maximum tokens read of a text, special tokens included."""
        ...

    def queries(self, queries: Sequence[str]) -> tuple[list[QueryVectors], Flags]:
        """Return each query's vectors, and which queries were truncated."""
        ...

    def texts(self, texts: Sequence[str], sink: TextSink) -> Flags:
        """Pass `sink` each text's position and vectors, in any order; return truncation flags."""
        ...


@runtime_checkable
class ComparesTokens(Protocol):
    """A loaded reranker that compares the token vectors of queries and texts."""

    @property
    def encoder(self) -> TokenEncoder:
        """What makes the vectors."""
        ...


class LateInteractionReranker:
    """MaxSim over token vectors; every query and every text is encoded once.

    Args:
        english: Whether the model supports only English.
    """

    def __init__(
        self, name: str, encoder: TokenEncoder, reporter: Reporter, *, english: bool = False
    ) -> None:
        at_once = getattr(encoder, "at_once", 1)
        self.card = RerankerCard(
            name, encoder.backend, encoder.max_tokens, reads_pairs=False, at_once=at_once
        )
        self.encoder, self.reporter = encoder, reporter
        self.script = ScriptNotice(name, reporter, english=english)
        self.first_cut = Once()

    @blanks_last
    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order; truncated if either side was."""
        import numpy as np

        queries, query_of = distinct([query for query, _ in pairs])
        texts, text_of = distinct([text for _, text in pairs])
        self.script.check([*queries, *texts])
        encoded, queries_cut = self.encoder.queries(queries)
        self._report(int(queries_cut.sum()))
        wanted: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for at, (query, text) in enumerate(zip(query_of, text_of, strict=True)):
            wanted[text][query].append(at)
        values = np.full(len(pairs), np.nan, np.float32)

        def compare(text: int, document: TextVectors) -> None:
            for query, where in wanted[text].items():
                values[where] = encoded[query].score(document)
            advance(sum(map(len, wanted[text].values())))

        cut = self.encoder.texts(texts, compare)
        return Scores(checked(values, self.card.name), cut[text_of] | queries_cut[query_of])

    def cut(self, queries: Sequence[str]) -> int:
        """Return how many of some queries are truncated."""
        return int(self.encoder.queries(queries)[1].sum())

    def _report(self, cut: int) -> None:
        if cut and self.first_cut():
            self.reporter.notice(query_cut(self.card.name))


def query_cut(name: str) -> str:
    """Return the notice that a query exceeds a reranker's token limit."""
    return f"a query was truncated at the token limit of {name}"
