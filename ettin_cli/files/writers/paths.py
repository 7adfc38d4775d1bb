"""Paths: a line per hit, in the form that editors open."""

from __future__ import annotations

from ettin_cli.files.writers.writer import Layout, TextWriter
from ettin_cli.records import Answer, Hit
from ettin_cli.text import best_lines


class Paths(TextWriter):
    """`path:line` of each hit's best line; has no file suffix."""

    name = "paths"

    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return a line per hit."""
        lines = (place(hit, answer.wanted) for hit in answer.hits)
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def place(hit: Hit, query: str) -> str:
    """Return `path:line` of a hit's best line; the doc_id if it has no path."""
    passage = hit.passage
    if passage.path is None:
        return passage.doc_id
    if passage.start_line is None or passage.end_line is None:
        return passage.path
    offset = best_lines(passage.text, query, lines=1).line
    return f"{passage.path}:{min(passage.start_line + offset, passage.end_line)}"


PATHS = Paths()
