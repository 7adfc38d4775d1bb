"""Documents from a program -> the stream of JSONL from which they are indexed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.records import Document
from ettin_cli.storage import Stream


def document_stream(documents: Iterable[Document | Mapping[str, Any]]) -> Stream:
    """Return documents as a stream that takes them from the iterable one at a time.

    Args:
        documents: `Document`s, or mappings with the fields of a JSONL record.
    """
    return Stream(io.BufferedReader(_Lines(map(_line, documents))))


def _line(document: Document | Mapping[str, Any]) -> bytes:
    import orjson

    if isinstance(document, Document):
        document = {
            **document.metadata,
            "_id": document.doc_id,
            "title": document.title,
            "text": document.text,
        }
    try:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n"
    except TypeError:
        # The standard library writes a lone surrogate as an escape, and the reader reports it.
        try:
            return json.dumps(document).encode() + b"\n"
        except TypeError as error:
            raise InvalidArgumentError(f"a record cannot be written as JSON: {error}") from error


class _Lines(io.RawIOBase):
    """A file object over an iterable of lines."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.lines, self.rest = lines, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.rest:
            self.rest = memoryview(next(self.lines, b""))
        size = min(len(buffer), len(self.rest))
        buffer[:size], self.rest = self.rest[:size], self.rest[size:]
        return size
