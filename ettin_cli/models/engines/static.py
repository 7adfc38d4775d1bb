"""Static embedders: a text's vector is the mean of its tokens' rows in a table. No torch.

The modules StaticEmbedding and Normalize of sentence-transformers; tokens have no context.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.errors import ModelError
from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.boundaries import LongTexts
from ettin_cli.models.engines.tokens import NO_LIMIT, load_tokenizer, static_part
from ettin_cli.models.engines.weights import Weights
from ettin_cli.runtime import TOKENIZERS, hold_to_one_thread

if TYPE_CHECKING:
    from ettin_cli.records import Floats

# Names in sentence-transformers and in model2vec.
TABLES = ("embedding.weight", "embeddings")


class StaticModel:
    """A table of vectors, mapped from its file, and the tokenizer that gives its row numbers.

    Args:
        max_tokens: Token limit beyond which texts are truncated.

    Raises:
        ModelError: One of its files is damaged, or its table is compressed.
    """

    backend = "numpy cpu float32"

    def __init__(self, folder: Path, max_tokens: int) -> None:
        self.folder = folder
        self.table = static_table(folder)
        self.tokenizer = load_tokenizer(folder)
        self.max_tokens = max_tokens
        if max_tokens < NO_LIMIT:
            self.tokenizer.enable_truncation(max_tokens)
        self.long_texts = LongTexts(self.tokenizer)

    def token_ids(self, texts: Sequence[str]) -> tuple[Sequence[TokenIds], list[bool]]:
        """Return each text's tokens, truncated at the limit, and whether they were truncated."""
        read = list(texts)
        if self.max_tokens < NO_LIMIT:
            read = self.long_texts.beginnings(texts, self.max_tokens)
        hold_to_one_thread(TOKENIZERS)
        encodings = self.tokenizer.encode_batch_fast(read, add_special_tokens=False)
        return [TokenIds(encoding.ids, []) for encoding in encodings], [
            bool(encoding.overflowing) for encoding in encodings
        ]

    def vectors(self, texts: Sequence[TokenIds]) -> Floats:
        """Return the mean of each text's rows; zeros for a text without tokens.

        Raises:
            ModelError: The tokenizer gives row numbers that the table does not have.
        """
        import numpy as np

        means = np.zeros((len(texts), self.table.shape[1]), np.float32)
        for row, text in enumerate(texts):
            if len(text.ids):
                if max(text.ids) >= len(self.table):
                    raise ModelError(
                        f"the tokenizer of {self.folder} returns ids up to {max(text.ids)}, but "
                        f"the model has only {len(self.table)}",
                        code="model-incomplete",
                        folder=self.folder,
                    )
                means[row] = self.table[text.ids].mean(axis=0)
        return means


def static_table(folder: Path) -> Floats:
    """Return the table of a static embedder, shape (tokens, dimension), mapped from its file.

    Raises:
        ModelError: The table is missing, or its row numbers are not token ids.
    """
    part = static_part(folder)
    weights = Weights(part or folder)
    name = next((name for name in TABLES if name in weights), None)
    if name is None or len(weights) > 1:
        raise ModelError(
            f"the static vectors in {part} are not a plain table: {', '.join(sorted(weights))}"
        )
    return weights[name]
