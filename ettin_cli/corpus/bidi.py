"""The logical order of right-to-left text, from the order in which it is shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff]")
_OPENING = {")": "(", "]": "[", "}": "{", "»": "«", "(": "(", "[": "[", "{": "{", "«": "«"}
_CLOSING = {"(": ")", "[": "]", "{": "}", "«": "»"}
_ENDS = frozenset(".,;:!?،؛؟")


def right_to_left_share(text: str) -> float:
    """Return the share of right-to-left letters among the letters of a text."""
    right = len(RIGHT_TO_LEFT.findall(text))
    left = sum(_direction(char) == "L" for char in text)
    return right / (right + left) if right + left else 0.0


def logical(shown: Sequence[str], rtl: bool) -> str:
    """Return a line in logical order from what is shown from left to right.

    Args:
        shown: Characters from left to right; those drawn as one are one string.
        rtl: Whether the line as a whole runs from right to left.

    >>> logical("15 ףיעס", True), logical("word םולש, word", False)
    ('סעיף 15', 'word שלום, word')
    """
    kinds = [_kind(text) for text in shown]
    if rtl:
        return _from_right(shown, kinds)
    out: list[str] = []
    at = 0
    while at < len(shown):
        if kinds[at] != "R":
            out.append(shown[at])
            at += 1
            continue
        last = at
        for ahead in range(at, len(shown)):
            if kinds[ahead] == "L":
                break
            if kinds[ahead] == "R":
                last = ahead
        out.append(_from_right(shown[at : last + 1], kinds[at : last + 1]))
        at = last + 1
    return "".join(out)


def _from_right(shown: Sequence[str], kinds: Sequence[str]) -> str:
    """Return text read from the right, but for numbers and words that run from left to right."""
    forward = [kind in "LN" for kind in kinds]
    before: list[int] = []
    last = -1
    for at, kind in enumerate(kinds):
        before.append(last)
        last = at if kind in "LNR" else last
    after = len(shown)
    arabic = any("\u0600" <= char <= "\u08ff" for text in shown for char in text)
    for at in range(len(shown) - 1, -1, -1):
        if kinds[at] in "LNR":
            after = at
            continue
        first = before[at]
        if first < 0 or after == len(shown):
            continue
        around = kinds[first] + kinds[after]
        if around == "NN":
            # A single separator belongs to the number; a minus does not in Arabic.
            close = after - first == 2
            forward[at] = close and shown[at] in (".,:/" if arabic else ".,:/-+")
        else:
            forward[at] = "R" not in around
    out: list[str] = []
    end = len(shown)
    while end:
        start = end - 1
        while forward[end - 1] and start and forward[start - 1]:
            start -= 1
        out.extend(shown[start:end])
        end = start
    return "".join(out)


@cache
def _kind(text: str) -> str:
    """Return L, R, N for a number, or "-" for what has no direction."""
    for char in text:
        if (kind := _direction(char)) != "-":
            return kind
    return "-"


@cache
def _direction(char: str) -> str:
    kinds = {"L": "L", "R": "R", "AL": "R", "EN": "N", "AN": "N"}
    return kinds.get(unicodedata.bidirectional(char), "-")


def with_brackets(text: str) -> str:
    """Return a line with each bracket opening or closing as its neighbours need it.

    PDFs have brackets of right-to-left text as they look or as they are meant.

    >>> with_brackets("15)ב()4( )או 3( [x]")
    '15(ב)(4) (או 3) [x]'
    """
    out = list(text)
    depth = 0
    for at, char in enumerate(text):
        if char not in _OPENING:
            continue
        opening = _OPENING[char]
        previous = text[at - 1] if at else " "
        following = text[at + 1] if at + 1 < len(text) else " "
        begins = previous == " " and following != " " and following not in _ENDS
        ends = previous != " " and (following == " " or following in _ENDS)
        opens = begins or (not ends and depth == 0)
        depth = depth + 1 if opens else max(0, depth - 1)
        out[at] = opening if opens else _CLOSING[opening]
    return "".join(out)


def glyph_text(characters: Sequence[tuple[str, float]]) -> str:
    r"""Return the characters of one glyph in logical order.

    Args:
        characters: Each character with the left edge of its part of the glyph, in any order.

    >>> glyph_text([("\u0627", 5.0), ("\u0644", 5.0)]) == "\u0644\u0627"
    True
    """
    letters = [pair for pair in characters if not unicodedata.combining(pair[0])]
    marks = [char for char, _ in characters if unicodedata.combining(char)]
    marks.sort(key=unicodedata.combining)
    if len(letters) == 2:
        letters = [pair for pair in letters if not pair[0].isspace()]
    if len({left for _, left in letters}) > 1:
        letters.sort(key=lambda pair: -pair[1])
        text = "".join(char for char, _ in letters)
    else:
        # PDFium reverses them with the line.
        listed = "".join(char for char, _ in letters)
        text = listed if listed in _ligatures() else listed[::-1]
    return text + "".join(marks)


@cache
def _ligatures() -> frozenset[str]:
    """Return the letters of the ligatures that Unicode has for Arabic and Hebrew."""
    codes = (*range(0xFB1D, 0xFDFE), *range(0xFE70, 0xFEFD))
    texts = (unicodedata.normalize("NFKC", chr(code)) for code in codes)
    return frozenset({text for text in texts if len(text) > 1} | {"لله"})
