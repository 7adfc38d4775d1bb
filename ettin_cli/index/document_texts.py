"""The text of a document, put together from its passages, with line numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import TYPE_CHECKING

from ettin_cli.index.reader import Index

if TYPE_CHECKING:
    from ettin_cli.index.vectors import Rows
    from ettin_cli.records import Passage


@dataclass(frozen=True, slots=True)
class PlacedPassage:
    """A passage of a document.

    Args:
        first: The number of its first line in the document.
        last: The number of its last line.
    """

    passage_id: int
    passage: Passage
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class DocumentText:
    """A document as it was indexed.

    Args:
        begin: The number of the first line: that in the source file where the format has lines,
            else 1.
        passages: In order.
    """

    lines: Sequence[str]
    begin: int
    passages: Sequence[PlacedPassage]

    @property
    def end(self) -> int:
        """The number of the last line."""
        return self.begin + len(self.lines) - 1

    def between(self, first: int, last: int) -> str:
        """Return the text from one line to another, both included."""
        return "\n".join(self.lines[max(0, first - self.begin) : last - self.begin + 1])


def document_text(index: Index, doc_id: str) -> DocumentText | None:
    """Return a document as it was indexed; None if the index has none of this id."""
    import numpy as np

    rows = _rows_of(index, doc_id)
    if not len(rows):
        return None
    read = list(zip(np.asarray(rows).tolist(), index.read(rows), strict=True))
    return assembled(read)


def nearest_ids(index: Index, wanted: str, most: int = 3) -> list[str]:
    """Return the ids of documents that are most like a text, by the letters that they share."""
    grams = _grams(wanted)

    def likeness(doc_id: str) -> float:
        own = _grams(doc_id)
        return len(grams & own) / (len(grams | own) or 1)

    return nlargest(most, dict.fromkeys(index.doc_ids()), key=likeness)


def assembled(passages: Sequence[tuple[int, Passage]]) -> DocumentText:
    r"""Return a document from its passages: what two share is given once.

    Where the passages have lines in the source file, they keep their numbers, and lines between
    them are empty.

    >>> from ettin_cli.records import Passage
    >>> first = Passage("a", "# Ferry\n\nIt sails.", start_line=1, end_line=3)
    >>> second = Passage("a", "## Fares\n\nTen.", start_line=5, end_line=7)
    >>> assembled([(0, first), (1, second)]).between(3, 5)
    'It sails.\n\n## Fares'
    """
    numbered = _have_lines([passage for _, passage in passages])
    begin = passages[0][1].start_line or 1 if numbered else 1
    lines: list[str] = []
    placed = []
    before = ""
    for passage_id, passage in passages:
        shared = _overlap(before, passage.text)
        added = passage.text[shared:].split("\n")
        before = passage.text
        if shared:
            first = begin + len(lines) - 1 - passage.text[:shared].count("\n")
            lines[-1] += added[0]
            lines += added[1:]
        else:
            at = (passage.start_line or 1) - begin if numbered else len(lines) + bool(lines)
            if at < len(lines):
                # Two pieces of one line.
                lines[-1] += f" {added.pop(0)}"
                first = begin + len(lines) - 1
            else:
                lines += [""] * (at - len(lines))
                first = begin + at
            lines += added
        placed.append(PlacedPassage(passage_id, passage, first, begin + len(lines) - 1))
    return DocumentText(lines, begin, placed)


def _have_lines(passages: Sequence[Passage]) -> bool:
    """Return whether the lines of passages are those of their source file, in order."""
    last = 0
    for passage in passages:
        first, end = passage.start_line, passage.end_line
        if first is None or end is None or first < last:
            return False
        if passage.text.count("\n") > end - first:
            return False
        last = end
    return True


def _overlap(before: str, text: str) -> int:
    """Return how many of the last characters of a text begin the next."""
    most = min(len(before), len(text))
    return next((size for size in range(most, 15, -1) if text.startswith(before[-size:])), 0)


def _rows_of(index: Index, doc_id: str) -> Rows:
    import numpy as np

    found, begin = [], 0
    for (block,) in index.passages.blocks("doc_id"):
        found += [begin + at for at, one in enumerate(block.to_pylist()) if one == doc_id]
        begin += len(block)
    return np.array(found, np.int64)


def _grams(text: str) -> set[str]:
    folded = f" {text.casefold()} "
    return {folded[at : at + 3] for at in range(len(folded) - 2)}
