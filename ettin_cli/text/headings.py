"""The headings of a document, and those above each of its lines. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from ettin_cli.records import Document, Heading

# A longer line is not a heading, whatever its marks.
MOST_CHARACTERS = 200

FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1+\s*$")
MARKDOWN_HEADING = re.compile(r" {0,3}(#{1,6})\s")
_CLOSING_MARKS = re.compile(r"(?:^|[ \t])#+\s*$|\s*\{[#.:][^{}]*\}\s*$")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_EMPHASIS = re.compile(r"[*`]+|(?<!\w)_+|_+(?!\w)")


class Outline:
    """The headings above each line of a document, without its title.

    Args:
        lines: The lines of its text.
    """

    def __init__(self, document: Document, lines: Sequence[str]) -> None:
        headings = document.headings or tuple(_headings(document, lines))
        self.headings = headings
        self._lines = [heading.line for heading in headings]
        title = plain(document.title)
        # The headings above each heading, and these with the heading itself.
        self._above: list[tuple[int, ...]] = []
        self._with: list[tuple[int, ...]] = []
        self.texts = [plain(heading.text) for heading in headings]
        open_: list[int] = []
        for number, heading in enumerate(headings):
            while open_ and headings[open_[-1]].level >= heading.level:
                open_.pop()
            self._above.append(tuple(open_))
            if self.texts[number] != title and 0 < len(self.texts[number]) <= MOST_CHARACTERS:
                open_.append(number)
            self._with.append(tuple(open_))

    def above(self, line: int) -> tuple[int, ...]:
        """Return the numbers of the headings above a line, outermost first.

        If the line is a heading, those that enclose it.
        """
        at = bisect_left(self._lines, line)
        if at < len(self._lines) and self._lines[at] == line:
            return self._above[at]
        return self._with[at - 1] if at else ()


def plain(heading: str) -> str:
    """Return a heading as it is read, without marks.

    >>> plain("The **relief** valve, see [here](a.md) #")
    'The relief valve, see here'
    """
    text = _LINK.sub(r"\1", _CLOSING_MARKS.sub("", heading))
    return " ".join(_EMPHASIS.sub("", text).split())


def _headings(document: Document, lines: Sequence[str]) -> Iterator[Heading]:
    if document.kind == "markdown":
        return _of_markdown(lines)
    return _of_rst(lines) if document.kind == "rst" else iter(())


def _of_markdown(lines: Sequence[str]) -> Iterator[Heading]:
    fence, paragraph = "", 0
    for number, line in enumerate(lines):
        mark = FENCE.match(line)
        if fence:
            fence = "" if mark and mark.group(1).startswith(fence) else fence
        elif mark:
            fence = mark.group(1)
        elif heading := MARKDOWN_HEADING.match(line):
            yield Heading(number, len(heading.group(1)), line[heading.end() :].strip())
        elif paragraph == 1 and line.strip(" ") and not line.strip(" =").strip():
            yield Heading(number - 1, 1, lines[number - 1].strip())
        elif paragraph == 1 and len(line.strip()) > 1 and not line.strip().strip("-"):
            yield Heading(number - 1, 2, lines[number - 1].strip())
        elif line.strip():
            paragraph += 1
            continue
        paragraph = 0


def _of_rst(lines: Sequence[str]) -> Iterator[Heading]:
    """Yield underlined titles; the level of an adornment is the order in which it appeared."""
    levels: dict[tuple[str, bool], int] = {}
    for number in range(1, len(lines)):
        title, under = lines[number - 1].strip(), lines[number].rstrip()
        mark = UNDERLINE.match(under)
        if not mark or not title or len(under) < len(title) or UNDERLINE.match(title):
            continue
        before = lines[number - 2].rstrip() if number > 1 else ""
        over = before == under
        if before and not over:
            # The last line of a paragraph, a table or a list.
            continue
        level = levels.setdefault((mark.group(1), over), len(levels) + 1)
        yield Heading(number - 2 if over else number - 1, level, title)
