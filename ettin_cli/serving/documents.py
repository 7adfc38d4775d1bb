"""Documents of an index, as they were indexed."""

from __future__ import annotations

import re
from typing import Any

from ettin_cli.index import DocumentText, document_text, nearest_ids
from ettin_cli.searching import from_here
from ettin_cli.serving.problems import ProblemError, invalid
from ettin_cli.serving.served_index import ServedIndex

# Lines of an answer.
MAX_LINES = 2_000
# The id of a hit: its document, and the lines or the number of its passage.
NAMED_PASSAGE = re.compile(r"(.+)(?::(\d{1,9})-(\d{1,9})|#(\d{1,9}))", re.S)


def document_body(index: ServedIndex, doc_id: str, lines: tuple[int, int] | None) -> dict[str, Any]:
    """Return a document of an index, as it was indexed.

    Args:
        doc_id: Its id, or the id of a hit in it, which ends with lines or a passage.
        lines: The first and the last line to show; None: those of the hit, else from the first.

    Raises:
        ProblemError: There is no such document, or it has no such lines.
    """
    opened = index.current()
    found, passage_id = document_text(opened, doc_id), None
    named = NAMED_PASSAGE.fullmatch(doc_id)
    if found is None and named:
        found = document_text(opened, named[1])
        if named[4]:
            passage_id = int(named[4])
        elif lines is None:
            lines = int(named[2]), int(named[3])
    if found is None:
        near = nearest_ids(opened, doc_id)
        message = f"there is no document {doc_id[:100]!r}; nearest: {', '.join(near)}"
        raise ProblemError(404, message, param="id", extra={"nearest": near})
    placed = {one.passage_id: one for one in found.passages}
    if passage_id is not None:
        if passage_id not in placed:
            raise ProblemError(404, f"there is no passage {passage_id} in the document", param="id")
        lines = lines or (placed[passage_id].first, placed[passage_id].last)
    first, last = lines or (found.begin, found.begin + MAX_LINES - 1)
    require_lines(found, first, last)
    first, last = max(first, found.begin), min(last, found.end, first + MAX_LINES - 1)
    return _document(index, opened.manifest.generation, found, first, last)


def require_lines(found: DocumentText, first: int, last: int) -> None:
    """Check that a document has some of the lines from one to another.

    Raises:
        ProblemError: It has none, or the two are no range.
    """
    if not 1 <= first <= last:
        raise invalid(f"lines {first}-{last} are no range", "lines")
    if first > found.end:
        raise invalid(f"line {first:,} is beyond the last line, {found.end:,}", "lines")
    if last < found.begin:
        raise invalid(f"line {last:,} is before the first line, {found.begin:,}", "lines")


def _document(
    index: ServedIndex, generation: str, found: DocumentText, first: int, last: int
) -> dict[str, Any]:
    passage = found.passages[0].passage
    return {
        "id": passage.doc_id,
        "index": {"name": index.name, "generation": generation},
        "title": passage.title,
        "path": from_here(passage.path),
        "metadata": dict(passage.metadata),
        "text": found.between(first, last),
        "lines": [first, last],
        "first_line": found.begin,
        "total_lines": found.end,
        "passages": [
            {
                "passage_id": one.passage_id,
                "lines": [one.first, one.last],
                **({"page": one.passage.page} if one.passage.page else {}),
            }
            for one in found.passages
            if one.first <= last and one.last >= first
        ],
    }
