"""Text in the encoding that a message declares, or in the one that is meant by it."""

from __future__ import annotations

import codecs
import re

from ettin_cli.corpus.content import decode, decode_as
from ettin_cli.corpus.encodings import is_utf8
from ettin_cli.corpus.jis import shift_jis
from ettin_cli.storage import UnreadableError

# What mail programs and browsers write and read under these names.
MEANT = {
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
}
_ESCAPED = re.compile(rb"\x1b(\$[@B]|\$\([@BD]|\([BJIH])")
_WORD = r"=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?="
_WORDS = re.compile(rf"{_WORD}(?:[ \t\r\n]*{_WORD})*")
_ONE_WORD = re.compile(_WORD)


def declared_text(content: bytes, charset: str | None) -> str:
    """Return text in its declared encoding, else in the most likely one.

    The usual errors of declarations are mended: windows-1252 declared as iso-8859-1, UTF-8
    declared as a single-byte encoding, and vendor characters in ISO-2022-JP.

    Raises:
        UnreadableError: It is binary, or in no detectable encoding.
    """
    name = _python_name(charset)
    if name is None or name in ("ascii", "utf-8"):
        # Many messages are not in their declared encoding.
        escaped = content.isascii() and _ESCAPED.search(content)
        return _japanese(content) if escaped else decode(content)
    if name.startswith("iso2022_jp"):
        return _japanese(content)
    meant = MEANT.get(name, name)
    if not content.isascii() and is_utf8(content) and not name.startswith("utf"):
        meant = "utf-8"
    return decode_as(meant, content).replace("\0", "\ufffd")


def _python_name(charset: str | None) -> str | None:
    """Return the name of a declared encoding of text as Python has it; None if it is unknown."""
    try:
        name = codecs.lookup((charset or "").strip("\"' ")).name
        "".encode(name)
    except (LookupError, ValueError):
        return None
    return name


def _japanese(content: bytes) -> str:
    """Return ISO-2022-JP with the characters that NEC, IBM and Microsoft have added to it."""
    pieces = _ESCAPED.split(content)
    text = [decode_as("ascii", pieces[0])]
    for escape, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if escape == b"(I":
            text.append(decode_as("cp932", bytes(byte | 0x80 for byte in piece)))
        elif escape == b"$(D":
            pairs = (b"\x8f" + _high(piece[at : at + 2]) for at in range(0, len(piece), 2))
            text.append(decode_as("euc_jp", b"".join(pairs)))
        elif escape.startswith(b"$"):
            text.append(_double_bytes(piece))
        else:
            text.append(decode_as("ascii", piece))
    return "".join(text)


def _high(piece: bytes) -> bytes:
    return bytes(byte | 0x80 for byte in piece)


def _double_bytes(piece: bytes) -> str:
    """Return JIS X 0208 and its vendor rows: the same characters are in windows-932."""
    # A line end within them begins ASCII again.
    lines = piece.split(b"\n")
    made = []
    for number, line in enumerate(lines):
        if number:
            made.append(decode_as("ascii", line))
            continue
        shifted = bytearray()
        for at in range(0, len(line) - 1, 2):
            shifted += shift_jis(line[at], line[at + 1])
        made.append(decode_as("cp932", bytes(shifted) + line[len(line) // 2 * 2 :]))
    return "\n".join(made)


def encoded_words(value: str) -> str:
    """Return a header's value with its encoded words decoded, also malformed ones.

    >>> encoded_words("=?iso-8859-1?q?caf=E9?= =?iso-8859-1?q?_for_=80_2?= <a@b.org>")
    'café for € 2 <a@b.org>'
    """
    return _WORDS.sub(lambda run: _joined(run[0]), value)


def _joined(run: str) -> str:
    """Return adjacent encoded words as text; a character may be split between two of them."""
    made: list[tuple[str, bytes]] = []
    for charset, way, text in _ONE_WORD.findall(run):
        content = _base64(text) if way in "bB" else _quoted(text)
        if made and made[-1][0].lower() == charset.lower():
            made[-1] = (charset, made[-1][1] + content)
        else:
            made.append((charset, content))
    try:
        return "".join(
            declared_text(content, charset.partition("*")[0]) for charset, content in made
        )
    except UnreadableError:
        return run


def _base64(text: str) -> bytes:
    import base64

    bare = re.sub(r"[^A-Za-z0-9+/]", "", text)
    bare = bare[: len(bare) - (len(bare) % 4 == 1)]
    return base64.b64decode(bare + "=" * (-len(bare) % 4))


def _quoted(text: str) -> bytes:
    import quopri

    return quopri.decodestring(text.encode("utf-8", "surrogateescape"), header=True)
