"""Late interaction: a score out of the vectors of a query's and a text's tokens.

Knows no model: the embedded stand-in and every multi-vector model are compared by this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ettin_cli.models.rerankers.empty_texts import blanks_last
from ettin_cli.models.rerankers.score_checks import ScriptNotice, checked, distinct
from ettin_cli.records import NO_TEXT, Advance, Reporter, RerankerCard, Scores, no_progress
from ettin_cli.runtime import Once

if TYPE_CHECKING:
    from ettin_cli.records import Flags, Floats


class TextVectors(NamedTuple):
    """What a text is compared by.

    Args:
        tokens: Shape (tokens, dimension).
        pooled: One vector of the whole text, where it counts too.
    """

    tokens: Floats
    pooled: Floats | None = None


class QueryVectors(NamedTuple):
    """What a query is compared by.

    Args:
        tokens: Shape (tokens, dimension).
        weights: One a token: what its best match counts.
        pooled: One vector of the whole query, where it counts too.
    """

    tokens: Floats
    weights: Floats
    pooled: Floats | None = None

    def score(self, text: TextVectors) -> float:
        """Return MaxSim, and where there are pooled vectors their product besides."""
        matched = maxsim(self.tokens, self.weights, text.tokens) if len(self.weights) else 0.0
        if self.pooled is None or text.pooled is None:
            return matched
        return float(text.pooled @ self.pooled) + matched


def maxsim(query: Floats, weights: Floats, document: Floats) -> float:
    """Return the weighted sum of the best match of every query token in a document.

    Late interaction as in ColBERT (Khattab and Zaharia, 2020), where every weight is 1.

    Args:
        query: Token vectors, shape (query tokens, dimension).
        weights: One a query token.
        document: Token vectors, shape (tokens, dimension).
    """
    if not len(document):
        return NO_TEXT
    best = (query @ document.T).max(axis=1)
    return float(best @ weights)


TextSink = Callable[[int, TextVectors], None]


class TokenEncoder(Protocol):
    """Turns queries and texts into vectors of their tokens."""

    @property
    def backend(self) -> str:
        """What results say of where they were computed."""
        ...

    @property
    def max_tokens(self) -> int:
        """What it reads of a text, special tokens included."""
        ...

    def queries(self, queries: Sequence[str]) -> tuple[list[QueryVectors], Flags]:
        """Return each query's vectors, and which were cut."""
        ...

    def texts(self, texts: Sequence[str], sink: TextSink) -> Flags:
        """Give `sink` each text's place and vectors, in any order; return which were cut."""
        ...


class LateInteractionReranker:
    """MaxSim over the vectors of tokens: every query and every text is encoded once.

    Args:
        english: Whether it reads English alone.
    """

    def __init__(
        self, name: str, encoder: TokenEncoder, reporter: Reporter, *, english: bool = False
    ) -> None:
        self.card = RerankerCard(name, encoder.backend, encoder.max_tokens)
        self.encoder, self.reporter = encoder, reporter
        self.script = ScriptNotice(name, reporter, english=english)
        self.first_cut = Once()

    @blanks_last
    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order; a pair is cut where either side was."""
        import numpy as np

        queries, query_of = distinct([query for query, _ in pairs])
        texts, text_of = distinct([text for _, text in pairs])
        self.script.check([*queries, *texts])
        encoded, queries_cut = self.encoder.queries(queries)
        self._tell(int(queries_cut.sum()))
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

    def _tell(self, cut: int) -> None:
        if cut and self.first_cut():
            self.reporter.notice(f"a query is longer than {self.card.name} reads, and was cut")
