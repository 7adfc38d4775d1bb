"""Late interaction over the token vectors of an index: only the query is encoded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ettin_cli.index import Index, text_hashes
from ettin_cli.models.rerankers import (
    FolderReranker,
    QueryVectors,
    ResolvedReranker,
    TextSink,
    TextVectors,
    TokenEncoder,
)
from ettin_cli.records import Advance, Pair, Reporter, Reranker, RerankerCard, Scores, no_progress
from ettin_cli.text.lexical import ENGLISH, Terms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index import JoinedTokens, StoredTokens
    from ettin_cli.records import Flags, Floats


class StoredTokenEncoder:
    """Reads the token vectors of an index's texts, and encodes queries.

    All vectors are in the space of the index's codec, in which products are the same.

    Args:
        encoder: Encodes queries.
    """

    def __init__(
        self, index: Index, stored: StoredTokens | JoinedTokens, encoder: TokenEncoder
    ) -> None:
        self.index, self.stored, self.encoder = index, stored, encoder
        self.max_tokens = encoder.max_tokens
        bits = stored.codec.bits
        self.backend = f"{bits}-bit token vectors, {encoder.backend}"

    def queries(self, queries: Sequence[str]) -> tuple[list[QueryVectors], Flags]:
        """Return each query's vectors, and which queries were truncated."""
        encoded, cut = self.encoder.queries(queries)
        rotated = self.stored.codec.rotated
        return [one._replace(tokens=rotated(one.tokens)) for one in encoded], cut

    def texts(self, texts: Sequence[str], sink: TextSink) -> Flags:
        """Pass `sink` each text's position and vectors; return which texts were truncated.

        Raises:
            IndexDamagedError: A text is not found, or its vectors do not match their checksum.
        """
        import numpy as np

        cut = np.zeros(len(texts), np.bool_)
        positions = self.stored.find_all(text_hashes(texts))
        for at, text in enumerate(self.stored.read(positions.tolist())):
            pooled = self.index.vectors[text.row].astype(np.float32)
            sink(at, TextVectors(text.vectors, pooled))
            cut[at] = text.truncated
        return cut


class StoredWordCounts:
    """Counts words in the passages of an index by its lexicon, without reading the texts.

    The lexicon also has the words of a file's name, which are not in the text.
    """

    def __init__(self, index: Index, stored: StoredTokens | JoinedTokens, terms: Terms) -> None:
        self.index, self.stored, self.terms = index, stored, terms

    def __call__(
        self, terms: Sequence[str], texts: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the count of each term in each text, each text's length, and which are known."""
        import numpy as np

        positions = self.stored.find(text_hashes(texts))
        known = positions >= 0
        counts = np.zeros((len(texts), len(terms)), np.int64)
        lengths = np.zeros(len(texts), np.int64)
        rows = self.stored.first_rows(positions[known])
        counts[known], lengths[known] = self.index.lexicon.counts_in(terms, rows)
        of_names = dict[str, Counter[str]]()
        names = self.index.passages.column("names", rows)
        for at, name in zip(np.flatnonzero(known).tolist(), names, strict=True):
            if name:
                if name not in of_names:
                    of_names[name] = Counter(self.terms.of(name))
                counts[at] -= [of_names[name][term] for term in terms]
                lengths[at] -= of_names[name].total()
        return counts, lengths, known


class TimedScores:
    """A reranker that measures the time of each score.

    Args:
        reranker: Scores so fast that its scores are not worth keeping.
    """

    def __init__(self, reranker: Reranker) -> None:
        self.reranker = reranker

    @property
    def card(self) -> RerankerCard:
        """The description of the reranker."""
        return self.reranker.card

    def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order."""
        return self.reranker.score(pairs, advance)

    def timed(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> tuple[Scores, Floats]:
        """Return the scores, and the seconds that scoring each pair took."""
        import numpy as np

        began = time.perf_counter()
        scores = self.reranker.score(pairs, advance)
        seconds = (time.perf_counter() - began) / max(1, len(pairs))
        return scores, np.full(len(pairs), seconds, np.float32)


def has_tokens_of(index: Index, resolved: ResolvedReranker) -> bool:
    """Return whether an index stores the token vectors that a reranker compares."""
    return (
        index.tokens is not None
        and isinstance(resolved, FolderReranker)
        and not resolved.reads_pairs
        and resolved.weights == index.manifest.embedder.weights
        and resolved.prompt() == index.manifest.embedder.document_prompt
    )


def reranker_over(
    index: Index, resolved: ResolvedReranker, encoder: TokenEncoder, reporter: Reporter
) -> Reranker | None:
    """Return a reranker that scores from an index's token vectors; None if it has another limit.

    Args:
        resolved: One for which `has_tokens_of` holds.
        encoder: Its encoder.
    """
    stored = index.tokens
    assert stored is not None and isinstance(resolved, FolderReranker)
    if encoder.max_tokens != index.manifest.embedder.max_tokens:
        return None
    counts, terms = None, Terms(ENGLISH)
    if index.manifest.language == ENGLISH and index.lexicon.made_by == terms.made_by:
        counts = StoredWordCounts(index, stored, terms)
    return resolved.over(StoredTokenEncoder(index, stored, encoder), encoder, counts, reporter)
