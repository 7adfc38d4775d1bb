"""Query syntax: "a phrase", -word, field:value."""

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
    """A query's text, and constraints that every hit must meet.

    Args:
        text: The text to embed, look up and rerank; includes the words of phrases.
        phrases: Phrases that must occur.
        excluded: Words or phrases that must not occur.
        fields: Metadata fields, or `title`, with a phrase that must occur in each.
        other_fields: Likewise, with a phrase that must not occur.
    """

    text: str
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    other_fields: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.phrases or self.excluded or self.fields or self.other_fields)


def parse_query(query: str) -> Demands:
    """Return the text and the constraints of a query.

    >>> parse_query('harbour "fire pump" -car lang:en')
    Demands(text='harbour fire pump', phrases=('fire pump',), excluded=('car',), \
fields=(('lang', 'en'),), other_fields=())
    """
    phrases: list[str] = []
    excluded: list[str] = []
    fields: list[tuple[str, str]] = []
    other_fields: list[tuple[str, str]] = []

    def take(match: re.Match[str]) -> str:
        if match["field"]:
            named = other_fields if match["minus"] else fields
            named.append((match["field"], match["value"].strip('"')))
            return ""
        text: str = match["phrase"] or match["word"]
        if match["minus"]:
            excluded.append(text)
            return ""
        phrases.append(text)
        return text

    text = " ".join(_DEMAND.sub(take, query.translate(_QUOTES)).split())
    return Demands(text, tuple(phrases), tuple(excluded), tuple(fields), tuple(other_fields))
