"""Escape untrusted text for a terminal."""

import re

# What a terminal would interpret: control codes, line and paragraph separators, and
# bidirectional marks.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def inert(text: str) -> str:
    r"""Return text with everything escaped that a terminal would interpret; line breaks stay.

    >>> inert("\x1b[31mred\u202e")
    '\\x1b[31mred\\u202e'
    """
    shown = _OBEYED.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8").replace("\t", " ")


def inert_line(text: str) -> str:
    r"""Return escaped text on a single line, for example a file name with a line break in it.

    >>> inert_line("new\nline.md")
    'new\\nline.md'
    """
    return inert(text).replace("\n", "\\n")
