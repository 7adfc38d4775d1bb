"""Markdown: a section per answer with links to the hits, or a table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from urllib.parse import quote

from ettin_cli.files.writers.writer import Layout, RowWriter
from ettin_cli.records import Answer
from ettin_cli.text import best_lines

_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\[]<>*_`"})


class Markdown(RowWriter):
    """A heading per query, followed by a numbered list of hits with their best lines."""

    name = "md"
    suffixes = (".md",)
    for_people = True

    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return the section of an answer."""
        lines = [f"## {_one_line(answer.query.text)}", ""]
        for rank, hit in enumerate(answer.hits, start=1):
            passage = hit.passage
            name = _one_line(passage.title or passage.doc_id).translate(_MARKDOWN)
            anchor = f"#L{passage.start_line}" if passage.start_line else ""
            target = quote(passage.path, safe="/:.~") + anchor if passage.path else ""
            shown = f"[{name}]({target})" if target else name
            lines.append(f"{rank}. {shown} ({hit.score:.3f})")
            quoted = best_lines(passage.text, answer.wanted).text
            lines += [f"   > {line}" for line in quoted.split("\n")]
        return ("\n".join(lines) + "\n\n").encode("utf-8", "surrogatepass")

    def rows(
        self, names: Sequence[str], rows: Iterable[Sequence[Any]], left: Collection[str] = ()
    ) -> bytes:
        """Return a table with right-aligned numbers."""
        ruler = ["---" if name in left else "---:" for name in names]
        lines = [f"| {' | '.join(row)} |\n" for row in [names, ruler, *rows]]
        return "".join(lines).encode("utf-8", "surrogatepass")


def _one_line(text: str) -> str:
    return " ".join(text.split())


MARKDOWN = Markdown()
