"""Judging of documents in the terminal, one at a time, with single keys."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.console.console import Console
from ettin_cli.console.judging_screen import (
    GRADES,
    HELP,
    Sheet,
    ToJudge,
    flowed,
    key_rows,
    single_line,
)
from ettin_cli.console.keyboard import END, Ask, keyboard
from ettin_cli.errors import EttinError
from ettin_cli.evaluation import Judgements

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.text import Text

QUIT = {"q", *END}

# The documents left to judge, in order, grouped by query.
Waiting = tuple[tuple[ToJudge, ...], ...]


@dataclass(frozen=True, slots=True)
class JudgingCounts:
    """The outcome of a session.

    Args:
        judged: Judgements of this session, without undone ones.
        left: Documents without a judgement.
    """

    judged: int
    left: int


def judge(
    items: Sequence[ToJudge], qrels: Path, *, console: Console, resume_command: str
) -> JudgingCounts:
    """Ask for judgements in the terminal, and return how many were made and how many are left.

    Each judgement is appended to `qrels` on disk before the next document is shown. Documents
    that the file judges already are skipped.

    Args:
        items: In the order to judge them; each document of a query once.
        resume_command: The command line that continues with the rest, shown to the user.

    Raises:
        EttinError: Standard input or output is not a terminal.
        CorpusError: `qrels` cannot be read or is not in TREC format.
        OutputError: `qrels` cannot be written.
    """
    from rich.console import Console as RichConsole

    for name, stream in (("input", sys.stdin), ("output", sys.stdout)):
        if not stream.isatty():
            raise EttinError(
                f"judging needs a terminal, but standard {name} is not one",
                hint="run the command by itself, without a pipe or a redirection",
            )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    no_color = True if console.color == "never" else None
    screen = RichConsole(no_color=no_color, highlight=False, markup=False, emoji=False)
    session = JudgingSession(items, Judgements(qrels), screen)
    if session.waiting:
        # Ctrl-C arrives as a key; a signal from another process ends the session likewise.
        with keyboard() as ask, screen.screen(), suppress(KeyboardInterrupt):
            session.run(ask)
    counts = session.counts()
    rest = f"{counts.left} left; to continue: {resume_command}" if counts.left else "none left"
    console.notice(f"{counts.judged} judged into {qrels}, {rest}")
    return counts


class JudgingSession:
    """The documents that wait for a judgement, and the action of each key.

    Keys of this session can be undone; judgements of an earlier session cannot.
    """

    def __init__(
        self, items: Sequence[ToJudge], judgements: Judgements, console: RichConsole
    ) -> None:
        self.judgements, self.console = judgements, console
        self.queries: dict[str, list[ToJudge]] = {}
        for item in items:
            self.queries.setdefault(item.query_id, []).append(item)
        self.waiting: Waiting = ()
        for of_query in self.queries.values():
            left = [item for item in of_query if (item.query_id, item.doc_id) not in judgements]
            self.waiting += (tuple(left),) if left else ()
        self.past: list[tuple[Waiting, int | None]] = []
        self.page, self.helping = 0, False
        self.message = "press 0 to 3, ? for help"
        self._sheet: Sheet | None = None

    def run(self, ask: Ask) -> None:
        """Show documents and handle keys, until one quits."""
        while (key := ask(self.show).lower()) not in QUIT:
            self.press(key)

    def press(self, key: str) -> None:
        """Handle a key."""
        self.message = ""
        if self.helping:
            self.helping = False
        elif key == "?":
            self.helping = True
        elif key == "u":
            self._undo()
        elif self.waiting and key == "t":
            self.page += 1
        elif self.waiting and key in GRADES:
            self._judge(int(key))
        elif self.waiting and key in ("s", "n"):
            self._put_off(entire_query=key == "n")
        else:
            self.message = "unknown key; ? shows the keys"

    def counts(self) -> JudgingCounts:
        """Return how many documents were judged, and how many are left."""
        judged = sum(relevance is not None for _, relevance in self.past)
        return JudgingCounts(judged, sum(map(len, self.waiting)))

    def show(self) -> None:
        """Draw the screen."""
        from rich.control import Control

        rows = self._help() if self.helping else self._document() if self.waiting else self._end()
        with self.console:
            self.console.control(Control.home(), Control.clear())
            for row in rows[: self.console.height - 1]:
                self.console.print(row, no_wrap=True, overflow="crop")

    def _judge(self, relevance: int) -> None:
        (document, *others), *rest = self.waiting
        self.judgements.add(document.query_id, document.doc_id, relevance)
        self._next((tuple(others), *rest) if others else tuple(rest), relevance)
        self.message = single_line(f"{_verdict(relevance)}: {document.title or document.doc_id}")

    def _put_off(self, *, entire_query: bool) -> None:
        first, *rest = self.waiting
        others = rest if entire_query else first[1:]
        if not others:
            self.message = f"the last {'query' if entire_query else 'document of this query'}"
        elif entire_query:
            self._next((*rest, first))
        else:
            self._next(((*first[1:], first[0]), *rest))

    def _next(self, waiting: Waiting, relevance: int | None = None) -> None:
        self.past.append((self.waiting, relevance))
        self.waiting, self.page = waiting, 0

    def _undo(self) -> None:
        if not self.past:
            self.message = "nothing to undo in this session"
            return
        waiting, relevance = self.past[-1]
        document = waiting[0][0]
        self.message = "undone"
        if relevance is not None:
            there = self.judgements.take_back(document.query_id, document.doc_id, relevance)
            self.message += f": {_verdict(relevance)}" if there else ", but not in the file"
        self.past.pop()
        self.waiting, self.page = waiting, 0

    def _document(self) -> list[Text]:
        document = self.waiting[0][0]
        sheet = self._sheet
        if sheet is None or (sheet.document, sheet.size) != (document, self.console.size):
            sheet = self._sheet = Sheet(self.console, document, self._progress(document))
        return sheet.rows(self.page, self.message)

    def _progress(self, document: ToJudge) -> list[str]:
        of_query = self.queries[document.query_id]
        return [
            f"query {[*self.queries].index(document.query_id) + 1} of {len(self.queries)}",
            f"document {of_query.index(document) + 1} of {len(of_query)}",
            self._judged(),
        ]

    def _judged(self) -> str:
        total = sum(map(len, self.queries.values()))
        return f"{total - self.counts().left} of {total} judged"

    def _help(self) -> list[Text]:
        from rich.text import Text

        keys = [key_rows({key: does}, self.console.width)[0] for key, does in HELP.items()]
        return [
            *flowed([Text("How well does it answer the query?", style="bold")], self.console.width),
            Text(),
            *keys[: len(GRADES)],
            Text(),
            *keys[len(GRADES) :],
            Text(),
            Text("press any key to go back", style="dim"),
        ]

    def _end(self) -> list[Text]:
        from rich.text import Text

        return [
            Text(self._judged(), style="bold"),
            Text(),
            Text(self.message, style="dim"),
            *key_rows({"u": "undo", "q": "quit"}, self.console.width),
        ]


def _verdict(relevance: int) -> str:
    return f"{relevance} {GRADES[str(relevance)]}"
