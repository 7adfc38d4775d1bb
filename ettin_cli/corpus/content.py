"""Bytes -> text, with a clear reason where that fails."""

from __future__ import annotations

import codecs
from pathlib import Path

from ettin_cli.storage import UnreadableError, opened

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MAX_TEXT_BYTES = 1 << 30
COMMONEST = "cp1252"


def read_text(path: Path) -> str:
    r"""Return a text file's content with "\n" line ends.

    Decoded by its byte order mark, else as UTF-8, else by what charset-normalizer makes of it.

    Raises:
        UnreadableError: It is binary, in no known encoding, or larger than 1 GiB unpacked.
    """
    with opened(path) as file:
        content = file.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise UnreadableError("larger than 1 GiB of text")
    return decode(content)


def decode(content: bytes) -> str:
    r"""Return text with "\n" line ends.

    Raises:
        UnreadableError: It is binary or in no known encoding.
    """
    text = _decoded(content)
    if "\0" in text:
        raise UnreadableError("binary content")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(content: bytes) -> str:
    for mark, encoding in BOMS:
        if content.startswith(mark):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError as error:
                raise UnreadableError(f"not the {encoding} that it says it is") from error
    if b"\0" in content:
        raise UnreadableError("binary content")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return _guessed(content)


def _guessed(content: bytes) -> str:
    import charset_normalizer

    matches = charset_normalizer.from_bytes(content)
    best = matches.best()
    if best is None:
        raise UnreadableError("in no encoding that can be told")
    # Short texts fit many encodings alike; the commonest wins where no other reads better.
    common = (match for match in matches if match.encoding == COMMONEST)
    return str(next((match for match in common if match.coherence >= best.coherence), best))
