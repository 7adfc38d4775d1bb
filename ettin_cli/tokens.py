"""A model's own tokenizer as a counter of tokens, without the model and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ettin_cli.engines.tokens import load_tokenizer
from ettin_cli.hub import ModelFiles

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class ModelTokens:
    """Counts tokens as a model does."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Return each token's start and end in `text`, in characters, in order."""
        found: list[tuple[int, int]] = self.tokenizer.encode(text, add_special_tokens=False).offsets
        return found

    def special(self, *, pair: bool) -> int:
        """Return how many special tokens the model adds to a text, or to a pair of texts."""
        return int(self.tokenizer.num_special_tokens_to_add(pair))


def load_token_counter(files: ModelFiles) -> ModelTokens:
    """Return the model's own tokenizer as a counter, without loading the model.

    Raises:
        ModelError: The folder has no tokenizer.json, or not a whole one.
    """
    return ModelTokens(load_tokenizer(files.folder))
