"""Multi-vector models as embedders: a text's vector is the mean of its token vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.models.encoders import unit
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles, weights_hash
from ettin_cli.models.multi_vector.encoding import shared_token_encoder
from ettin_cli.models.multi_vector.reading import read_reading
from ettin_cli.models.rerankers.maxsim import QueryVectors, TextVectors
from ettin_cli.models.vector_checks import check_dimension, finite, queries_cut
from ettin_cli.records import (
    Advance,
    EmbedderCard,
    Reporter,
    TextTokens,
    TokenSink,
    no_progress,
)
from ettin_cli.runtime import Loaded

if TYPE_CHECKING:
    from ettin_cli.records import Flags, Floats


def read_multi_vector_card(
    files: ModelFiles, dimension: int, max_length: int | None, kept: int | None
) -> EmbedderCard:
    """Return a multi-vector model's description for an index, without loading the model.

    Args:
        dimension: The dimensions of its vectors.
        max_length: A token limit below the model's own.
        kept: How many of the dimensions to keep; None: all.

    Raises:
        InvalidArgumentError: Not all dimensions are to be kept.
    """
    if kept not in (None, dimension):
        raise InvalidArgumentError(
            f"{files.name} is a multi-vector model: its {dimension} dimensions cannot be reduced",
            argument="dimensions",
            value=kept,
            most=dimension,
            valid=dimension,
        )
    reading = read_reading(files.folder)
    return EmbedderCard(
        name=files.name,
        revision=files.revision,
        weights=weights_hash(files.folder),
        dimension=dimension,
        max_tokens=min(reading.document_tokens, max_length or reading.document_tokens),
        query_prompt=reading.query_prompt,
        document_prompt=reading.document_prompt,
    )


def multi_vector_query_limit(folder: Path) -> int:
    """Return the number of tokens that a multi-vector model reads of a query."""
    return read_reading(folder).query_tokens


class MultiVectorEmbedder:
    """A multi-vector model whose pooled vectors are unit means of token vectors.

    A text of which no token is compared has a vector of zeros.
    """

    def __init__(
        self,
        files: ModelFiles,
        card: EmbedderCard,
        settings: EngineSettings,
        reporter: Reporter,
        loaded: Loaded,
    ) -> None:
        self.card, self.reporter = card, reporter
        self.query_limit = multi_vector_query_limit(files.folder)
        limited = replace(settings, max_length=card.max_tokens)
        self.encoder = shared_token_encoder(files.folder, limited, reporter, loaded)
        self.backend = self.encoder.backend
        self.at_once: int = getattr(self.encoder, "at_once", 1)

    def __repr__(self) -> str:
        return f"<ettin embedder {self.card.name} on {self.backend}>"

    def query_tokens(self, queries: Sequence[str]) -> list[QueryVectors]:
        """Return each query's token vectors and their weights."""
        vectors, cut = self.encoder.queries(queries) if queries else ([], None)
        if cut is not None and cut.any():
            notice = queries_cut(int(cut.sum()), self.card.name, self.query_limit)
            self.reporter.notice(notice)
        for query in vectors:
            self._checked(query.tokens)
        return vectors

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        import numpy as np

        pooled = np.zeros((len(texts), self.card.dimension), np.float32)
        for at, query in enumerate(self.query_tokens(texts)):
            pooled[at] = _pooled(query.tokens)
        return pooled

    def cut(self, queries: Sequence[str]) -> int:
        """Return how many of some queries are truncated."""
        return int(self.encoder.queries_cut(queries).sum())

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        return self.embed_tokens(texts, lambda at, tokens: None, advance)[0]

    def embed_tokens(
        self, texts: Sequence[str], sink: TokenSink, advance: Advance = no_progress
    ) -> tuple[Floats, Flags]:
        """Return the vectors of `embed_documents`, and which texts were truncated."""
        import numpy as np

        pooled = np.zeros((len(texts), self.card.dimension), np.float32)

        def keep(at: int, text: TextVectors) -> None:
            pooled[at] = _pooled(self._checked(text.tokens))
            sink(at, TextTokens(text.tokens))
            advance(1)

        cut = self.encoder.texts(texts, keep) if texts else np.zeros(0, np.bool_)
        return pooled, cut

    def _checked(self, tokens: Floats) -> Floats:
        check_dimension(tokens, self.card.dimension, self.card.name)
        return finite(tokens, self.card.name)


def _pooled(tokens: Floats) -> Floats:
    """Return the unit mean of token vectors; zeros if there are none."""
    import numpy as np

    return unit(tokens.sum(axis=0, dtype=np.float32))
