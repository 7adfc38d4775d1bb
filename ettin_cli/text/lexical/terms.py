"""Text -> terms: stems of words, parts of identifiers and compounds, and pairs of characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import chain
from typing import TypeVar

from ettin_cli.errors import InvalidArgumentError

# Increase when a text gives different terms than before, so that no index mixes the two.
VERSION = 2
ENGLISH = "english"
# The Snowball stemmers, without variants of the same language.
LANGUAGES = (
    *("arabic", "armenian", "basque", "catalan", "czech", "danish", "dutch", "english"),
    *("esperanto", "estonian", "finnish", "french", "german", "greek", "hindi", "hungarian"),
    *("indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "persian"),
    *("polish", "portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil"),
    *("turkish", "yiddish", "none"),
)
# Words that do not indicate the topic of an English text.
STOP_WORDS = frozenset(
    "a an and are as at be but by for from had has have how i if in into is it its me my no not of "
    "on or our s she so such t than that the their them then there these they this to us was we "
    "were what when where which who why will with you your".split()
)
# Words of these scripts are not told apart by spaces, or carry particles, as in Korean. Chinese,
# Japanese and Korean give pairs of characters; alphabets, as that of Thai, give triples.
_PAIRED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"
_TRIPLED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_UNSPACED = _PAIRED + _HANGUL + _TRIPLED
# Vowel signs of Indic scripts do not match \w, although they belong to the word.
_WORD = re.compile(
    rf"[{_PAIRED}]{{1,128}}|[{_HANGUL}]{{1,128}}|[{_TRIPLED}]{{1,128}}|[^\W{_UNSPACED}\u0900-\u0dff]{{1,128}}|[\u0900-\u0dff]+"
)
_UNSPACED_WORD = re.compile(rf"[{_UNSPACED}]")
_TRIPLED_WORD = re.compile(rf"[{_TRIPLED}]")
_PARTS = re.compile(
    r"_+|(?<=[a-z\xdf-\xf6\xf8-\xff])(?=[A-Z])|(?<=\d)(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
)
# Stress marks, vowel points and joiners, which are optional in writing, and soft hyphens.
_UNSEEN = re.compile(
    "[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f"
    "\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u200d\u2060\ufeff]+"
)
_ACCENTS = re.compile(r"([A-Za-z])[\u0300-\u036f]+")
T = TypeVar("T")

MOST_PARTS = 16
# Languages whose compounds are found by their first and last parts.
COMPOUNDING = ("german",)
# Letters of a part of a compound, and of what remains of it.
PART, REST = 4, 3
# Before a term that is part of a word rather than a word.
WITHIN = "+"
MOST_REMEMBERED = 300_000


class Terms:
    """Turns texts into terms, the same way for passages and for queries.

    A word is lower-cased, stemmed with Snowball (Porter, 1980, 2001), and stripped of Latin
    accents. An identifier such as readFile or read_file gives its parts and the complete name, so
    that both spellings match. Chinese, Japanese and Korean give pairs of characters, which Lucene's
    CJKAnalyzer does too, and single characters; Thai and similar scripts give triples and pairs. In
    German, a text also gives the beginnings and ends of long words, and a query looks its words up
    among them. Stop words are removed from queries, not from texts.

    Args:
        language: One of LANGUAGES; `none` disables stemming.

    Raises:
        InvalidArgumentError: There is no stemmer for the language.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._stem = _stemmer(language)
        self._stop = STOP_WORDS if language == ENGLISH else frozenset()
        self._compounds = language in COMPOUNDING
        self._of_word = Remembered(self.of_word)
        self._of_query_word = Remembered(self.of_query_word)

    @property
    def made_by(self) -> str:
        """The settings and versions that determine the terms of a text."""
        if self.language == "none":
            return f"{self.language}, {VERSION}"
        import Stemmer

        return f"{self.language}, {VERSION}, PyStemmer {Stemmer.version()}"

    def of(self, text: str) -> list[str]:
        """Return the terms of a text, in order."""
        return list(chain.from_iterable(map(self._of_word.__getitem__, words(text))))

    def of_query(self, text: str) -> list[str]:
        """Return the terms of a query, without stop words unless it has only stop words."""
        all_words = words(text)
        telling = [word for word in all_words if word.lower() not in self._stop]
        return list(chain.from_iterable(map(self._of_query_word.__getitem__, telling or all_words)))

    def sequence(self, text: str) -> list[str]:
        """Return one term per word of a text, in order, for comparing phrases.

        An identifier is one word; a run of a script without spaces gives its characters.
        """
        sequence: list[str] = []
        for word in words(text):
            if _UNSPACED_WORD.match(word):
                sequence += word
            elif parts := _parts(word):
                sequence.append(self._folded("".join(parts)))
        return sequence

    def of_word(self, word: str) -> tuple[str, ...]:
        """Return the terms of a single word of a text."""
        if _UNSPACED_WORD.match(word):
            return (*_grams(word, _size(word)), *_grams(word, _size(word) - 1)) or (word,)
        stems = self._stems(word)
        if self._compounds:
            stems += [WITHIN + part for stem in stems for part in _ends(stem)]
        return tuple(stems)

    def of_query_word(self, word: str) -> tuple[str, ...]:
        """Return the terms of a single word of a query, all of which its texts have."""
        if _UNSPACED_WORD.match(word):
            size = _size(word)
            return _grams(word, size) or _grams(word, size - 1) or (word,)
        stems = self._stems(word)
        if self._compounds:
            # The word in compounds, and the words of a compound on their own.
            within = [WITHIN + stem for stem in stems if len(stem) >= PART]
            stems += within + [part for stem in stems for part in _ends(stem)]
        return tuple(stems)

    def _stems(self, word: str) -> list[str]:
        parts = _parts(word)
        if len(parts) > 1:
            parts = [*(parts if len(parts) <= MOST_PARTS else ()), "".join(parts)]
        return [self._folded(part) for part in parts]

    def _folded(self, word: str) -> str:
        # Both spellings have the same stem.
        stem = self._stem(word.lower().replace("ß", "ss"))
        if stem.isascii():
            return stem
        return unicodedata.normalize(
            "NFC", _ACCENTS.sub(r"\1", unicodedata.normalize("NFD", stem.casefold()))
        )


def _parts(word: str) -> list[str]:
    """Return the parts of an identifier, or the word."""
    return [part for part in _PARTS.split(word) if part]


def _size(word: str) -> int:
    """Return the number of characters that mean about a word in its script."""
    return 3 if _TRIPLED_WORD.match(word) else 2


def _grams(word: str, size: int) -> tuple[str, ...]:
    return tuple(word[at : at + size] for at in range(len(word) - size + 1))


def _ends(stem: str) -> list[str]:
    """Return the beginnings and ends of a stem that may be words of a compound.

    >>> _ends("wasserpump")
    ['wass', 'wasse', 'wasser', 'wasserp', 'serpump', 'erpump', 'rpump', 'pump']
    """
    if not stem.isalpha():
        return []
    cuts = range(PART, len(stem) - REST + 1)
    return [stem[:at] for at in cuts] + [stem[at:] for at in range(REST, len(stem) - PART + 1)]


def words(text: str) -> list[str]:
    """Return the words of a text as written, after NFKC and without optional marks.

    >>> words("fine: readFile(2)")
    ['fine', 'readFile', '2']
    """
    if not text.isascii():
        text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return _WORD.findall(text)


class Remembered(dict[str, T]):
    """A cache of a function of words; cleared when it is full.

    Runs of scripts without spaces are long and rarely repeat, so they are not cached.
    """

    def __init__(self, function: Callable[[str], T]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, word: str) -> T:
        value = self._function(word)
        if not _UNSPACED_WORD.match(word):
            if len(self) >= MOST_REMEMBERED:
                self.clear()
            self[word] = value
        return value


def require_language(language: str) -> None:
    """Check that there is a stemmer for a language.

    Raises:
        InvalidArgumentError: The language is unknown.
    """
    if language not in LANGUAGES:
        raise InvalidArgumentError(
            f"unsupported language {language!r}",
            argument="language",
            value=language,
            choices=tuple(LANGUAGES),
        )


def _stemmer(language: str) -> Callable[[str], str]:
    require_language(language)
    if language == "none":
        return str
    import Stemmer

    stem: Callable[[str], str] = Stemmer.Stemmer(language).stemWord
    return stem
