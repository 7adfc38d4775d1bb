"""Compressed RTF, in which Outlook stores bodies ([MS-OXRTFCP]) -> RTF."""

from __future__ import annotations

from ettin_cli.settings import MAX_MARKUP_BYTES, MIB
from ettin_cli.storage import UnreadableError

COMPRESSED, PLAIN = b"LZFu", b"MELA"
HEADER, WINDOW = 16, 4096
# What the window holds at the start.
KNOWN = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript "
    rb"\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)


def decompressed(content: bytes) -> tuple[bytes, bool]:
    """Return the RTF, and whether it is complete: a damaged end costs what follows.

    Raises:
        UnreadableError: It is not compressed RTF, or too large.
    """
    kind = content[8:12]
    if kind == PLAIN:
        return content[HEADER:], True
    if kind != COMPRESSED:
        raise UnreadableError("not compressed RTF")
    made = bytearray(KNOWN)
    at = HEADER
    while at < len(content):
        control = content[at]
        at += 1
        for bit in range(8):
            if not control >> bit & 1:
                made += content[at : at + 1]
                at += 1
                continue
            reference = int.from_bytes(content[at : at + 2], "big")
            at += 2
            # How far back the copy begins; 0 marks the end.
            back = (len(made) - (reference >> 4)) % WINDOW
            if not back or at > len(content) or back > len(made):
                return bytes(made[len(KNOWN) :]), not back and at <= len(content)
            length = (reference & 15) + 2
            piece = made[-back:][:length]
            made += (piece * (length // len(piece) + 1))[:length]
        if len(made) > MAX_MARKUP_BYTES:
            raise UnreadableError(f"more than {MAX_MARKUP_BYTES // MIB} MiB of RTF")
    return bytes(made[len(KNOWN) :]), False
