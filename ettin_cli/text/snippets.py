"""The lines of a passage that best match a query, and the positions of its words. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ettin_cli.text.lexical.terms import ENGLISH, Terms

LINES = 3
LONG_LINE = 200

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+")
_STOP_WORDS = frozenset(
    """a about all an and are as at be been but by can could did do does for from get gets
    got had has have how i if in into is it its me my no not of on or our should so than
    that the their them then there these they this to was we were what when where which who
    why will with would you your""".split()
)


@dataclass(frozen=True, slots=True)
class Snippet:
    """A few lines of a text.

    Args:
        line: Number of lines of the text before the snippet.
        spans: Start and end of each of the query's words in `text`.
    """

    text: str
    line: int
    spans: list[tuple[int, int]]


def best_lines(text: str, query: str, lines: int = LINES) -> Snippet:
    r"""Return the consecutive lines with most of the query's words; the first lines if none match.

    Long lines, as in tables with one record per line, are split into sentences.

    >>> best_lines("Hello.\nThe ferry sails at nine.\nBye.", "when do ferries sail", lines=1).text
    'The ferry sails at nine.'
    """
    wanted = query_words(query)
    units = _units(text)
    if not units:
        return Snippet("", 0, [])
    weights = [_weights(unit, wanted) for unit, _ in units]
    starts = range(max(1, len(units) - lines + 1))
    best = max(starts, key=lambda start: (_value(weights[start : start + lines]), -start))
    # Skip leading lines without a query word.
    while len(units) > best + lines and not weights[best] and any(weights[best : best + lines]):
        best += 1
    chosen = units[best : best + lines]
    joined = "\n".join(unit for unit, _ in chosen)
    return Snippet(joined, chosen[0][1], spans(joined, wanted))


def query_words(query: str) -> set[str]:
    """Return the terms of a query's words, without stop words."""
    words = _WORD.findall(query)
    telling = [word for word in words if word.casefold() not in _STOP_WORDS] or words
    return {term for word in telling for term in _terms().of_query(word)}


def spans(text: str, wanted: set[str]) -> list[tuple[int, int]]:
    """Return the positions of words that have any of these terms."""
    terms = _terms()
    return [m.span() for m in _WORD.finditer(text) if not wanted.isdisjoint(terms.of(m.group()))]


@cache
def _terms() -> Terms:
    """Return the terms for comparing words, as in BM25 retrieval: readFile contains file."""
    return Terms(ENGLISH)


def _units(text: str) -> list[tuple[str, int]]:
    """Return a text's lines, long ones split into sentences, each with its 0-based line number."""
    units = []
    for number, line in enumerate(text.split("\n")):
        pieces = _SENTENCE.split(line) if len(line) > LONG_LINE else [line]
        units += [(piece.rstrip(), number) for piece in pieces if piece.strip()]
    return units


def _weights(text: str, wanted: set[str]) -> dict[str, float]:
    """Return the query's words in a text with their weights; long words weigh more."""
    matching = wanted.intersection(_terms().of(text))
    return {word: 1 + min(len(word), 10) / 10 for word in matching}


def _value(weights: list[dict[str, float]]) -> float:
    together: dict[str, float] = {}
    for line in weights:
        together |= line
    return sum(together.values())
