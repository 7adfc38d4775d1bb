"""A document, or lines of it -> as much as an agent reads at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ettin_cli.serving.mcp.contract import FETCHED
from ettin_cli.serving.mcp.texts import TITLE, longest, marked, size

# Bytes of metadata.
METADATA = 6000
# Stands for the last line of a document.
LAST = 10**9
_RANGE = re.compile(r"(\d{1,9})(?:\+(\d{1,9}))?(?:(-)(\d{1,9})?)?")


@dataclass(frozen=True, slots=True)
class Range:
    """Lines of a document.

    Args:
        skipped: Characters of the first line that were read before.
    """

    first: int
    last: int
    skipped: int = 0

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def range_of(lines: str | None) -> Range | None:
    """Return the lines that an argument names.

    >>> range_of("12-60"), range_of("7"), range_of("61+20000-120")
    (Range(first=12, last=60, skipped=0), Range(first=7, last=7, skipped=0), \
Range(first=61, last=120, skipped=20000))

    Raises:
        ValueError: It names none.
    """
    if not lines:
        return None
    found = _RANGE.fullmatch(lines.strip())
    if not found:
        raise ValueError(f"lines {lines[:40]!r} are not FIRST-LAST, as in 12-60")
    first, skipped, dash, last = found.groups()
    return Range(int(first), int(last or (LAST if dash else first)), int(skipped or 0))


def read_part(
    body: Mapping[str, Any], asked_id: str, asked: Range | None, url: str
) -> dict[str, Any]:
    """Return what there is room for of the lines that `/v1/documents` answered.

    Args:
        asked_id: The id that was asked for, of a document or of lines of it.
        asked: The lines that were asked for beside the id.
        url: Address of the document.
    """
    begin, end = body["lines"]
    if asked is None and asked_id == body["id"]:
        asked = Range(begin, LAST)
    skipped = asked.skipped if asked else 0
    text = body["text"][skipped:]
    metadata, note = _metadata(body["metadata"])
    last = min(asked.last, body["total_lines"]) if asked else end

    def build(characters: int) -> dict[str, Any]:
        kept, through, rest = _beginning(text, characters, begin, skipped)
        if not rest and through < last:
            rest = f"{through + 1}"
        return {
            "id": f"{body['id']}:{begin}-{through}",
            "title": (body["title"] or body["id"])[:TITLE],
            "text": marked(kept),
            "url": url,
            "metadata": metadata,
            "lines": [begin, through],
            "total_lines": body["total_lines"],
            **({"next": f"{rest}-{last}"} if rest else {}),
            **({"note": note} if note else {}),
        }

    answer: dict[str, Any] = longest(build, min(FETCHED, len(text)))[0]
    return answer


def _beginning(text: str, characters: int, line: int, skipped: int) -> tuple[str, int, str]:
    """Return the beginning of a text, its last line, and where the rest begins, if there is any.

    It ends with a line, unless its first line alone is longer.
    """
    if len(text) <= characters:
        return text, line + text.count("\n"), ""
    # A line feed directly behind belongs to the part.
    cut = text.rfind("\n", 0, characters + 1)
    if cut < 0:
        return text[:characters], line, f"{line}+{skipped + characters}"
    through = line + text.count("\n", 0, cut)
    return text[:cut], through, f"{through + 1}"


def _metadata(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the metadata that there is room for, and a note of what is left out."""
    kept: dict[str, Any] = {}
    left_out = []
    for name, value in metadata.items():
        if size({**kept, name: value}) <= METADATA:
            kept[name] = value
        else:
            left_out.append(name[:40])
    shown = ", ".join(left_out[:10])
    return kept, f"metadata too long to show: {shown}" if left_out else ""
