"""The most likely single-byte encoding of a text, by the letters of many languages.

A text in a candidate encoding is scored as the text of each language: by the frequencies of its
pairs of letters, with a small prior for the more common encodings. Short texts have few letters
beyond ASCII, so their ASCII letters count too: they show the language.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files as package_files

LETTER_PAIRS = "letter_pairs.json"
CLASSES, RAREST_BITS = 15, 18.5
# Natural logarithms of how much less likely an encoding is than windows-1252.
PRIORS = {
    "cp1252": 0.0,
    "cp1250": 1.5,
    "iso8859_2": 3.0,
    "cp1254": 4.0,
    "cp1257": 4.5,
    "cp1251": 1.5,
    "koi8_r": 3.0,
    "iso8859_5": 4.0,
    "cp866": 4.0,
    "cp1253": 2.0,
    "iso8859_7": 3.0,
    "cp1255": 2.0,
    "cp1256": 2.0,
}
LATIN = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257")
WORDS, WORD_BYTES = 60, 100
# The mean log-likelihood of a letter in text; in bytes of another kind it is lower.
PLAUSIBLE = -3.4
REMEMBERED = 10_000
# Shares of the frequency in pairs, of that as a single letter, and of that in any language.
IN_PAIR, ALONE, ANYWHERE = 0.88, 0.1, 0.02
# Natural logarithm of how unlikely a capital letter after a small one is.
MIXED_CASE = 4.0
_WESTERN = frozenset("àáâãäåæçèéêëìíîïñòóôõöøùúûüß")
_SIGNS = frozenset("“”‘’„–—…«»‹›•°€£§©®™·¿¡½¼¾\xa0ªº²³´")


def likely_encoding(
    content: bytes, candidates: Sequence[str], at_least: float = -math.inf
) -> str | None:
    """Return the most likely of some single-byte encodings; None if none is likely enough.

    A byte without a meaning counts against an encoding, but does not exclude it.

    Args:
        at_least: Return None if the mean log-likelihood of a letter is lower.

    >>> likely_encoding("Perché la città è così?".encode("cp1252"), LATIN)
    'cp1252'
    >>> likely_encoding("Są rozumem i sumieniem obdarzeni".encode("cp1250"), LATIN)
    'cp1250'
    """
    sample = _sample(content)
    best, encoding, mean = -math.inf, None, 0.0
    for candidate in candidates:
        pairs, mixed = _pairs(sample.decode(candidate, "replace"))
        likelihood = _likelihood(pairs)
        score = likelihood - MIXED_CASE * mixed - PRIORS[candidate]
        if score > best:
            best, encoding, mean = score, candidate, likelihood / max(1, pairs.total())
    return encoding if mean >= at_least else None


def _sample(content: bytes) -> bytes:
    """Return the first words with bytes beyond ASCII, and their neighbours."""
    words = content[: 1 << 20].split()
    if len(words) <= WORDS:
        return b" ".join(word[:WORD_BYTES] for word in words)
    places = [at for at, word in enumerate(words) if not word.isascii()][:WORDS]
    kept = {near for at in places for near in (at - 1, at, at + 1) if 0 <= near < len(words)}
    return b" ".join(words[at][:WORD_BYTES] for at in sorted(kept))


def _likelihood(pairs: Counter[str]) -> float:
    """Return the log-likelihood of a text in the language in which it is most likely."""
    return max(
        sum(count * language.likelihood(pair) for pair, count in pairs.items())
        for language in _languages()
    )


def _pairs(text: str) -> tuple[Counter[str], int]:
    """Return a text's pairs of letters, and how often a word has a capital after a small letter."""
    pairs: Counter[str] = Counter()
    mixed = 0
    before, small = " ", False
    for character in text:
        letter = character.isalpha()
        now = character.lower()[0] if letter else " " if character.isascii() else character
        mixed += small and letter and not character.isascii() and now != character
        small = letter and now == character
        if now != " " or before != " ":
            pairs[before + now] += 1
        before = now if letter else " "
    return pairs, mixed


class _Language:
    """The frequencies of a language's pairs of letters."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.pairs = {
            joined[at : at + 2]: 2.0 ** -(number + 3)
            for number, joined in enumerate(classes, start=1)
            for at in range(0, len(joined), 2)
        }
        self.firsts: dict[str, float] = {}
        self.letters: dict[str, float] = {}
        for pair, frequency in self.pairs.items():
            self.firsts[pair[0]] = self.firsts.get(pair[0], 0) + frequency
            self.letters[pair[1]] = self.letters.get(pair[1], 0) + frequency
        self.total = sum(self.letters.values())
        self.known: dict[str, float] = {}

    def likelihood(self, pair: str) -> float:
        """Return the log-likelihood of the second letter of a pair after the first."""
        if pair not in self.known:
            if len(self.known) >= REMEMBERED:
                self.known.clear()
            first = self.firsts.get(pair[0])
            in_pair = self.pairs.get(pair, 0.0) / first if first else 0.0
            alone = self.letters.get(pair[1], 0.0) / self.total
            anywhere = _anywhere(pair[1])
            self.known[pair] = math.log(IN_PAIR * in_pair + ALONE * alone + ANYWHERE * anywhere)
        return self.known[pair]


def _anywhere(character: str) -> float:
    """Return about how frequent a character is in texts of any language."""
    if character.isascii():
        return 0.02
    if character in _SIGNS:
        return 0.003
    if character in _WESTERN:
        return 0.01
    if character.isalpha():
        return 0.0003
    return 1e-8 if unicodedata.category(character).startswith("C") else 1e-4


@cache
def _languages() -> list[_Language]:
    import orjson

    content = (package_files("ettin_cli") / "data" / LETTER_PAIRS).read_bytes()
    return [_Language(classes) for classes in orjson.loads(content).values()]
