"""ISO-2022-JP, with the characters that vendors added to it."""

from __future__ import annotations

import re

_SHIFTS = re.compile(rb"\x1b(\$[@B]|\([BJI])")
TWO_BYTES = (b"$@", b"$B")
KATAKANA = b"(I"


def decoded_jis(content: bytes) -> str | None:
    r"""Return the text of ISO-2022-JP; None if the bytes are something else.

    >>> decoded_jis(b"A \x1b$BF|K\\-!\x1b(B b")
    'A 日本① b'
    """
    if b"\x1b$" not in content or not content.isascii():
        return None
    pieces = _SHIFTS.split(content)
    text = [pieces[0].decode("ascii")]
    for shift, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if shift in TWO_BYTES:
            text.append(_two_bytes(piece))
        elif shift == KATAKANA:
            text.append(bytes(byte | 0x80 for byte in piece).decode("cp932", "replace"))
        else:
            text.append(piece.decode("ascii"))
    made = "".join(text)
    return None if "\x1b" in made or made.count("\ufffd") * 10 > len(made) else made


def _two_bytes(piece: bytes) -> str:
    """Return pairs of 7-bit bytes as text; line ends may stand between them."""
    made = bytearray()
    at = 0
    while at < len(piece):
        first, second = piece[at], piece[at + 1] if at + 1 < len(piece) else 0
        if first < 0x21 or not 0x21 <= second <= 0x7E:
            made.append(first)
            at += 1
            continue
        made += shift_jis(first, second)
        at += 2
    return made.decode("cp932", "replace")


def shift_jis(first: int, second: int) -> bytes:
    """Return a pair of 7-bit bytes as in Shift JIS, of which cp932 knows the vendors' rows.

    >>> shift_jis(0x2D, 0x21).decode("cp932")
    '①'
    """
    lead = (first + 1) // 2 + (0x70 if first < 0x5F else 0xB0)
    trail = second + (0x1F if second < 0x60 else 0x20) if first % 2 else second + 0x7E
    return bytes([lead & 0xFF, trail & 0xFF])
