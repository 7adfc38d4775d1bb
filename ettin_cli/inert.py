"""Text from outside, made harmless for a terminal or a page."""

import re

# What is obeyed rather than shown: control codes, and marks that turn text around.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)


def inert(text: str) -> str:
    r"""Return text that a terminal or a browser shows and does not obey.

    >>> inert("\x1b[31mred\u202e")
    '\\x1b[31mred\\u202e'
    """
    shown = _OBEYED.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8").replace("\t", " ")
