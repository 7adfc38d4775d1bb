"""Text from outside, made harmless for a terminal."""

import re

# What a terminal would obey rather than show: control codes, other ends of a line, and marks that
# turn text around.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def inert(text: str) -> str:
    r"""Return text that a terminal shows and does not obey; its lines stay lines.

    >>> inert("\x1b[31mred\u202e")
    '\\x1b[31mred\\u202e'
    """
    shown = _OBEYED.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8").replace("\t", " ")


def inert_line(text: str) -> str:
    r"""Return inert text on one line, as a file name that holds a line break must be shown.

    >>> inert_line("new\nline.md")
    'new\\nline.md'
    """
    return inert(text).replace("\n", "\\n")
