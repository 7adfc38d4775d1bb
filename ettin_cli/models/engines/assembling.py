"""Token ids of texts -> those of a model's inputs: truncated, with special tokens, in one array."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, NamedTuple, overload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    Ids = NDArray[np.int32]

# Texts that probe a tokenizer; the first that has tokens is used.
PROBES = ("a", "1", ".")


class TokenIds(NamedTuple):
    """The tokens of one text or pair.

    Args:
        ids: Its token ids.
        types: Distinguishes a query's tokens from a text's; empty if unknown.
        attended: Number of leading tokens that all tokens attend to; None: all.
    """

    ids: Ids | Sequence[int]
    types: NDArray[np.int8] | Sequence[int]
    attended: int | None = None


class TokenRows(Sequence[TokenIds]):
    """The tokens of many texts or pairs, in one array.

    Args:
        ids: Those of all texts, one after the other.
        types: The type of each.
        ends: The end of each text in `ids`.
    """

    def __init__(self, ids: Ids, types: NDArray[np.int8], ends: NDArray[np.int64]) -> None:
        self.ids, self.types, self.bounds = ids, types, [0, *ends.tolist()]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, at: int) -> TokenIds: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[TokenIds]: ...
    def __getitem__(self, at: int | slice) -> TokenIds | Sequence[TokenIds]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        own = slice(self.bounds[at], self.bounds[at + 1])
        return TokenIds(self.ids[own], self.types[own])


class _Part(NamedTuple):
    """One of the texts, or special tokens, of which all tokens have the same type."""

    text: int | None
    ids: Ids
    type: int


class Template:
    """What a tokenizer puts around one text, or around the two texts of a pair.

    The post-processors of the tokenizers library add the same tokens to all texts, so the tokens
    of a short text show what they are.

    Args:
        texts: 1 or 2.
    """

    def __init__(self, tokenizer: Tokenizer, texts: int) -> None:
        probe = _probe(tokenizer)
        made = tokenizer.encode(probe, probe if texts == 2 else None)
        tokens = zip(made.sequence_ids, made.type_ids, made.ids, strict=True)
        self.parts = [
            _Part(text, id_array(id for _, _, id in part), type)
            for (text, type), part in groupby(tokens, key=lambda token: token[:2])
        ]
        self.added = sum(len(part.ids) for part in self.parts if part.text is None)

    def around(self, every: Sequence[Sequence[Ids]]) -> TokenRows:
        """Return the tokens of each group of one or two texts, with special tokens."""
        import numpy as np

        pieces = [
            part.ids if part.text is None else texts[part.text]
            for texts in every
            for part in self.parts
        ]
        sizes = np.fromiter(map(len, pieces), np.int64, len(pieces))
        types = np.array([part.type for part in self.parts], np.int8)
        return TokenRows(
            np.concatenate(pieces),
            np.repeat(np.tile(types, len(every)), sizes),
            sizes.reshape(len(every), len(self.parts)).sum(axis=1).cumsum(),
        )


def _probe(tokenizer: Tokenizer) -> str:
    """Return a text that has tokens."""
    known = (tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size()))
    candidates = chain(PROBES, filter(None, known))
    return next(text for text in candidates if tokenizer.encode(text, add_special_tokens=False))


def id_array(ids: Iterable[int]) -> Ids:
    """Return ids as an array; an `array` is the fastest way from a list."""
    import numpy as np

    made: Any = np.asarray(array("I", ids))
    return made.view(np.int32)  # type: ignore[no-any-return]


def shortened(texts: Sequence[Ids], room: int, side: str) -> Sequence[Ids]:
    """Return one or two texts with at most `room` tokens, truncated on a side, the longest first.

    Two texts that are both longer than half of the room keep half of it each, as in the
    tokenizers library.
    """
    sizes = [len(text) for text in texts]
    if sum(sizes) <= room:
        return texts
    if len(sizes) == 1:
        sizes = [room]
    else:
        half, short = room // 2, min(sizes)
        pair = [short, room - short] if short <= half else [half, room - half]
        sizes = pair if sizes[0] <= sizes[1] else pair[::-1]
    if side == "left":
        return [text[len(text) - size :] for text, size in zip(texts, sizes, strict=True)]
    return [text[:size] for text, size in zip(texts, sizes, strict=True)]
