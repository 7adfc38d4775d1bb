"""Bytes -> text: decompression and decoding, with a clear reason where either fails."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from ettin_cli.corpus.encodings import guessed_encoding, is_utf8, marked_encoding, nearly_utf8

MAX_TEXT_BYTES = 1 << 30
PACKED_BLOCK = 1 << 16
NO_ENCODING = "in no encoding that can be told"


class UnreadableError(Exception):
    """A file's content is not what its name promises; the message is the reason."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, decompressed when it ends in .gz or .zst.

    Raises:
        UnreadableError: It cannot be opened or read, or its compressed data ends early.
    """
    import zstandard

    try:
        with _decompressed(path) as file:
            yield cast(BinaryIO, file)
    except (EOFError, zlib.error, zstandard.ZstdError) as error:
        raise UnreadableError(f"compressed data is damaged or cut short: {error}") from error
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from error


def _decompressed(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        import gzip

        return cast(IO[bytes], gzip.open(path, "rb"))
    if path.suffix.lower() == ".zst":
        return io.BufferedReader(_Zstandard(path))
    return path.open("rb")


class _Zstandard(io.RawIOBase):
    """A .zst file's content; unlike zstandard's own reader it notices an end that is too early."""

    def __init__(self, path: Path) -> None:
        import zstandard

        self.file = path.open("rb")
        self.frames = zstandard.ZstdDecompressor()
        self.frame = self.frames.decompressobj()
        self.inside = False
        self.ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            if not self._unpack():
                return 0
        count = min(len(buffer), len(self.ready))
        buffer[:count], self.ready = self.ready[:count], self.ready[count:]
        return count

    def _unpack(self) -> bool:
        """Unpack some more; False at the end of the file."""
        packed = self.frame.unused_data if self.frame.eof else b""
        packed = packed or self.file.read(PACKED_BLOCK)
        if not packed:
            if self.inside:
                raise EOFError("the last frame is not complete")
            return False
        if self.frame.eof:
            self.frame = self.frames.decompressobj()
        self.ready = self.frame.decompress(packed)
        self.inside = not self.frame.eof
        return True

    def close(self) -> None:
        self.file.close()
        super().close()


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
    encoding = marked_encoding(content)
    if encoding:
        return _in(encoding, content, f"not the {encoding} that it says it is")
    if b"\0" in content:
        raise UnreadableError("binary content")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if nearly_utf8(content):
            line = content.count(b"\n", 0, error.start) + 1
            raise UnreadableError(f"broken UTF-8, at first in line {line}") from error
    return _in(guessed_encoding(content), content, NO_ENCODING)


def text_encoding(head: bytes) -> str:
    """Return the encoding of text that begins like this.

    Raises:
        UnreadableError: It is binary or in no known encoding.
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
