"""Bytes -> text, or a clear reason why not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from ettin_cli.corpus.encodings import guessed_encoding, is_utf8, marked_encoding, nearly_utf8
from ettin_cli.corpus.jis import decoded_jis
from ettin_cli.errors import InvalidArgumentError
from ettin_cli.settings import MAX_TEXT_BYTES, MIB
from ettin_cli.storage import UnreadableError, opened

BINARY_CONTENT = "binary content"
NO_ENCODING = "encoding cannot be detected"
REPLACEMENT = "\ufffd"
# Parts of a file whose encoding is guessed; it is that of most of them in the others.
MAX_GUESSES = 30
# One in so many bytes may be invalid, and one more; a file with more of them is not text.
INVALID_IN, NUL_IN = 100, 1000
_NULS = re.compile(rb"\0+")
_NUL_RUNS = re.compile("\0+")
_CONTROLS = re.compile(rb"[\x01-\x07\x0e-\x1a\x1c-\x1f\x7f]")
_LONE_RETURN = re.compile("\r(?!\n)")


@dataclass(slots=True)
class Decoding:
    """How the texts of one file are decoded, and what came of it.

    Args:
        encoding: That of texts without a byte order mark; None: it is detected.
        replaced: Number of invalid byte sequences that were replaced.
        first: Line of the first of them.
        line_of: For each line of the file's text, its line in the file; empty if they are equal.
        guesses: How often each encoding was guessed; None if none was likely.
    """

    encoding: str | None = None
    replaced: int = 0
    first: int = 0
    line_of: Sequence[int] = ()
    guesses: Counter[str | None] = field(default_factory=Counter)

    @property
    def notices(self) -> list[str]:
        """What a user should know about the text."""
        if not self.replaced:
            return []
        sequences = "sequence" if self.replaced == 1 else "sequences"
        return [
            f"{self.replaced:,} invalid byte {sequences} replaced by U+FFFD, "
            f"first in line {self.first:,}"
        ]


_decoding: ContextVar[Decoding | None] = ContextVar("decoding", default=None)


@contextmanager
def decoding(encoding: str | None = None) -> Iterator[Decoding]:
    """Yield what is noted about the texts that are decoded in the block, those of one file."""
    state = Decoding(encoding)
    with resumed(state):
        yield state


@contextmanager
def resumed(state: Decoding) -> Iterator[None]:
    """Note what is decoded in the block in the state of an earlier block."""
    token = _decoding.set(state)
    try:
        yield
    finally:
        _decoding.reset(token)


def require_encoding(name: str) -> None:
    """Check that an encoding of text is known.

    Raises:
        InvalidArgumentError: It is not.
    """
    try:
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise InvalidArgumentError(
            f"{name!r} is not a known text encoding", argument="encoding", value=name
        ) from error


def read_text(path: Path, most: int = MAX_TEXT_BYTES) -> str:
    r"""Return a text file's content with "\n" line ends.

    The encoding is that of the byte order mark, else that of `--encoding`, else UTF-8, else the
    most likely one. A lone carriage return becomes a line end too, although it does not count as
    one in the file, as in grep and vim: `decoding` notes the lines in the file.

    Args:
        most: Maximum size in bytes, decompressed.

    Raises:
        UnreadableError: It is binary, in no detectable encoding, or too large.
    """
    content = read_bytes(path, most)
    state = _decoding.get()
    text = _decoded(content, state.encoding if state else None)
    if state and "\r" in text:
        state.line_of = _lines_in_file(text)
    return _with_line_feeds(text)


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
    return _with_line_feeds(_decoded(content, None))


def decode_as(encoding: str, content: bytes) -> str:
    """Return text in a known encoding; invalid bytes are replaced and counted."""
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        return _replaced(encoding, content, error.start)


def repaired(texts: Sequence[str]) -> tuple[list[str], int] | None:
    """Return the texts of a record with a few invalid bytes and NULs replaced, and their number.

    None if there are more of them, or nobody would be told.

    Args:
        texts: Undecodable bytes in them are surrogates.
    """
    if _decoding.get() is None:
        return None
    without = [_NUL_RUNS.subn(REPLACEMENT, text) for text in texts]
    nuls = sum(number for _, number in without)
    contents = [text.encode("utf-8", "surrogateescape") for text, _ in without]
    size = sum(map(len, contents))
    invalid = sum(_broken("utf-8", content) for content in contents)
    if nuls > 1 + size // NUL_IN or invalid > 1 + size // INVALID_IN:
        return None
    return [content.decode("utf-8", "replace") for content in contents], nuls + invalid


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines_in_file(text: str) -> Sequence[int]:
    """Return the line in the file of each line that a lone carriage return may begin too."""
    if not _LONE_RETURN.search(text):
        return ()
    numbers, number = [], 1
    for line in text.split("\n"):
        numbers += [number] * (1 + len(_LONE_RETURN.findall(line.removesuffix("\r"))))
        number += 1
    return numbers


def _decoded(content: bytes, given: str | None) -> str:
    encoding = marked_encoding(content)
    if encoding == "utf-8-sig":
        # Errors are counted from the end of the mark.
        return _in("utf-8", content[3:], "not utf-8-sig, contrary to its byte order mark")
    if encoding:
        return _in(encoding, content, f"not {encoding}, contrary to its byte order mark")
    if given:
        return _in(given, content, f"not {given}")
    if b"\0" in content:
        content = _without_nuls(content)
    japanese = decoded_jis(content)
    if japanese is not None:
        return japanese
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if nearly_utf8(content):
            return _replaced("utf-8", content, error.start)
    return _in(_guessed(content) or "ascii", content, NO_ENCODING)


def _guessed(content: bytes) -> str | None:
    """Return the most likely encoding; after some guesses, which take long, that of most of them.

    A hostile message or book may have thousands of parts.
    """
    state = _decoding.get()
    if state is None:
        return guessed_encoding(content)
    if state.guesses.total() == MAX_GUESSES:
        return state.guesses.most_common(1)[0][0]
    encoding = guessed_encoding(content)
    state.guesses[encoding] += 1
    return encoding


def _without_nuls(content: bytes) -> bytes:
    """Return text with a replacement character for each run of a few NUL bytes.

    Raises:
        UnreadableError: There are too many of them, or it is not text otherwise.
    """
    if not _has_few_nuls(content):
        raise UnreadableError(BINARY_CONTENT)
    replaced, runs = _NULS.subn(REPLACEMENT.encode(), content)
    count_replaced(runs, content.count(b"\n", 0, content.index(b"\0")) + 1)
    return replaced


def _has_few_nuls(content: bytes, *, cut: bool = False) -> bool:
    """Return whether bytes are text but for a few NULs; with `cut`, the end may be missing."""
    runs = len(_NULS.findall(content))
    controls = len(_CONTROLS.findall(content))
    bare = content.replace(b"\0", b"")
    few = bare.strip() and runs + controls <= 1 + len(bare) // NUL_IN
    return bool(few) and (is_utf8(bare, cut=cut) or nearly_utf8(bare))


def _in(encoding: str, content: bytes, reason: str) -> str:
    """Return text in an encoding; a few invalid bytes are replaced and counted.

    Raises:
        UnreadableError: There are more of them, for this reason.
    """
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        broken = _broken(encoding, content)
        if broken > 1 + len(content) // INVALID_IN:
            raise UnreadableError(reason) from error
        text = _replaced(encoding, content, error.start)
    if (nuls := text.count("\0")) > 1 + len(text) // NUL_IN:
        raise UnreadableError(BINARY_CONTENT)
    if nuls:
        count_replaced(nuls, text.count("\n", 0, text.index("\0")) + 1)
    return text.replace("\0", REPLACEMENT)


def _replaced(encoding: str, content: bytes, at: int) -> str:
    """Return text with invalid bytes replaced and counted, the first of them at an offset."""
    text = content.decode(encoding, "replace")
    line = content[:at].decode(encoding, "ignore").count("\n") + 1
    count_replaced(_broken(encoding, content), line)
    return text


def _broken(encoding: str, content: bytes) -> int:
    """Return the number of invalid byte sequences; the text may hold U+FFFD of its own."""
    replaced, ignored = (content.decode(encoding, way) for way in ("replace", "ignore"))
    return replaced.count(REPLACEMENT) - ignored.count(REPLACEMENT)


def count_replaced(number: int, line: int) -> None:
    """Note that invalid byte sequences were replaced, the first of them in a line of the file."""
    if state := _decoding.get():
        state.first = state.first or line
        state.replaced += number


def given_encoding() -> str | None:
    """Return the encoding of texts without a byte order mark; None: it is detected."""
    state = _decoding.get()
    return state.encoding if state else None


def text_encoding(head: bytes) -> str:
    """Return the encoding of a text from its first bytes.

    Raises:
        UnreadableError: It is binary or in no detectable encoding.
    """
    state = _decoding.get()
    encoding = marked_encoding(head) or (state.encoding if state else None)
    if encoding is None and b"\0" in head:
        if state is None or not _has_few_nuls(head, cut=True):
            raise UnreadableError(BINARY_CONTENT)
        head = head.replace(b"\0", b"")
    if encoding is None and (is_utf8(head, cut=True) or nearly_utf8(head)):
        encoding = "utf-8"
    encoding = encoding or guessed_encoding(head)
    if encoding is None:
        raise UnreadableError(NO_ENCODING)
    return encoding
