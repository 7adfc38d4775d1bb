"""The encoding of a text: from its byte order mark, from its form, or guessed."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WESTERN = "cp1252"
LATIN = [WESTERN, "cp1250", "iso8859_2", "cp1254"]
NEVER_UNMARKED = ["utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "utf_7"]
# Shares of non-ASCII bytes: FEW is below that of any language except English, MANY above that of
# German, French or Swedish.
FEW, MANY = 0.01, 0.06
ALIKE = 0.05
SHORT = 32
DECLARED_WITHIN = 4096

_DECLARED = re.compile(rb"(?:encoding|charset|coding)[:= ]{1,10}[\"']?[\w-]", re.IGNORECASE)
_NOT_ASCII = re.compile(rb"[\x80-\xff]+")


def marked_encoding(content: bytes) -> str | None:
    """Return the encoding of the byte order mark, or None if there is no mark."""
    return next((encoding for mark, encoding in BOMS if content.startswith(mark)), None)


def is_utf8(content: bytes, *, cut: bool = False) -> bool:
    """Return whether bytes are UTF-8; with `cut`, the last character may be incomplete."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def nearly_utf8(content: bytes) -> bool:
    """Return whether most non-ASCII bytes are valid UTF-8, as in no other encoding."""
    text = content.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    return broken < sum(not character.isascii() for character in text) - broken


def guessed_encoding(content: bytes) -> str | None:
    """Return the most likely encoding of text that is not UTF-8; None if it is not text.

    Isolated non-ASCII bytes among ASCII indicate a Latin alphabet, and a small share of them a
    Western one. That also works for texts too short for charset-normalizer.
    """
    import charset_normalizer

    runs = _NOT_ASCII.findall(content)
    count = sum(map(len, runs))
    if count <= 2 * len(runs) and not _DECLARED.search(content, 0, DECLARED_WITHIN):
        latin = _latin(content, count / len(content))
        if latin:
            return latin
    best = charset_normalizer.from_bytes(content, cp_exclusion=NEVER_UNMARKED).best()
    return best.encoding if best else None


def _latin(content: bytes, share: float) -> str | None:
    import charset_normalizer

    matches = charset_normalizer.from_bytes(content, cp_isolation=LATIN)
    best = matches.best()
    if best is None:
        return WESTERN if share < FEW or len(content) < SHORT else None
    western = next((match for match in matches if WESTERN in match.could_be_from_charset), None)
    return WESTERN if western and _is_western(share, western, best) else best.encoding


def _is_western(share: float, western: CharsetMatch, best: CharsetMatch) -> bool:
    """Return whether text is Western, given its match as Western and its best match."""
    alike = western.coherence >= best.coherence - ALIKE
    return share < FEW or not best.coherence or (share < MANY and alike)
