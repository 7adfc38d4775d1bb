"""JSON: all answers in one value, or one per line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ettin_cli.files.writers.writer import DocumentWriter, Layout, RowWriter, TextWriter
from ettin_cli.records import Answer, dumps


class Json(DocumentWriter):
    """A single value: an answer, or an array of answers."""

    name = "json"
    suffixes = (".json",)

    def begin(self, layout: Layout) -> bytes:
        """Return the start of the array."""
        return b"[" if layout.many else b""

    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return an answer as an indented object."""
        between = (b"\n" if first else b",\n") if layout.many else b""
        return between + dumps(answer.to_dict(text=layout.text), indent=True)

    def end(self, layout: Layout) -> bytes:
        """Return the end of the array."""
        return b"\n]\n" if layout.many else b"\n"

    def document(self, value: object) -> bytes:
        """Return an indented value."""
        return dumps(value, indent=True) + b"\n"


class JsonLines(RowWriter):
    """An object per line."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson")
    nested = True

    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return an answer as a line."""
        return dumps(answer.to_dict(text=layout.text)) + b"\n"

    def rows(
        self, names: Sequence[str], rows: Iterable[Sequence[Any]], left: Collection[str] = ()
    ) -> bytes:
        """Return each row as an object."""
        return b"".join(dumps(dict(zip(names, row, strict=True))) + b"\n" for row in rows)


class HitLines(TextWriter):
    """A row of `COLUMNS` per hit as JSON lines, from which binary formats are made."""

    name = "rows"

    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return a line per hit."""
        rows = answer.rows(text=layout.text)
        return b"".join(dumps(row) + b"\n" for row in rows)


JSON, JSONL, HIT_LINES = Json(), JsonLines(), HitLines()
