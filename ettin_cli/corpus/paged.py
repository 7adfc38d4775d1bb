"""A document of pages, each of them lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from ettin_cli.records import Document


def paged_document(
    doc_id: str, pages: Sequence[Sequence[str]], *, title: str = "", faults: Sequence[str] = ()
) -> Document:
    """Return a document whose lines have the numbers of their pages, which count from 1.

    A blank line separates pages.
    """
    lines: list[str] = []
    numbers: list[int] = []
    for number, page in enumerate(pages, start=1):
        texts = [line for text in page for line in text.split("\n") if line.strip()]
        if lines and texts:
            lines.append("")
            numbers.append(numbers[-1])
        lines += texts
        numbers += [number] * len(texts)
    return Document(doc_id, "\n".join(lines), title=title, pages=numbers, faults=faults)
