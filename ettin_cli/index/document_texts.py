"""The text of a document, put together from its passages, with line numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice
from typing import TYPE_CHECKING

from ettin_cli.index.reader import Index

if TYPE_CHECKING:
    from ettin_cli.index.vectors import Rows
    from ettin_cli.records import Passage

# Fewer equal characters are taken for chance, unless they are whole lines of equal numbers.
LEAST_SHARED = 16
# Ids that are compared with a wrong one by all their letters, and how many letters of each.
COMPARED = 50
LONGEST_NAME = 300
# Letters of the wrong id by which those are chosen.
LETTERS = 64


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
    return assembled(read, index.manifest.chunk_overlap)


def document_path(index: Index, doc_id: str) -> str | None:
    """Return the path of a document's file; None if the index has no such document or file."""
    rows = _rows_of(index, doc_id)
    return index.read(rows[:1])[0].path if len(rows) else None


def nearest_ids(index: Index, wanted: str, most: int = 3) -> list[str]:
    """Return the ids of documents that are most like a text, by the letters that they share.

    Args:
        wanted: Of a long one, the end is compared.
    """
    # Halves of surrogate pairs are in no id.
    wanted = wanted[-LONGEST_NAME:].encode("utf-8", "replace").decode()
    grams = _grams(wanted)

    def likeness(doc_id: str) -> float:
        own = _grams(doc_id[-LONGEST_NAME:])
        return len(grams & own) / (len(grams | own) or 1)

    return nlargest(most, _likely_ids(index, wanted), key=likeness)


def _likely_ids(index: Index, wanted: str) -> list[str]:
    """Return the ids that share most letters with a text, by a cheaper comparison in Arrow."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    blocks = [block.unique() for (block,) in index.passages.blocks("doc_id")]
    ids = pa.chunked_array(blocks, pa.string()).unique()
    if len(ids) <= COMPARED:
        return list(ids.to_pylist())
    lowered = pc.utf8_lower(ids)
    parts = {part.strip() for part in _grams(wanted[-LETTERS:])} - {""}
    shared = np.zeros(len(ids), np.int64)
    for part in sorted(parts):
        shared += pc.match_substring(lowered, part).to_numpy(zero_copy_only=False)
    either = len(parts) + pc.utf8_length(ids).to_numpy(zero_copy_only=False) - shared
    best = np.argsort(-shared / np.maximum(either, 1), kind="stable")[:COMPARED]
    return list(ids.take(pa.array(np.sort(best))).to_pylist())


def assembled(passages: Sequence[tuple[int, Passage]], overlap: int = 0) -> DocumentText:
    r"""Return a document from its passages: what two share is given once.

    Where the passages have lines in the source file, they keep their numbers, and lines between
    them are empty.

    Args:
        overlap: Number of tokens that a passage may repeat from the previous one.

    >>> from ettin_cli.records import Passage
    >>> first = Passage("a", "# Ferry\n\nIt sails.", start_line=1, end_line=3)
    >>> second = Passage("a", "## Fares\n\nTen.", start_line=5, end_line=7)
    >>> assembled([(0, first), (1, second)]).between(3, 5)
    'It sails.\n\n## Fares'
    """
    numbered = _have_lines([passage for _, passage in passages], overlap)
    begin = passages[0][1].start_line or 1 if numbered else 1
    lines: list[str] = []
    placed = []
    before: Passage | None = None
    for passage_id, passage in passages:
        shared = _shared(before, passage, overlap, numbered=numbered)
        added = passage.text[shared:].split("\n")
        before = passage
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


def _have_lines(passages: Sequence[Passage], overlap: int) -> bool:
    """Return whether the lines of passages are those of their source file, in order."""
    before, last = None, 0
    for passage in passages:
        first, end = passage.start_line, passage.end_line
        if first is None or end is None or passage.text.count("\n") > end - first:
            return False
        if first < last and not _shared(before, passage, overlap, numbered=True):
            return False
        before, last = passage, end
    return True


def _shared(before: Passage | None, passage: Passage, overlap: int, *, numbered: bool) -> int:
    """Return how many characters at the beginning of a passage repeat the end of the one before.

    Args:
        overlap: The most tokens that they share; every word has at least one.
        numbered: Whether they share lines of the source file only.
    """
    if before is None or not overlap:
        return 0
    text = passage.text
    if numbered:
        lines = (before.end_line or 0) - (passage.start_line or 0) + 1
        text = "\n".join(text.split("\n", max(0, lines))[: max(0, lines)])
    words = list(islice(re.finditer(r"\S+", text), overlap))
    most = min(len(before.text), words[-1].end() if words else 0)
    for start in range(len(before.text) - most, len(before.text)):
        size = len(before.text) - start
        whole_lines = numbered and before.text[start - 1 : start] in ("", "\n")
        likely = before.text[start] == text[0] and (whole_lines or size >= LEAST_SHARED)
        if likely and text.startswith(before.text[start:]):
            return size
    return 0


def _rows_of(index: Index, doc_id: str) -> Rows:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        wanted = pa.scalar(doc_id, pa.string())
    except UnicodeEncodeError:
        # Half of a surrogate pair.
        return np.empty(0, np.int64)
    blocks = [pc.equal(block, wanted) for (block,) in index.passages.blocks("doc_id")]
    same = pa.chunked_array(blocks, pa.bool_()).to_numpy()
    return np.flatnonzero(same).astype(np.int64)


def _grams(text: str) -> set[str]:
    folded = f" {text.casefold()} "
    return {folded[at : at + 3] for at in range(len(folded) - 2)}
