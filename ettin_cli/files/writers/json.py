"""JSON, of all answers at once or a line each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ettin_cli.files.writers.writer import DocumentWriter, Layout, RowWriter, TextWriter
from ettin_cli.records import Answer, answer_rows, dumps


class Json(DocumentWriter):
    """One value: an answer, or where there may be more an array of them."""

    name = "json"
    suffixes = (".json",)

    def begin(self, layout: Layout) -> bytes:
        """Return the array's begin."""
        return b"[" if layout.many else b""

    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return an answer as an indented object."""
        between = (b"\n" if first else b",\n") if layout.many else b""
        return between + dumps(answer.to_dict(text=layout.text), indent=True)

    def end(self, layout: Layout) -> bytes:
        """Return the array's end."""
        return b"\n]\n" if layout.many else b"\n"

    def document(self, value: object) -> bytes:
        """Return a value, indented."""
        return dumps(value, indent=True) + b"\n"


class JsonLines(RowWriter):
    """An object a line."""

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
    """A row of `COLUMNS` a hit as an object a line, of which binary formats are made."""

    name = "rows"

    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return a line a hit."""
        rows = answer_rows(answer, text=layout.text)
        return b"".join(dumps(row) + b"\n" for row in rows)


JSON, JSONL, HIT_LINES = Json(), JsonLines(), HitLines()
