"""Where a long text can be cut without changing the tokens before the cut.

A tokenizer takes hundreds of bytes per character, and a model reads only the first tokens of a
long text. If every part of a tokenizer is known to split between words, text after such a split
does not change the tokens before it, and need not be tokenized.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

CHARACTERS_A_TOKEN = 8
LEAST_CHARACTERS = 1024
GROWTH = 4
PIECE_CHARACTERS = 1 << 18

# Between two letters or digits, before a single space or line break.
WORD = r"(?<=[^\W_])[{}](?=[^\W_])"
# Between a Chinese or Japanese letter and the full stop or comma after it.
CLAUSE = r"(?<=[ぁ-ゖァ-ヺ㐀-䶿一-鿿])[。、]"
# An added token that matches this could span a boundary.
ACROSS = re.compile(r"[^\W_][\s▁。、]")

# These normalize each character, or each with its combining marks, independently of the next.
LOCAL = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "StripAccents"}
# These treat the ends of a text differently.
AT_ENDS = {"Prepend", "Strip"}
# A table that maps characters, or sequences of up to five bytes.
CHARSMAP = "Precompiled"
TAIL = 16
MANY_SPACES = {"Regex": " {2,}"}
# The patterns of Qwen and of Llama 3; no match continues from a letter to a space.
PATTERNS = {
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + digits + r"| "
    r"?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for digits in ("", "{1,3}")
}
MODELS = {"BPE", "Unigram", "WordLevel", "WordPiece"}
# These do not change offsets.
PROCESSORS = {"BertProcessing", "TemplateProcessing"}


class Boundaries(NamedTuple):
    """Places where a tokenizer always splits.

    Args:
        spaces: The white space characters before which it splits.
        clauses: Whether it also splits between Chinese letters and punctuation.
    """

    spaces: str
    clauses: bool

    def pattern(self) -> re.Pattern[str]:
        """Return what matches the character after a boundary."""
        word = WORD.format(self.spaces)
        return re.compile(f"{word}|{CLAUSE}" if self.clauses else word)


class LongTexts:
    """Tokenizes only as much of a long text as needed.

    Args:
        tokenizer: None if it is not from the tokenizers library; then texts are not cut.
        side: Side on which texts are truncated; only "right" keeps the first tokens.
    """

    def __init__(self, tokenizer: Tokenizer | None, side: str = "right") -> None:
        self.tokenizer, self.side = tokenizer, side

    @classmethod
    def of_transformers(cls, tokenizer: Any) -> LongTexts:
        """Return an instance for a tokenizer of transformers."""
        return cls(getattr(tokenizer, "backend_tokenizer", None), tokenizer.truncation_side)

    def beginnings(self, texts: Sequence[str], tokens: int) -> list[str]:
        """Return each text, or a beginning of it with more than `tokens` tokens.

        The tokens of a beginning are the first tokens of its text.
        """
        begun = list(texts)
        size = CHARACTERS_A_TOKEN * tokens + LEAST_CHARACTERS
        waiting = [at for at, text in enumerate(texts) if len(text) > 2 * size]
        while waiting and self._boundary is not None:
            for at in waiting:
                begun[at] = texts[at][: self._next_boundary(self._boundary, texts[at], size)]
            cut = [at for at in waiting if len(begun[at]) < len(texts[at])]
            waiting = [at for at in cut if self._count(begun[at]) <= tokens]
            size *= GROWTH
        return begun

    def beginnings_of_pairs(
        self, pairs: Sequence[tuple[str, str]], tokens: int
    ) -> list[tuple[str, str]]:
        """Return each pair, with its sides cut to beginnings of more than `tokens` tokens.

        If both are longer, truncation may depend on which is the longer one, so it stays longer.
        """
        sides = list(dict.fromkeys(side for pair in pairs for side in pair))
        begun = dict(zip(sides, self.beginnings(sides, tokens), strict=True))
        count = cache(self._count)
        cut_pairs = []
        for pair in pairs:
            first, second = begun[pair[0]], begun[pair[1]]
            if (first, second) != pair and min(count(first), count(second)) > tokens:
                if count(pair[0]) > count(pair[1]):
                    first = self.beginnings(pair[:1], count(second))[0]
                else:
                    second = self.beginnings(pair[1:], count(first))[0]
            cut_pairs.append((first, second))
        return cut_pairs

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the start and end of each token; a long text is tokenized in pieces."""
        assert self.tokenizer is not None
        offsets: list[tuple[int, int]] = []
        for begin, piece in self._pieces(text):
            spans = piece.offsets
            offsets += [(begin + start, begin + end) for start, end in spans] if begin else spans
        return offsets

    def _count(self, text: str) -> int:
        return sum(_size(piece) for _, piece in self._pieces(text))

    def _pieces(self, text: str) -> Iterator[tuple[int, Encoding]]:
        """Yield the tokens of a text's pieces, each with the offset of its piece."""
        assert self.tokenizer is not None
        begin = 0
        for end in self._piece_ends(text):
            yield begin, self.tokenizer.encode(text[begin:end], add_special_tokens=False)
            begin = end

    def _piece_ends(self, text: str) -> Iterator[int]:
        end = 0
        if len(text) > 2 * PIECE_CHARACTERS and self._reads_pieces_alike:
            space = Boundaries(" ", clauses=False).pattern()
            while len(text) - end > 2 * PIECE_CHARACTERS:
                end = self._next_boundary(space, text, end + PIECE_CHARACTERS)
                yield end
        if end < len(text) or not text:
            yield len(text)

    def _next_boundary(self, pattern: re.Pattern[str], text: str, start: int) -> int:
        """Return the first boundary at or after `start`; the text's end if there is none."""
        for match in pattern.finditer(text, start):
            end = match.start()
            if not self._has_charsmap or self._keeps_apart(text[max(0, end - TAIL) : end + 1]):
                return end
        return len(text)

    def _keeps_apart(self, text: str) -> bool:
        """Return whether a character table keeps the final space and the word before it apart."""
        assert self.tokenizer is not None
        normalize = self.tokenizer.normalizer.normalize_str
        begin = normalize(text[:-1])
        return bool(begin[-1:].strip()) and normalize(text + "a") in (f"{begin} a", f"{begin}\na")

    @cached_property
    def _boundary(self) -> re.Pattern[str] | None:
        if self.tokenizer is None or self.side != "right":
            return None
        known = boundaries(self.tokenizer)
        return known.pattern() if known else None

    @cached_property
    def _has_charsmap(self) -> bool:
        normalizer = self.tokenizer.normalizer if self.tokenizer else None
        return any(part["type"] == CHARSMAP for part in _parts(normalizer))

    @cached_property
    def _reads_pieces_alike(self) -> bool:
        """Whether a piece that begins with a space has the same tokens as within its text."""
        if self.tokenizer is None or not boundaries(self.tokenizer):
            return False
        added = self.tokenizer.get_added_tokens_decoder().values()
        normalizers = {part["type"] for part in _parts(self.tokenizer.normalizer)}
        processors = {part["type"] for part in _parts(self.tokenizer.post_processor)}
        looks_back = any(token.rstrip or token.single_word for token in added)
        return not (looks_back or normalizers & AT_ENDS) and processors <= PROCESSORS


def _size(encoding: Encoding) -> int:
    """Return the number of tokens, whether or not the tokenizer truncates and pads."""
    return sum(sum(part.attention_mask) for part in (encoding, *encoding.overflowing))


def boundaries(tokenizer: Tokenizer) -> Boundaries | None:
    """Return where a tokenizer always splits, whatever follows; None if unknown."""
    model, normalizer = tokenizer.model, tokenizer.normalizer
    if type(model).__name__ not in MODELS or getattr(model, "dropout", None):
        return None
    if not all(map(_is_local, _parts(normalizer))):
        return None
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    if normalizer is not None:
        added += [normalizer.normalize_str(content) for content in added]
    if any(map(ACROSS.search, added)):
        return None
    return _splits(_parts(tokenizer.pre_tokenizer))


def _parts(component: Any) -> list[dict[str, Any]]:
    """Return the settings of a tokenizer component; those of a sequence one by one.

    >>> _parts(None)
    []
    """
    if component is None:
        return []
    try:
        settings = json.loads(component.__getstate__())
    except Exception:  # written in Python; tokenizers raises no specific exception
        return [{"type": "Custom"}]
    return list(_flat(settings))


def _flat(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if part["type"] != "Sequence":
        yield part
        return
    for name in ("normalizers", "pretokenizers", "processors"):
        for inner in part.get(name, ()):
            yield from _flat(inner)


def _is_local(part: dict[str, Any]) -> bool:
    """Return whether a normalizer treats a beginning the same as in the complete text."""
    if part["type"] != "Replace":
        return part["type"] in LOCAL | AT_ENDS | {CHARSMAP}
    if part["pattern"] == MANY_SPACES:
        return True
    literal = part["pattern"].get("String", "")
    return bool(literal) and not re.search(r"[^\W_]|[\s▁。、]", literal)


def _splits(parts: Sequence[dict[str, Any]]) -> Boundaries | None:
    """Return where a sequence of pre-tokenizers splits; None if one may look ahead."""
    spaces, clauses = "", False
    for part in parts:
        if part["type"] in ("ByteLevel", "Metaspace") and part is not parts[-1]:
            # The next parts see other characters instead of spaces.
            return None
        match part["type"]:
            case "BertPreTokenizer" | "Whitespace":
                spaces, clauses = " \n", True
            case "WhitespaceSplit":
                spaces = " \n"
            case "ByteLevel" if part.get("use_regex", True):
                spaces, clauses = spaces or " \n", True
            case "Split" if _is_known(part):
                spaces, clauses = spaces or " ", True
            case "Metaspace" if part.get("split", True):
                spaces = spaces or " "
            case kind if kind not in ("ByteLevel", "Digits", "Metaspace", "Punctuation"):
                return None
    return Boundaries(spaces, clauses) if spaces else None


def _is_known(part: dict[str, Any]) -> bool:
    known = part["pattern"].get("Regex") in PATTERNS
    return known and part["behavior"] == "Isolated" and not part["invert"]
