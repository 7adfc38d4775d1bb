"""A model's own tokenizer as a token counter, without the model and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ettin_cli.models.engines.boundaries import LongTexts
from ettin_cli.models.engines.tokens import load_tokenizer
from ettin_cli.models.hub import ModelFiles

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class ModelTokens:
    """Counts a model's tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.long_texts = LongTexts(tokenizer)

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the start and end of each token in `text`, in characters, in order."""
        return self.long_texts.offsets(text)

    def beginning(self, text: str, tokens: int) -> str:
        """Return the part of a text that its first `tokens` tokens cover."""
        begin = self.long_texts.beginnings([text], tokens)[0]
        spans = self.offsets(begin)[:tokens]
        return begin[: spans[-1][1]] if spans else ""

    def counts(self, texts: Sequence[str], limit: int) -> list[int]:
        """Return the tokens of each text; of a longer one only that they exceed a limit."""
        begins = self.long_texts.beginnings(texts, limit + 1)
        found = self.tokenizer.encode_batch_fast(begins, add_special_tokens=False)
        return [len(one) for one in found]

    def described(self, text: str, *, special: bool) -> list[dict[str, object]]:
        """Return each token's id, text, place in characters, and whether it is a special one."""
        found = self.tokenizer.encode(text, add_special_tokens=special)
        rows = zip(found.ids, found.tokens, found.special_tokens_mask, found.offsets, strict=True)
        return [
            {"id": id, "text": token, "special": bool(mask), "start": start, "stop": stop}
            for id, token, mask, (start, stop) in rows
        ]

    def special(self, *, pair: bool) -> int:
        """Return the number of special tokens that the model adds to a text or a pair."""
        return int(self.tokenizer.num_special_tokens_to_add(pair))


def load_token_counter(files: ModelFiles) -> ModelTokens:
    """Return a counter with the model's own tokenizer, without loading the model.

    Raises:
        ModelError: The folder has no tokenizer.json, or it is damaged.
    """
    return ModelTokens(load_tokenizer(files.folder))
