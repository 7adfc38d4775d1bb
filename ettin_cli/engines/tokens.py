"""Texts -> token ids, by the tokenizers library alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ettin_cli.errors import ModelError
from ettin_cli.hub import read_json

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

NO_LIMIT = 1_000_000


class TokenIds(NamedTuple):
    """What a model reads of one text or pair; `types` tells a query's tokens from a text's."""

    ids: list[int]
    types: list[int]


def load_tokenizer(folder: Path) -> Tokenizer:
    """Return a model's own tokenizer, which neither cuts nor pads.

    Raises:
        ModelError: The folder has no tokenizer.json, or not a whole one.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"cannot read {path}: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def token_limit(folder: Path) -> int:
    """Return how many tokens a model reads, special ones included."""
    config = read_json(folder / "config.json", default={})
    positions = config.get("max_position_embeddings")
    if positions and config.get("model_type") in ("roberta", "xlm-roberta", "camembert"):
        positions -= config.get("pad_token_id", 1) + 1
    limits = [
        read_json(folder / "sentence_bert_config.json", default={}).get("max_seq_length"),
        read_json(folder / "tokenizer_config.json", default={}).get("model_max_length"),
        positions,
    ]
    return next((int(limit) for limit in limits if limit and limit < NO_LIMIT), 512)


class Tokens:
    """A tokenizer that cuts at a limit, and says what it cut.

    Args:
        limit: Most tokens of a text or pair, special ones included.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.limit = limit
        self.tokenizer = load_tokenizer(folder)
        settings = read_json(folder / "tokenizer_config.json", default={})
        self.side = settings.get("truncation_side", "right")

    def of_texts(self, texts: Sequence[str]) -> tuple[list[TokenIds], list[bool]]:
        """Return each text's tokens, and whether it was cut."""
        whole = self._encoded(texts)
        return self._finished([(one, None) for one in whole])

    def of_pairs(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[TokenIds], list[bool]]:
        """Return each pair's tokens, and whether it was cut, the longer side first.

        A text that stands in several pairs is read once.
        """
        sides = dict.fromkeys(side for pair in pairs for side in pair)
        encoded = dict(zip(sides, self._encoded(list(sides)), strict=True))
        return self._finished([(encoded[query], encoded[text]) for query, text in pairs])

    def _encoded(self, texts: Sequence[str]) -> list[Encoding]:
        self.tokenizer.no_truncation()
        return self.tokenizer.encode_batch(list(texts), add_special_tokens=False)

    def _finished(
        self, encoded: Sequence[tuple[Encoding, Encoding | None]]
    ) -> tuple[list[TokenIds], list[bool]]:
        """Put special tokens around what was read, and cut it."""
        self.tokenizer.enable_truncation(self.limit, direction=self.side)
        room = [
            self.limit - self.tokenizer.num_special_tokens_to_add(is_pair)
            for is_pair in (False, True)
        ]
        found, cut = [], []
        for one, other in encoded:
            whole = self.tokenizer.post_process(one, other)
            found.append(TokenIds(whole.ids, whole.type_ids))
            size = len(one) + (len(other) if other is not None else 0)
            cut.append(size > room[other is not None])
        return found, cut
