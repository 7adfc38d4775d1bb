"""mbox: a file of many messages, one document each, read one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ettin_cli.corpus.mail import message_document
from ettin_cli.corpus.reader import CollectionReader, Rejected
from ettin_cli.records import Document
from ettin_cli.settings import MAX_TEXT_BYTES, MIB
from ettin_cli.storage import UnreadableError, opened, record_lines

# With a time or a year: a sentence of a message may begin with "From" too.
_FROM = re.compile(rb"From \S.*(?:\d\d:\d\d|\b(?:19|20)\d\d\b)|From -\s")
_ESCAPED = re.compile(rb">+From ")
_MARK = b"\xef\xbb\xbf"


def _documents(path: Path, name: str) -> Iterator[Document | Rejected]:
    """Yield the message that begins on each "From " line; its place is that line."""
    message: list[bytes] = []
    size = begins = 0
    with opened(path) as file:
        blank = True
        for number, line in enumerate(record_lines(file), start=1):
            if number == 1:
                line = line.removeprefix(_MARK)
            starts = line.startswith(b"From ") and (not begins or (blank and _FROM.match(line)))
            if not begins and not starts and line.strip():
                raise UnreadableError("not an mbox file: the first line does not begin with From")
            if starts:
                if begins:
                    yield _message(message, size, name, begins)
                message, size, begins = [], 0, number
            elif begins:
                size += len(line)
                if size <= MAX_TEXT_BYTES:
                    message.append(line[1:] if _ESCAPED.match(line) else line)
            blank = not line.strip()
    if begins:
        yield _message(message, size, name, begins)


def _message(lines: list[bytes], size: int, name: str, begins: int) -> Document | Rejected:
    from dataclasses import replace

    if size > MAX_TEXT_BYTES:
        return Rejected(f"more than {MAX_TEXT_BYTES // MIB} MiB of text", begins)
    try:
        document = message_document(b"".join(lines), f"{name}:{begins}")
    except UnreadableError as error:
        return Rejected(str(error), begins)
    notices = [f"message in line {begins:,}: {notice}" for notice in document.notices]
    return replace(document, lines=(begins,), notices=notices)


MBOX = CollectionReader(
    name="mbox",
    suffixes=(".mbox", ".mbx"),
    read=_documents,
    file_names=frozenset({"mbox"}),
    compressed=True,
)
