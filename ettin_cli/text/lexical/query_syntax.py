"""What a QUERY may demand besides its words: "a phrase", -word, field:value."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DEMAND = re.compile(
    r"""
    (?<!\S)
    (?P<minus>-)?
    (?: (?P<field>[^\W\d][\w-]*) : (?! [/:\\] ) (?P<value> "[^"]+" | [^\s"]+ )
      | "(?P<phrase>[^"]+)"
      | (?P<word>(?<=-)[^\W\d_]\S*)
    )
    (?!\S)
    """,
    re.VERBOSE,
)
_QUOTES = str.maketrans("“”„‟", '""""')


@dataclass(frozen=True, slots=True)
class Demands:
    """A query's words, and what every hit must or must not hold.

    Args:
        text: What is left to embed, to look up and to rerank: the words of phrases stay in it.
        phrases: Words that must follow each other.
        excluded: Words or phrases that must not be there.
        fields: Metadata fields, or `title`, with words that must follow each other in them.
        other_fields: The same, with words that must not.
    """

    text: str
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    other_fields: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.phrases or self.excluded or self.fields or self.other_fields)


def parse_query(query: str) -> Demands:
    """Return the demands of a query.

    >>> parse_query('harbour "fire pump" -car lang:en')
    Demands(text='harbour fire pump', phrases=('fire pump',), excluded=('car',), \
fields=(('lang', 'en'),), other_fields=())
    """
    phrases: list[str] = []
    excluded: list[str] = []
    fields: list[tuple[str, str]] = []
    other_fields: list[tuple[str, str]] = []

    def take(found: re.Match[str]) -> str:
        if found["field"]:
            named = other_fields if found["minus"] else fields
            named.append((found["field"], found["value"].strip('"')))
            return ""
        text: str = found["phrase"] or found["word"]
        if found["minus"]:
            excluded.append(text)
            return ""
        phrases.append(text)
        return text

    text = " ".join(_DEMAND.sub(take, query.translate(_QUOTES)).split())
    return Demands(text, tuple(phrases), tuple(excluded), tuple(fields), tuple(other_fields))
