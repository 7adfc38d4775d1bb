"""Numbers, times and excerpts as the page writes them; page.js writes the same. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ettin_cli.records import NO_TEXT
from ettin_cli.text import Markup, element, inert, joined

DASH = "\u2013"
ELLIPSIS = "\u2026"
MINUS = "\u2212"
# An excerpt's code points, and how far back its first line or word may begin.
EXCERPT, LEAD = 360, 100
MINUTE, HOUR, DAY = 60, 3600, 86400

_BLANK_LINES = re.compile(r"\n\s*\n")
# A line break within a sentence: after a long line that ends in a word, before another word.
_FLOWING = re.compile(r"(?<=[^\n]{50})(?<![.!?:=~^|+*#_-])\n(?=[^\W_])")


def prose(text: str) -> Markup:
    """Return a document's text, escaped, with its tabs."""
    return Markup("\t".join(joined([piece]) for piece in text.split("\t")))


def counted(amount: int, singular: str, plural: str = "") -> str:
    """Return an amount with its noun.

    >>> counted(1, "query", "queries"), counted(1200, "file")
    ('1 query', '1,200 files')
    """
    return f"{amount:,} {singular if amount == 1 else plural or singular + 's'}"


def score_text(score: float) -> str:
    """Return a score with three decimals and a true minus sign; a dash for a text without words.

    >>> score_text(1.88339), score_text(-0.25)
    ('1.883', '\u22120.250')
    """
    return DASH if score <= NO_TEXT else f"{score:.3f}".replace("-", MINUS)


def percent(probability: float) -> str:
    """Return a probability in percent without decimals, never 0 % or 100 %.

    >>> percent(0.874), percent(0.9999), percent(0.0001)
    ('87 %', '>99 %', '<1 %')
    """
    if probability < 0.005:
        return "<1 %"
    return ">99 %" if probability >= 0.995 else f"{100 * probability:.0f} %"


def duration(seconds: float) -> str:
    """Return a duration in milliseconds, or from one second on in seconds.

    >>> duration(0.0413), duration(5.344)
    ('41 ms', '5.3 s')
    """
    return f"{1000 * seconds:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def age(updated: str, now: datetime) -> str:
    """Return how long ago something was, in words.

    >>> age("2026-03-01T10:00:00+00:00", datetime(2026, 3, 1, 13, 20, tzinfo=UTC))
    '3 hours ago'
    """
    then = moment(updated)
    if then is None:
        return updated
    seconds = (now - then).total_seconds()
    if seconds < MINUTE:
        return "just now"
    if seconds < HOUR:
        return f"{counted(int(seconds // MINUTE), 'minute')} ago"
    if seconds < DAY:
        return f"{counted(int(seconds // HOUR), 'hour')} ago"
    return f"{counted(int(seconds // DAY), 'day')} ago"


def moment(text: str) -> datetime | None:
    """Return the time of an ISO 8601 string; UTC if it names no zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def where(hit: Mapping[str, Any]) -> str:
    """Return `path:12-30` of a hit or document; its id if it has no path.

    >>> where({"path": "a.md", "start_line": 3, "end_line": 3}), where({"doc_id": "7"})
    ('a.md:3', '7')
    """
    path, first, last = hit.get("path"), hit.get("start_line"), hit.get("end_line")
    if not path:
        return str(hit.get("doc_id") or hit.get("id"))
    if not first:
        return str(path)
    return f"{path}:{first}" if last in (None, first) else f"{path}:{first}-{last}"


def excerpt(text: str, highlights: Sequence[tuple[int, int]]) -> Markup:
    """Return the part of a text with most highlights, which are marked.

    >>> excerpt("The ferry sails.", [(4, 9)])
    'The <mark>ferry</mark> sails.'
    """
    text = _FLOWING.sub(" ", text)
    begin, end = _window(text, highlights)
    inside = [(start, stop) for start, stop in highlights if begin <= start and stop <= end]
    before = f"{ELLIPSIS} " if text[:begin].strip() else ""
    after = f" {ELLIPSIS}" if text[end:].strip() else ""
    return joined([before, marked(text, inside, begin, end, dense=True), after])


def marked(
    text: str,
    highlights: Iterable[tuple[int, int]],
    begin: int = 0,
    end: int | None = None,
    *,
    dense: bool = False,
) -> Markup:
    """Return a part of a text with its highlights marked; overlapping ones are left out.

    Args:
        dense: Leave out blank lines.
    """

    def piece(start: int, stop: int) -> Markup:
        return prose(_BLANK_LINES.sub("\n", text[start:stop]) if dense else text[start:stop])

    pieces, at, end = [], begin, len(text) if end is None else end
    for start, stop in highlights:
        if at <= start < stop <= end:
            pieces += [piece(at, start), element("mark", piece(start, stop))]
            at = stop
    return joined([*pieces, piece(at, end)])


def _window(text: str, highlights: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the begin and end of the part of a text to show."""
    begin = len(text) - len(text.lstrip("\n"))
    if len(text) - begin <= EXCERPT:
        return begin, len(text)
    most = 0
    for start, _ in highlights:
        first = _beginning(text, start)
        inside = sum(first <= at and stop <= first + EXCERPT for at, stop in highlights)
        if inside > most:
            begin, most = first, inside
    end = min(begin + EXCERPT, len(text))
    if end < len(text):
        space = max(text.rfind(sign, end - LEAD, end + 1) for sign in " \n")
        end = end if space < 0 else space
    return begin, begin + len(text[begin:end].rstrip(" \n"))


def _beginning(text: str, start: int) -> int:
    """Return where to begin so that a highlight is read in its sentence."""
    line = text.rfind("\n", 0, start) + 1
    if start - line <= LEAD:
        return line
    space = text.find(" ", start - LEAD, start)
    return start if space < 0 else space + 1


def plain(text: str) -> str:
    """Return text on one line, escaped as the page escapes it."""
    return inert(" ".join(text.split()))
