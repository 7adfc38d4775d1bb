"""Texts -> token ids, with the tokenizer of a model that sentence-transformers loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ettin_cli.models.engines.assembling import TokenIds, id_array
from ettin_cli.models.engines.boundaries import LongTexts
from ettin_cli.models.engines.tokens import TYPES, Tokens
from ettin_cli.runtime import TOKENIZERS, Lock, hold_to_one_thread


class LibraryTokens(Tokens):
    """The tokens that a tokenizer of transformers gives, computed by its own Rust tokenizer.

    A tokenizer that is written in Python, or changes how transformers calls the Rust one, is
    called as usual: slower, and twice if a text is too long.

    Args:
        library: A tokenizer of transformers.
        limit: Maximum tokens of a text or pair, special tokens included.
    """

    def __init__(self, library: Any, limit: int) -> None:
        self.library = library
        self.types = TYPES in library.model_input_names
        if _is_plain(library):
            self._begin(library.backend_tokenizer, limit, library.truncation_side)
        else:
            self.limit, self.turn = limit, Lock()
            self.long_texts = LongTexts.of_transformers(library)

    def of_texts(self, texts: Sequence[str]) -> tuple[Sequence[TokenIds], list[bool]]:
        """Return each text's tokens, and whether it was truncated."""
        if _is_plain(self.library):
            return super().of_texts(texts)
        with self.turn:
            read = self.long_texts.beginnings(texts, self.limit)
        return self._by_library(read)

    def of_pairs(self, pairs: Sequence[tuple[str, str]]) -> tuple[Sequence[TokenIds], list[bool]]:
        """Return each pair's tokens, and whether it was truncated, the longer side first."""
        if _is_plain(self.library):
            return super().of_pairs(pairs)
        with self.turn:
            read = self.long_texts.beginnings_of_pairs(pairs, self.limit)
        return self._by_library([query for query, _ in read], [text for _, text in read])

    def _by_library(self, *sides: list[str]) -> tuple[Sequence[TokenIds], list[bool]]:
        import numpy as np

        if not sides[0]:
            return [], []
        hold_to_one_thread(TOKENIZERS)
        with self.turn:
            made = self.library(*sides, truncation=False, verbose=False)
            cut = [len(ids) > self.limit for ids in made["input_ids"]]
            if any(cut):
                made = self.library(*sides, truncation="longest_first", max_length=self.limit)
        types = made[TYPES] if self.types else [[]] * len(cut)
        rows = zip(made["input_ids"], types, strict=True)
        return [TokenIds(id_array(ids), np.array(kinds, np.int8)) for ids, kinds in rows], cut


def _is_plain(library: Any) -> bool:
    """Return whether transformers only passes texts on to the tokenizers library."""
    from transformers import PreTrainedTokenizerFast

    if not isinstance(library, PreTrainedTokenizerFast) or library.split_special_tokens:
        return False
    names = ("__call__", "_call_one", "_encode_plus", "_batch_encode_plus")
    return all(
        getattr(type(library), name, None) is getattr(PreTrainedTokenizerFast, name, None)
        for name in names
    )
