"""Bytes -> text, or a clear reason why not."""

from __future__ import annotations

from pathlib import Path

from ettin_cli.corpus.encodings import guessed_encoding, is_utf8, marked_encoding, nearly_utf8
from ettin_cli.corpus.jis import decoded_jis
from ettin_cli.settings import MAX_TEXT_BYTES, MIB
from ettin_cli.storage import UnreadableError, opened

NO_ENCODING = "encoding cannot be detected"


def read_text(path: Path, most: int = MAX_TEXT_BYTES) -> str:
    r"""Return a text file's content with "\n" line ends.

    The encoding is that of the byte order mark, else UTF-8, else charset-normalizer's guess.

    Args:
        most: Maximum size in bytes, decompressed.

    Raises:
        UnreadableError: It is binary, in no detectable encoding, or too large.
    """
    return decode(read_bytes(path, most))


def read_bytes(path: Path, most: int = MAX_TEXT_BYTES) -> bytes:
    """Return a file's content, decompressed.

    Raises:
        UnreadableError: It cannot be read, or is too large.
    """
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UnreadableError(f"more than {most // MIB} MiB of text")
    return content


def decode(content: bytes) -> str:
    r"""Return text with "\n" line ends.

    Raises:
        UnreadableError: It is binary or in no detectable encoding.
    """
    text = _decoded(content)
    if "\0" in text:
        raise UnreadableError("binary content")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(content: bytes) -> str:
    encoding = marked_encoding(content)
    if encoding:
        return _in(encoding, content, f"not {encoding}, contrary to its byte order mark")
    if b"\0" in content:
        raise UnreadableError("binary content")
    japanese = decoded_jis(content)
    if japanese is not None:
        return japanese
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if nearly_utf8(content):
            line = content.count(b"\n", 0, error.start) + 1
            raise UnreadableError(f"invalid UTF-8, first in line {line}") from error
    return _in(guessed_encoding(content), content, NO_ENCODING)


def text_encoding(head: bytes) -> str:
    """Return the encoding of a text from its first bytes.

    Raises:
        UnreadableError: It is binary or in no detectable encoding.
    """
    encoding = marked_encoding(head)
    if encoding is None and b"\0" in head:
        raise UnreadableError("binary content")
    if encoding is None and (is_utf8(head, cut=True) or nearly_utf8(head)):
        encoding = "utf-8"
    encoding = encoding or guessed_encoding(head)
    if encoding is None:
        raise UnreadableError(NO_ENCODING)
    return encoding


def _in(encoding: str | None, content: bytes, reason: str) -> str:
    try:
        if encoding:
            return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableError(reason) from error
    raise UnreadableError(reason)
