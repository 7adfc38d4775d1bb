"""Text -> terms: words without case, accent and ending, and identifiers with their parts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import chain, pairwise
from typing import TypeVar

from ettin_cli.errors import InvalidArgumentError

# To be raised when a text gives other terms than before, so that no index keeps some of both.
VERSION = 1
ENGLISH = "english"
# The Snowball stemmers that are no second form of another.
LANGUAGES = (
    *("arabic", "armenian", "basque", "catalan", "czech", "danish", "dutch", "english"),
    *("esperanto", "estonian", "finnish", "french", "german", "greek", "hindi", "hungarian"),
    *("indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "persian"),
    *("polish", "portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil"),
    *("turkish", "yiddish", "none"),
)
# Those that say nothing about what an English text is about.
STOP_WORDS = frozenset(
    "a an and are as at be but by for from had has have how i if in into is it its me my no not of "
    "on or our s she so such t than that the their them then there these they this to us was we "
    "were what when where which who why will with you your".split()
)
# Scripts that put no space between words are cut into pairs of characters instead.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# Signs of Indic scripts are no letters to Python, and yet part of the word.
_WORD = re.compile(
    rf"[{_UNSPACED}]{{1,128}}|[^\W{_UNSPACED}\u0900-\u0dff]{{1,128}}|[\u0900-\u0dff]+"
)
_UNSPACED_WORD = re.compile(rf"[{_UNSPACED}]")
_PARTS = re.compile(
    r"_+|(?<=[a-z\xdf-\xf6\xf8-\xff])(?=[A-Z])|(?<=\d)(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
)
# Stress, vowel points and joiners, which a text may have or not, and soft hyphens.
_UNSEEN = re.compile(
    "[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f"
    "\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u200d\u2060\ufeff]+"
)
_ACCENTS = re.compile(r"([A-Za-z])[\u0300-\u036f]+")
T = TypeVar("T")

MOST_PARTS = 16
MOST_REMEMBERED = 300_000


class Terms:
    """Turns texts into terms, the same way for passages and for queries.

    A word is folded to lower case, its ending removed by a Snowball stemmer (Porter, 1980, 2001),
    its Latin accents dropped. An identifier such as readFile or read_file gives its parts and the
    whole, so that both find each other. Runs of Chinese, Japanese, Thai and the like give pairs of
    characters. Nothing is left out of a text; a query's stop words are.

    Args:
        language: One of LANGUAGES; `none` keeps the endings.

    Raises:
        InvalidArgumentError: There is no stemmer for it.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._stem = _stemmer(language)
        self._stop = STOP_WORDS if language == ENGLISH else frozenset()
        self._of_word = Remembered(self.of_word)

    @property
    def made_by(self) -> str:
        """What decides which terms a text gives."""
        if self.language == "none":
            return f"{self.language}, {VERSION}"
        import Stemmer

        return f"{self.language}, {VERSION}, PyStemmer {Stemmer.version()}"

    def of(self, text: str) -> list[str]:
        """Return the terms of a text, in order."""
        return list(chain.from_iterable(map(self._of_word.__getitem__, words(text))))

    def of_query(self, text: str) -> list[str]:
        """Return the terms of a query, without stop words unless there is nothing else."""
        found = words(text)
        telling = [word for word in found if word.lower() not in self._stop]
        return list(chain.from_iterable(map(self._of_word.__getitem__, telling or found)))

    def sequence(self, text: str) -> list[str]:
        """Return one term a word of a text, in order, as phrases are compared by.

        An identifier is one word; a run of a script without spaces is its pairs.
        """
        found: list[str] = []
        for word in words(text):
            terms = self._of_word[word]
            found += terms if _UNSPACED_WORD.match(word) else terms[-1:]
        return found

    def of_word(self, word: str) -> tuple[str, ...]:
        """Return the terms of one of the words of a text."""
        if _UNSPACED_WORD.match(word):
            return tuple(map("".join, pairwise(word))) or (word,)
        parts = [part for part in _PARTS.split(word) if part]
        if len(parts) > 1:
            parts = [*(parts if len(parts) <= MOST_PARTS else ()), "".join(parts)]
        return tuple(self._folded(part) for part in parts)

    def _folded(self, word: str) -> str:
        stem = self._stem(word.lower())
        if stem.isascii():
            return stem
        return unicodedata.normalize(
            "NFC", _ACCENTS.sub(r"\1", unicodedata.normalize("NFD", stem.casefold()))
        )


def words(text: str) -> list[str]:
    """Return the words of a text, as they are written but for forms that mean the same.

    >>> words("fine: readFile(2)")
    ['fine', 'readFile', '2']
    """
    if not text.isascii():
        text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return _WORD.findall(text)


class Remembered(dict[str, T]):
    """What a function makes of each word; forgotten when there are too many.

    Runs of a script without spaces hardly ever come twice and are long, so they are not kept.
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
    """Make sure that there is a stemmer for a language.

    Raises:
        InvalidArgumentError: There is none.
    """
    if language not in LANGUAGES:
        raise InvalidArgumentError(
            f"there is no stemmer for {language!r}",
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
