"""Text from outside, made harmless for a terminal."""

import re

# What a terminal would obey rather than show: control codes, and marks that turn text around.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def inert(text: str) -> str:
    r"""Return text that a terminal shows and does not obey.

    >>> inert("\x1b[31mred\u202e")
    '\\x1b[31mred\\u202e'
    """
    shown = _OBEYED.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8").replace("\t", " ")
