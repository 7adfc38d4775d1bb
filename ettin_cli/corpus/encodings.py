"""The encoding of a text: from its byte order mark, from its form, or guessed."""

from __future__ import annotations

import codecs
import math
import re

from ettin_cli.corpus.letters import LATIN, PLAUSIBLE, PRIORS, likely_encoding

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NEVER_UNMARKED = ["utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "utf_7"]
# A share of non-ASCII bytes below that of any language except English.
FEW = 0.01
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
    """Return whether half of the non-ASCII characters are UTF-8, as in no other encoding."""
    valid = content.decode("utf-8", "ignore")
    broken = content.decode("utf-8", "replace").count("\ufffd") - valid.count("\ufffd")
    return broken <= sum(not character.isascii() for character in valid)


def guessed_encoding(content: bytes) -> str | None:
    """Return the most likely encoding of text that is not UTF-8; None if it is not text.

    charset-normalizer tells text from other content, and multi-byte encodings. Single-byte
    encodings, which it confuses in short texts, are told apart by the letters of many languages.
    """
    import charset_normalizer

    runs = _NOT_ASCII.findall(content)
    count = sum(map(len, runs))
    declared = _DECLARED.search(content, 0, DECLARED_WITHIN)
    # Isolated non-ASCII bytes among ASCII indicate a Latin alphabet.
    if count <= 2 * len(runs) and not declared and (latin := _latin(content, count)):
        return latin
    best = charset_normalizer.from_bytes(content, cp_exclusion=NEVER_UNMARKED).best()
    if declared:
        return best.encoding if best else None
    single = best is not None and best.encoding in PRIORS
    likely = likely_encoding(content, tuple(PRIORS), -math.inf if single else PLAUSIBLE)
    return likely or (best.encoding if best else None)


def _latin(content: bytes, count: int) -> str | None:
    """Return the most likely encoding of a Latin alphabet; None if it is not such text."""
    import charset_normalizer

    known = charset_normalizer.from_bytes(content, cp_isolation=list(LATIN)).best() is not None
    if known or count < FEW * len(content) or len(content) < SHORT:
        return likely_encoding(content, LATIN)
    return None
