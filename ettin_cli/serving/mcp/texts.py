"""Texts of documents in answers: their ids, their marks as data, and the size of an answer."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote

# An answer has at most 8,000 tokens, estimated at three bytes of UTF-8 each: prose in English has
# four to five bytes a token, code and Chinese about three.
TOKENS, BYTES_A_TOKEN = 8000, 3
BUDGET = TOKENS * BYTES_A_TOKEN
SCHEME = "ettin://"
CUT = "…"
# Characters of a title.
TITLE = 200
# Characters within which a cut text is made to begin with a word.
WORD = 30


def address(index: str, doc_id: str) -> str:
    """Return the URI of a document.

    >>> address("notes", "guide/zoë 1.md")
    'ettin://notes/guide/zo%C3%AB%201.md'
    """
    return f"{SCHEME}{quote(index, safe='')}/{quote(doc_id, safe='/:')}"


def at_address(uri: str) -> tuple[str | None, str]:
    """Return the index and the document of a URI; an id that is none has no index.

    >>> at_address("ettin://notes/guide/zo%C3%AB%201.md"), at_address("guide/install.md")
    (('notes', 'guide/zoë 1.md'), (None, 'guide/install.md'))
    """
    if not uri.startswith(SCHEME):
        return None, uri
    index, _, doc_id = uri.removeprefix(SCHEME).partition("/")
    return unquote(index), unquote(doc_id)


def marked(text: str) -> str:
    r"""Return a text between marks that cannot occur in it, so that it can be told from others.

    >>> marked("The ferry sails at nine.")
    '<document bfe95fe2>\nThe ferry sails at nine.\n</document bfe95fe2>'
    """
    content, salt = text.encode("utf-8", "surrogatepass"), 0
    while (mark := sha256(b"%d " % salt + content).hexdigest()[:8]) in text:
        salt += 1
    return f"<document {mark}>\n{text}\n</document {mark}>"


def excerpt(text: str, limit: int, spans: Sequence[tuple[int, int]] = ()) -> str:
    """Return at most `limit` characters of a text, with most of the spans in it.

    >>> excerpt("Bread is at noon. The ferry sails at nine. Auks nest.", 24, [(22, 27)])
    '… The ferry sails at ni…'
    """
    if len(text) <= limit:
        return text
    begins, room = sorted(begin for begin, _ in spans), max(0, limit - 2 * len(CUT) - 1)
    begin = 0
    if begins and begins[-1] >= room:
        starts = [max(0, one - room // 4) for one in begins]
        inside = [
            bisect_left(begins, start + room) - bisect_right(begins, start - 1) for start in starts
        ]
        begin = starts[inside.index(max(inside))]
    begin = max(0, min(begin, len(text) - room))
    if begin:
        word = text.find(" ", begin - 1, begin + WORD)
        begin = word + 1 if word >= 0 else begin
    end = min(len(text), begin + room)
    before = f"{CUT} " if begin else ""
    return f"{before}{text[begin:end]}{CUT if end < len(text) else ''}"


def size(value: Any) -> int:
    """Return the number of bytes of a value as JSON."""
    return len(dumps(value).encode())


def dumps(value: Any) -> str:
    """Return a value as JSON."""
    import orjson

    return orjson.dumps(value).decode()


def longest(build: Callable[[int], Any], most: int, budget: int = BUDGET) -> tuple[Any, int]:
    """Return what is built with the largest number that keeps it in the budget, and the number.

    Args:
        build: Makes a value that grows with a number, from 0.
        most: The largest number to try.
    """
    whole = build(most)
    if size(whole) <= budget:
        return whole, most
    fits, exceeds = 0, most
    while exceeds - fits > 1:
        middle = (fits + exceeds) // 2
        if size(build(middle)) <= budget:
            fits = middle
        else:
            exceeds = middle
    return build(fits), fits
