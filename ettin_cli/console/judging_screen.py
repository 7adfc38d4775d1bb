"""The screen that shows a document to judge, in a terminal of any size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ettin_cli.console.table import cut, flowing, marked, shortened_path
from ettin_cli.text import best_lines, inert

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

GRADES = {"0": "not relevant", "1": "marginally", "2": "relevant", "3": "highly relevant"}
ACTIONS = {"s": "skip", "n": "next query", "u": "undo", "t": "more text", "?": "help", "q": "quit"}
HELP = {
    "0": "not relevant: no answer in it",
    "1": "marginally: it touches the answer",
    "2": "relevant: it answers in part",
    "3": "highly relevant: it answers well",
    "s": "skip: shown again after the query's other documents",
    "n": "next query: this one is shown again at the end",
    "u": "undo the last key; repeatable",
    "t": "more text, page by page",
    "q": "quit; the same command resumes",
}
FEW_KEYS = {"0-3": "judge", "?": "help"}
TITLE_ROWS = 2
LEAST_ROOM = 4
QUERY_SHARE = 5
GAP = "  "
MORE = "…"


@dataclass(frozen=True, slots=True)
class ToJudge:
    """A document to judge for a query.

    Args:
        query: The query's text.
        place: The path or id shown to the judge.
        text: The text to judge.
    """

    query_id: str
    query: str
    doc_id: str
    title: str
    place: str
    text: str


class Sheet:
    """A document on a screen: a header, the pages of the text, and the keys.

    Args:
        progress: The progress of judging, in short phrases.
    """

    def __init__(self, console: Console, document: ToJudge, progress: Sequence[str]) -> None:
        from rich.text import Text

        self.console, self.document = console, document
        self.width, height = self.size = console.size
        self.text = _for_width(document.text.strip("\n"), self.width)
        self.query = self._wrapped(Text(single_line(document.query), style="bold"))
        shown = cut(self.query, max(1, height // QUERY_SHARE), self.width)
        above = flowed([Text(phrase, style="dim") for phrase in progress], self.width)
        self.head = [*above, *shown, Text(), *self._title_and_place()]
        # One row holds a message, and the last row of the screen stays free.
        room = height - 2 - len(self.head)
        full = [*key_rows(GRADES, self.width), *key_rows(ACTIONS, self.width)]
        self.foot = full if len(full) + LEAST_ROOM <= room else key_rows(FEW_KEYS, self.width)
        self.room = max(1, room - len(self.foot))
        self.query_cut = len(shown) < len(self.query)

    def rows(self, page: int, message: str) -> list[Text]:
        """Return the rows of the screen.

        Args:
            page: 0 shows the best lines, or all of the text if it fits; wraps around at the end.
            message: One line, shown above the keys.
        """
        from rich.text import Text

        lines, seen = self.page(page)
        gap = [Text()] * (self.room - len(lines))
        below = Text(message, style="dim")
        below.truncate(max(0, self.width - len(seen) - len(GAP)), overflow="ellipsis", pad=True)
        below = below + Text(GAP + seen, style="dim")
        return [*self.head, *lines, *gap, below, *self.foot][1 - self.size.height :]

    def page(self, number: int) -> tuple[list[Text], str]:
        """Return the lines of a page, and a label for them."""
        # A long text is laid out only when its pages are requested.
        if len(self.text) <= self.room * self.width and len(self.all_rows) <= self.room:
            return self.all_rows, "full text"
        pages = math.ceil(len(self.all_rows) / self.room) if number else 0
        if number := number % (pages + 1):
            start = (number - 1) * self.room
            return self.all_rows[start : start + self.room], f"text {number} of {pages}"
        return self._best(), "best lines"

    def _best(self) -> list[Text]:
        """Return the lines from the best one on; near the end of the text, also lines before it."""
        from rich.text import Text

        best = best_lines(self.text, self.document.query)
        line_start = sum(len(line) + 1 for line in self.text.split("\n")[: best.line])
        start = self.text.index(best.text.split("\n")[0], line_start)
        enough = (self.room + 1) * self.width
        lines = self._marked(self.text[start : start + enough])
        missing = self.room - len(lines)
        if missing > 0 and start:
            earlier = self._marked(self.text[max(0, start - enough) : start].rstrip())
            return [Text(MORE), *earlier[len(earlier) - missing + 1 :], *lines]
        if start:
            lines = self._marked(f"{MORE} {self.text[start : start + enough]}")
        return cut(lines, self.room, self.width)

    @cached_property
    def all_rows(self) -> list[Text]:
        """Return all lines of the text, preceded by the query if the header truncates it."""
        from rich.text import Text

        lines = self._marked(self.text)
        return [*self.query, Text(), *lines] if self.query_cut else lines

    def _title_and_place(self) -> list[Text]:
        """Return the title with the place at its right, or below it if both are long."""
        from rich.cells import cell_len
        from rich.text import Text

        title = Text(single_line(self.document.title), style="bold")
        place = single_line(self.document.place)
        if not title:
            return [Text(shortened_path(place, self.width), style="bold")]
        gap = self.width - title.cell_len - cell_len(place)
        if gap >= 2:
            return [title + Text(" " * gap) + Text(place, style="dim")]
        titles = cut(self._wrapped(title), TITLE_ROWS, self.width)
        return [*titles, Text(shortened_path(place, self.width), style="dim")]

    def _marked(self, text: str) -> list[Text]:
        return self._wrapped(marked(text, self.document.query))

    def _wrapped(self, text: Text) -> list[Text]:
        return list(text.wrap(self.console, self.width))


def key_rows(keys: Mapping[str, str], width: int) -> list[Text]:
    """Return keys with their actions, as many per row as fit."""
    from rich.text import Text

    return flowed([Text.assemble((key, "bold"), f" {does}") for key, does in keys.items()], width)


def flowed(phrases: Sequence[Text], width: int) -> list[Text]:
    """Return phrases side by side, as many per row as fit, without breaking any."""
    from rich.text import Text

    rows: list[Text] = []
    for phrase in phrases:
        if rows and rows[-1].cell_len + len(GAP) + phrase.cell_len <= width:
            rows[-1] = rows[-1] + Text(GAP) + phrase
        else:
            rows.append(phrase)
    return rows


def single_line(text: str) -> str:
    """Return an untrusted text, escaped and on one line."""
    return " ".join(inert(text).split())


def _for_width(text: str, width: int) -> str:
    """Return a text without line breaks that would leave rows short; code keeps its own."""
    return "\n\n".join(
        flowing(block) if _has_long_lines(block, width) else block for block in text.split("\n\n")
    )


def _has_long_lines(block: str, width: int) -> bool:
    lines = block.split("\n")
    indented = any(line[:1].isspace() for line in lines)
    return not indented and any(len(line) > width for line in lines)
