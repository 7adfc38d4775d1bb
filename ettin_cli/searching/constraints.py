"""Query constraints -> matching rows: required phrases, excluded words, fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ettin_cli.errors import IndexMismatchError, InvalidArgumentError
from ettin_cli.index import Index
from ettin_cli.records import Answer
from ettin_cli.searching.retrievers import BY_MEANING
from ettin_cli.text.lexical import Demands, Terms, parse_query

if TYPE_CHECKING:
    from ettin_cli.index import Rows
    from ettin_cli.records import Flags


# Passages in which a word is looked for as an option, before each search.
MOST_READ = 1000


def demands_of(query: str, index: Index) -> Demands:
    """Return the text and the constraints of a query, as far as the index knows their fields."""
    return parse_query(query, index.has_field, partial(_is_option, index, Terms(index.language)))


def searched_text(query: str, retriever: str, index: Index) -> str:
    """Return the text of a typed query that is searched for, without its constraints."""
    try:
        return query if retriever in BY_MEANING else demands_of(query, index).text
    except IndexMismatchError:
        # An index without terms is only searched by meaning.
        return query


def as_typed(answer: Answer, query: str) -> Answer:
    """Return an answer with its query as it was typed, including its syntax."""
    asked = answer.query
    return replace(answer, query=replace(asked, text=query), searched=asked.text)


def _is_option(index: Index, terms: Terms, word: str) -> bool:
    """Return whether a passage has a word with a single hyphen before it, as options have.

    Of a frequent word, only the first passages are read.
    """
    option = re.compile(rf"(?<![\w-])-{re.escape(word)}(?![\w-])")
    rows = index.lexicon.holding(terms.of(word))[:MOST_READ].tolist()
    return any(option.search(index.passages.contents([row])[0]) for row in rows)


def matching_rows(index: Index, demands: Demands) -> Rows:
    """Return the rows that contain all phrases and fields, and nothing excluded.

    Raises:
        InvalidArgumentError: A constraint contains no words.
        IndexMismatchError: The index has no terms.
    """
    import numpy as np

    terms = Terms(index.language)
    fits = np.ones(len(index.passages), np.bool_)
    for phrase in demands.phrases:
        fits &= _mask(index, _with_phrase(index, terms, phrase))
    for phrase in demands.excluded:
        fits &= ~_mask(index, _with_phrase(index, terms, phrase))
    for name, value in demands.fields:
        fits &= _mask(index, _with_field(index, terms, name, value))
    for name, value in demands.other_fields:
        fits &= ~_mask(index, _with_field(index, terms, name, value))
    return np.flatnonzero(fits).astype(np.int64)


def _with_phrase(index: Index, terms: Terms, phrase: str) -> Rows:
    import numpy as np

    wanted = _words_of(terms, phrase)
    rows = index.lexicon.holding(terms.of(phrase))
    if len(wanted) == 1:
        return rows
    texts = index.passages.term_texts(rows.tolist())
    fits = [_has_phrase(terms, wanted, text) for text in texts]
    return rows[np.array(fits, np.bool_)]


def _with_field(index: Index, terms: Terms, name: str, value: str) -> Rows:
    return index.holding(name, partial(_has_phrase, terms, _words_of(terms, value)))


def _words_of(terms: Terms, phrase: str) -> list[str]:
    wanted = terms.sequence(phrase)
    if not wanted:
        raise InvalidArgumentError(
            f'"{phrase}" has no terms to search for', argument="query", value=phrase
        )
    return wanted


def _has_phrase(terms: Terms, wanted: Sequence[str], text: str) -> bool:
    return follow(terms.sequence(text), wanted)


def follow(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Return whether the words `wanted` occur consecutively in `words`.

    >>> follow(["a", "b", "a", "c"], ["a", "c"])
    True
    """
    first, size = wanted[0], len(wanted)
    return any(
        word == first and list(words[at : at + size]) == list(wanted)
        for at, word in enumerate(words)
    )


def _mask(index: Index, rows: Rows) -> Flags:
    import numpy as np

    mask = np.zeros(len(index.passages), np.bool_)
    mask[rows] = True
    return mask
