"""Outlook messages (.msg) -> a document. They are OLE files, which olefile reads."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.corpus.charsets import declared_text
from ettin_cli.corpus.compressed_rtf import decompressed
from ettin_cli.corpus.content import read_bytes
from ettin_cli.corpus.html import html_document
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.corpus.rtf import rtf_text
from ettin_cli.errors import first_line
from ettin_cli.platforms import quoted
from ettin_cli.records import Document
from ettin_cli.settings import (
    MAX_MARKUP_BYTES,
    MAX_OLE_ENTRIES,
    MAX_OUTLOOK_PARTS,
    MAX_TEXT_BYTES,
    MIB,
)
from ettin_cli.storage import UnreadableError

if TYPE_CHECKING:
    from olefile import OleFileIO

DEPTH = 20
SUBJECT, BODY, RTF, HTML, TO = "0037", "1000", "1009", "1013", "0E04"
SENDER_NAME, SENDER_ADDRESSES = "0C1A", ("5D01", "0C1F")
FILE_NAMES = ("3707", "3704")
SUBMITTED, DELIVERED, CODE_PAGES = 0x0039, 0x0E06, (0x3FDE, 0x3FFD)
ATTACHMENT = "__attach_version1.0_#"
EMBEDDED = "__substg1.0_3701000D"
DAMAGES = (
    OSError,
    EOFError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def outlook_document(path: Path, doc_id: str) -> Document:
    """Return an Outlook message's text, with forwarded messages, and its subject as the title.

    Raises:
        UnreadableError: It is damaged or too large, or olefile is not installed.
    """
    try:
        import olefile
    except ImportError as error:
        command = f"pip install {quoted('ettin-cli[formats]')}"
        raise UnreadableError(f"needs olefile; {command}") from error
    content = read_bytes(path)
    try:
        with olefile.OleFileIO(io.BytesIO(content)) as file:
            if len(file.direntries) > MAX_OLE_ENTRIES:
                raise UnreadableError(f"more than {MAX_OLE_ENTRIES:,} entries")
            return _Message(_Streams(file), ()).document(doc_id)
    except DAMAGES as error:
        raise UnreadableError(f"not a valid Outlook message: {first_line(error)}") from error


class _Streams:
    """The streams of an OLE file, within the limits of a message."""

    def __init__(self, file: OleFileIO) -> None:
        self.file = file
        self.inner: dict[tuple[str, ...], list[str]] = {}
        for path in file.listdir(streams=True, storages=True):
            self.inner.setdefault(tuple(path[:-1]), []).append(path[-1])
        self.paths = {(*outer, name) for outer, names in self.inner.items() for name in names}
        self.bytes = self.parts = 0
        self.notices: list[str] = []

    def read(self, path: tuple[str, ...]) -> bytes:
        """Return the content of a stream; empty if there is none."""
        if path not in self.paths:
            return b""
        self.bytes += self.file.get_size(list(path))
        if self.bytes > MAX_TEXT_BYTES:
            raise UnreadableError(f"more than {MAX_TEXT_BYTES // MIB} MiB of text")
        with self.file.openstream(list(path)) as stream:
            content: bytes = stream.read()
        return content

    def attachments(self, prefix: tuple[str, ...]) -> list[str]:
        """Return the names of the storages of a message's attachments."""
        names = sorted(one for one in self.inner.get(prefix, ()) if one.startswith(ATTACHMENT))
        self.parts += len(names)
        if self.parts > MAX_OUTLOOK_PARTS:
            raise UnreadableError(f"more than {MAX_OUTLOOK_PARTS:,} attachments")
        return names


class _Message:
    """A message: the file itself, or one that is embedded in it.

    Args:
        prefix: The names of the storages around it.
    """

    def __init__(self, file: _Streams, prefix: tuple[str, ...]) -> None:
        self.file, self.prefix = file, prefix
        self.attached = file.attachments(prefix)
        self.fixed = self._fixed()
        pages = (self.fixed.get(name, b"\0" * 8) for name in CODE_PAGES)
        numbers = (int.from_bytes(page[:4], "little") for page in pages)
        self.charset = next((_charset(number) for number in numbers if number), None)

    def document(self, doc_id: str) -> Document:
        sender = self._sender()
        values = {"from": sender, "to": self._text(TO), "date": self._date()}
        metadata: dict[str, Any] = {name: value for name, value in values.items() if value}
        names = [
            name
            for part in self.attached
            if (name := next(filter(None, (self._text(one, (part,)) for one in FILE_NAMES)), ""))
        ]
        if names:
            metadata["attachments"] = names
        title = " ".join(self._text(SUBJECT).split())
        text = self.text()
        notices = self.file.notices
        if not text.strip():
            only = ", only RTF" if self._bytes(f"{RTF}0102") else ""
            notices = [f"no readable body{only}"]
        return Document(doc_id, text, title=title, metadata=metadata, notices=notices)

    def text(self) -> str:
        texts = [self._body()]
        for part in self.attached:
            inner = (*self.prefix, part, EMBEDDED)
            if inner in self.file.paths:
                if len(inner) > 2 * DEPTH:
                    raise UnreadableError("parts nested too deeply")
                texts.append(_Message(self.file, inner).forwarded())
        return "\n\n".join(text.strip("\n") for text in texts if text.strip())

    def forwarded(self) -> str:
        heads = {"Subject": self._text(SUBJECT), "From": self._sender(), "Date": self._date()}
        shown = "\n".join(
            f"{name}: {' '.join(value.split())}" for name, value in heads.items() if value
        )
        return "\n\n".join(filter(None, (shown, self.text())))

    def _body(self) -> str:
        plain = self._text(BODY)
        if plain.strip():
            return plain
        markup = self._text(HTML)
        if not markup and (content := self._bytes(f"{HTML}0102")):
            markup = declared_text(content.rstrip(b"\0"), self.charset)
        if len(markup) > MAX_MARKUP_BYTES:
            raise UnreadableError(f"more than {MAX_MARKUP_BYTES // MIB} MiB of markup")
        text = html_document(markup, "").text
        return text if text.strip() else self._rtf()

    def _rtf(self) -> str:
        content = self._bytes(f"{RTF}0102")
        if not content:
            return ""
        try:
            rtf, complete = decompressed(content)
            text = rtf_text(rtf).text
        except UnreadableError as error:
            self.file.notices.append(f"a body in RTF cannot be read: {error}")
            return ""
        if not complete:
            self.file.notices.append("a body in RTF is damaged, and its end is missing")
        return text

    def _sender(self) -> str:
        name = self._text(SENDER_NAME)
        address = next(filter(None, map(self._text, SENDER_ADDRESSES)), "")
        return f"{name} <{address}>" if "@" in address and name != address else name or address

    def _date(self) -> str:
        for name in (SUBMITTED, DELIVERED):
            ticks = int.from_bytes(self.fixed.get(name, b""), "little")
            if 0 < ticks < 1 << 62:
                seconds = timedelta(microseconds=ticks // 10)
                time = datetime(1601, 1, 1, tzinfo=UTC) + seconds
                return time.isoformat(timespec="seconds")
        return ""

    def _text(self, name: str, below: tuple[str, ...] = ()) -> str:
        if wide := self._bytes(f"{name}001F", below):
            text = wide.decode("utf-16-le", "replace")
        elif narrow := self._bytes(f"{name}001E", below):
            text = declared_text(narrow.rstrip(b"\0"), self.charset)
        else:
            return ""
        return text.rstrip("\0").replace("\0", "\ufffd").replace("\r\n", "\n").replace("\r", "\n")

    def _fixed(self) -> dict[int, bytes]:
        """Return the values of the properties of fixed size, of eight bytes each, by their ids."""
        content = self._stream("__properties_version1.0")
        content = content[24 if self.prefix else 32 :]
        rows = (content[at : at + 16] for at in range(0, len(content) - 15, 16))
        return {int.from_bytes(row[2:4], "little"): row[8:] for row in rows}

    def _bytes(self, name: str, below: tuple[str, ...] = ()) -> bytes:
        return self._stream(f"__substg1.0_{name}", below)

    def _stream(self, name: str, below: tuple[str, ...] = ()) -> bytes:
        return self.file.read((*self.prefix, *below, name))


def _charset(code_page: int) -> str | None:
    """Return the name of a code page of Windows."""
    return {65001: "utf-8", 20127: "ascii", 28591: "iso-8859-1", 50220: "iso-2022-jp"}.get(
        code_page, f"cp{code_page}" if code_page < 10_000 else None
    )


MSG = DocumentReader(name="Outlook", suffixes=(".msg",), read=outlook_document, title_suffices=True)
