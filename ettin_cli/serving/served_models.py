"""The models of a server: each with its tokens counted and its requests scheduled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ettin_cli.errors import ModelError
from ettin_cli.models import ModelFiles, load_token_counter
from ettin_cli.models.rerankers import ResolvedReranker
from ettin_cli.records import Embedder, Reranker
from ettin_cli.runtime import Lock
from ettin_cli.searching import Models
from ettin_cli.serving.scheduler import Item, Scheduler

if TYPE_CHECKING:
    from ettin_cli.models import ModelTokens
    from ettin_cli.records import Floats

# For a model without a tokenizer of its own.
CHARACTERS_A_TOKEN = 4
DOCUMENT, QUERY = "document", "query"


@dataclass(frozen=True, slots=True)
class Scored:
    """The score of a pair, and whether its text was cut at the model's limit."""

    value: float
    truncated: bool


@dataclass(frozen=True, slots=True)
class Counted:
    """Items for a scheduler, each with its tokens.

    Args:
        cut: The positions of texts that were cut before.
    """

    items: list[Item]
    tokens: list[int]
    cut: frozenset[int] = frozenset()


class ServedReranker:
    """A reranker that many requests share.

    Args:
        long: How texts beyond the token limit are scored.
    """

    task = "rerank"

    def __init__(self, models: Models, resolved: ResolvedReranker, long: str) -> None:
        self.models, self.resolved, self.long = models, resolved, long
        self.name, self.revision = resolved.name, resolved.revision
        self.scheduler: Scheduler[Scored] = Scheduler(self._scores, f"reranker {self.name}")
        self._lock = Lock()
        self._layout: tuple[ModelTokens | None, int] | None = None

    @property
    def reranker(self) -> Reranker:
        """The model, loaded once.

        Raises:
            ModelError: It cannot be loaded.
        """
        return self.models.reranker(self.resolved, self.long)

    def load(self) -> str:
        """Load the model, and return the runtime, device and dtype.

        Raises:
            ModelError: It cannot be loaded.
        """
        self._counter()
        return self.reranker.card.backend

    @property
    def limit(self) -> int:
        """Maximum tokens read of a pair."""
        return self.reranker.card.max_tokens

    def tokenized(self, texts: Sequence[str], *, special: bool) -> list[list[dict[str, object]]]:
        """Return the tokens of each text, as text-embeddings-inference lists them."""
        tokens, _ = self._counter()
        if tokens is None:
            raise ModelError(f"{self.name} has no tokenizer")
        return [tokens.described(text, special=special) for text in texts]

    def counted(self, query: str, texts: Sequence[str], most: int | None) -> Counted:
        """Return the pairs of a request.

        Args:
            most: Tokens that are read of each text; None: up to the model's limit.
        """
        tokens, _ = self._counter()
        cut = []
        read = list(texts)
        if most is not None and most < self.limit and tokens is not None:
            for at, text in enumerate(texts):
                read[at] = tokens.beginning(text, most)
                cut += [at] if len(read[at]) < len(text.rstrip()) else []
        return self.counted_pairs([(query, text) for text in read], frozenset(cut))

    def counted_pairs(self, pairs: list[Item], cut: frozenset[int] = frozenset()) -> Counted:
        """Return pairs with their tokens; a query or text of several pairs is counted once."""
        tokens, special = self._counter()
        sides = list(dict.fromkeys(side for pair in pairs for side in pair))
        lengths = dict(zip(sides, _lengths(sides, tokens, self.limit), strict=True))
        counts = [min(self.limit, lengths[one] + lengths[other] + special) for one, other in pairs]
        return Counted(pairs, counts, cut)

    def _counter(self) -> tuple[ModelTokens | None, int]:
        with self._lock:
            if self._layout is None:
                try:
                    layout = self.resolved.layout()
                    special = layout.tokens.special(pair=layout.pairs)
                    self._layout = layout.tokens, special
                except ModelError:
                    self._layout = None, 0
            return self._layout

    def _scores(self, pairs: list[Item]) -> list[Scored]:
        scores = self.reranker.score(pairs)
        return [
            Scored(value, cut)
            for value, cut in zip(scores.values.tolist(), scores.truncated.tolist(), strict=True)
        ]


class ServedEmbedder:
    """An embedder that many requests share.

    Args:
        load: Returns the model, loaded once.
    """

    task = "embed"

    def __init__(self, files: ModelFiles, load: Callable[[], Embedder]) -> None:
        self.files, self.name, self._load = files, files.name, load
        self.scheduler: Scheduler[Floats] = Scheduler(self._vectors, f"embedder {self.name}")
        self._lock = Lock()
        self._tokens: ModelTokens | None = None

    @property
    def embedder(self) -> Embedder:
        """The model, loaded once.

        Raises:
            ModelError: It cannot be loaded.
        """
        return self._load()

    def load(self) -> str:
        """Load the model, and return the runtime, device and dtype.

        Raises:
            ModelError: It cannot be loaded.
        """
        self._counter()
        return self.embedder.backend

    @property
    def limit(self) -> int:
        """Maximum tokens read of a text."""
        return self.embedder.card.max_tokens

    def counted(self, texts: Sequence[str], *, queries: bool) -> Counted:
        """Return the texts of a request."""
        tokens = self._counter()
        kind = QUERY if queries else DOCUMENT
        card = self.embedder.card
        prompt = card.query_prompt if queries else card.document_prompt
        limit = card.max_tokens
        lengths = _lengths([prompt + text for text in texts], tokens, limit)
        special = tokens.special(pair=False)
        counts = [min(limit, count + special) for count in lengths]
        return Counted([(kind, text) for text in texts], counts)

    def _counter(self) -> ModelTokens:
        with self._lock:
            self._tokens = self._tokens or load_token_counter(self.files)
            return self._tokens

    def _vectors(self, items: list[Item]) -> list[Floats]:
        vectors: list[Floats] = [None] * len(items)  # type: ignore[list-item]
        for kind in (QUERY, DOCUMENT):
            chosen = [at for at, item in enumerate(items) if item[0] == kind]
            if chosen:
                texts = [items[at][1] for at in chosen]
                model = self.embedder
                embed = model.embed_queries if kind == QUERY else model.embed_documents
                for at, vector in zip(chosen, embed(texts), strict=True):
                    vectors[at] = vector
        return vectors


def _lengths(texts: Sequence[str], tokens: ModelTokens | None, limit: int) -> list[int]:
    """Return the number of tokens of each text, of a long one only beyond the limit."""
    if tokens is None:
        return [1 + len(text) // CHARACTERS_A_TOKEN for text in texts]
    return tokens.counts(texts, limit)
