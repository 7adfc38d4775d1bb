"""Output of results to stdout, and of progress, notices and errors to stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ettin_cli.console.progress import TaskProgress, bar, step_aside, ticker, untracked
from ettin_cli.console.streams import EscapedStdout, write_line
from ettin_cli.console.units import count
from ettin_cli.errors import OutputError, UsageError
from ettin_cli.files import check_folder_of, output_errors, output_file
from ettin_cli.files.writers import (
    AUTO,
    JSONL,
    RUN_NAME,
    TABLE,
    BinaryWriter,
    find_writer,
    format_for,
    write_answers,
)
from ettin_cli.platforms import is_folder
from ettin_cli.records import Advance, Answer, Note, Share, Stage
from ettin_cli.text import inert_line

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

PIPED_WIDTH = 80
UNWRAPPED = 100_000
# Narrower terminals wrap lines themselves.
LEAST_WIDTH = 32
LEAST_FOLDED = 24
GAP = 2


class Console:
    """The output of a command: results, progress and notices; a `Reporter` for the library.

    Args:
        color: auto (on a terminal, unless NO_COLOR is set), always or never.
        quiet: Hide progress and summaries.
        verbose: Also report what was chosen and why.
    """

    def __init__(self, *, color: str = "auto", quiet: bool = False, verbose: bool = False) -> None:
        self.color, self.quiet, self.verbose = color, quiet, verbose

    @property
    def colored(self) -> bool:
        """Whether output to a terminal is coloured."""
        return {"always": True, "never": False}.get(self.color, not os.environ.get("NO_COLOR"))

    def notice(self, message: str) -> None:
        """Print a message that matters for the result."""
        write_line(f"ettin: {inert_line(message)}")

    def detail(self, message: str) -> None:
        """Print what was chosen and why, with --verbose."""
        if self.verbose:
            self.notice(message)

    def error(self, problem: str, hint: str | None = None) -> None:
        """Print what failed and what to do about it."""
        write_line(f"ettin: error: {inert_line(problem)}")
        if hint:
            write_line(f"  hint: {inert_line(hint)}")

    def summary(self, message: str) -> None:
        """Print what was done, unless --quiet."""
        if not self.quiet:
            self.notice(message)

    def track(
        self,
        label: str,
        total: int | None,
        unit: str,
        share: Share | None = None,
        note: Note | None = None,
    ) -> AbstractContextManager[Advance]:
        """Show the progress of long work: a bar on a terminal, else a line every five seconds."""
        if self.quiet or total == 0:
            return untracked()
        pace = TaskProgress(total, unit, share, note)
        if not sys.stderr.isatty():
            return ticker(label, pace)
        return bar(label, pace, colored=self.colored)

    def line(self, text: str) -> None:
        """Write a line of data."""
        write_line(text, sys.stdout)

    def json(self, value: object) -> None:
        """Write a value as indented JSON."""
        import orjson

        self.line(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())

    def rows(
        self,
        headers: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        right: str | Sequence[str] = "",
        folded: bool = False,
    ) -> None:
        """Write a small table: in a pipe each row is a line, on a terminal the last column wraps.

        Args:
            right: Headers of right-aligned columns; in a string, separated by spaces.
            folded: Also break long words of the last column. Otherwise they are kept in one piece,
                so that a path can be copied.
        """
        from rich.table import Table
        from rich.text import Text

        aligned = right.split() if isinstance(right, str) else right
        table = Table(
            box=None,
            pad_edge=False,
            padding=(0, GAP, 0, 0),
            header_style="bold",
            show_header=any(headers),
        )
        for number, name in enumerate(headers):
            table.add_column(
                name,
                justify="right" if name in aligned else "left",
                overflow="fold",
                no_wrap=number < len(headers) - 1,
            )
        shown = [[inert_line(cell) for cell in row] for row in rows]
        for row in shown:
            table.add_row(*map(Text, row))
        terminal = self.terminal(piped_width=UNWRAPPED)
        terminal.width = max(terminal.width, _least_width([headers, *shown], folded=folded))
        with terminal.capture() as captured:
            terminal.print(table)
        for line in captured.get().rstrip("\n").split("\n"):
            self.line(line.rstrip())

    def terminal(self, piped_width: int = PIPED_WIDTH) -> RichConsole:
        """Return stdout for rich output; in a pipe it is plain and `piped_width` wide."""
        from rich.console import Console as RichConsole

        on_terminal = sys.stdout.isatty()
        colored = self.colored and (on_terminal or self.color == "always")
        terminal = RichConsole(
            file=sys.stdout,
            force_terminal=colored,
            no_color=not colored,
            width=None if on_terminal else _asked_width() or piped_width,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
        )
        terminal.width = max(LEAST_WIDTH, terminal.width)
        return terminal

    def answers(
        self,
        answers: Iterable[Answer],
        *,
        format: str,
        output: Path | None,
        many: bool,
        full_text: bool = False,
        text: bool = True,
        tag: str = RUN_NAME,
        refresh: str = "ettin index",
    ) -> None:
        """Write answers to a file or stdout; `auto` is a table on a terminal, JSONL in a pipe.

        Args:
            many: Whether there may be more than one answer.
            full_text: Show full passages in a table, not just their best lines.
            text: Whether hits include their text.
            tag: The name of a TREC run.
            refresh: The command that updates stale hits.
        """
        format = destination(format, output)
        tally = Tally(many=many, refresh=refresh)
        counted = tally.watch(answers)
        if output is not None and str(output) != "-":
            with output_file(output) as file:
                write_answers(counted, format, file, many=many, text=text, tag=tag)
        elif format == TABLE:
            self._print(_unhindered(counted), many=many, full_text=full_text)
        else:
            stdout = cast(BinaryIO, EscapedStdout()) if sys.stdout.isatty() else sys.stdout.buffer
            write_answers(_unhindered(counted), format, stdout, many=many, text=text, tag=tag)
        sys.stdout.flush()
        self.report(tally)

    def report(self, tally: Tally) -> None:
        """Print warnings and a summary for the answers just written."""
        for message in tally.warnings():
            self.notice(message)
        if tally.last is None:
            self.notice("no queries")
        elif not tally.hits:
            self.notice("no hits")
        else:
            self.summary(tally.summary(stages=self.verbose))

    def _print(self, answers: Iterable[Answer], *, many: bool, full_text: bool) -> None:
        from ettin_cli.console.table import print_answer

        for answer in answers:
            print_answer(self.terminal(), answer, titled=many, full_text=full_text)


def _unhindered(answers: Iterable[Answer]) -> Iterator[Answer]:
    """Yield answers, removing progress bars while each is printed."""
    for answer in answers:
        step_aside()
        yield answer
        sys.stdout.flush()


class Tally:
    """Counts answers as they pass.

    Args:
        many: Whether there may be several queries.
        refresh: The command that updates stale hits.
    """

    def __init__(self, *, many: bool, refresh: str = "ettin index") -> None:
        self.many, self.refresh = many, refresh
        self.queries = self.hits = self.truncated = self.stale = 0
        self.seconds = 0.0
        self.last: Answer | None = None
        self.stages: list[Stage] = []
        self.began = time.monotonic()

    def watch(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """Yield the answers while counting them."""
        for answer in answers:
            self.add(answer)
            yield answer

    def add(self, answer: Answer) -> None:
        """Count an answer."""
        self.queries, self.last = self.queries + 1, answer
        self.hits += len(answer.hits)
        self.truncated += sum(hit.truncated for hit in answer.hits)
        self.stale += sum(hit.stale for hit in answer.hits)
        self.seconds += answer.seconds.get("total", 0.0)
        before = self.stages or [replace(stage, scored=0, kept=0) for stage in answer.stages]
        self.stages = [
            replace(earlier, scored=earlier.scored + more.scored, kept=earlier.kept + more.kept)
            for earlier, more in zip(before, answer.stages, strict=True)
        ]

    def warnings(self) -> Iterator[str]:
        """Yield warnings about truncated and stale hits."""
        if self.truncated:
            texts = count(self.hits, "text")
            yield f"{self.truncated:,} of {texts} truncated at the reranker's token limit"
        if self.stale:
            yield (
                f"{self.stale:,} of {count(self.hits, 'hit')} stale: the file was changed or "
                f"deleted since it was indexed; to update: {self.refresh}"
            )

    def summary(self, *, stages: bool) -> str:
        """Return a line with the number of hits, the reranker and the time.

        Args:
            stages: Whether to add the time of each stage of a single query.
        """
        what = count(self.hits, "hit")
        if self.many:
            what += f" of {count(self.queries, 'query', 'queries')}"
        reranked = self.last is not None and self.last.reranker != "none"
        blend = f" (blend {self.last.blend:g})" if self.last and self.last.blend else ""
        how = f"reranked by {self._by()}{blend}" if reranked else "not reranked"
        took = self.last.seconds if self.last else {}
        seconds = self.seconds if took else time.monotonic() - self.began
        times = ", ".join(f"{k} {v:.2f}" for k, v in took.items() if k != "total")
        timing = f" ({times})" if stages and times and not self.many else ""
        return f"{what}, {how}, {seconds:.2f} s{timing}"

    def _by(self) -> str:
        """Return the reranker; for a cascade, all with the number of passages each kept."""
        *first, last = [stage.reranker for stage in self.stages] or [
            self.last.reranker if self.last else ""
        ]
        steps = [
            f"{name} ({stage.kept:,} of {stage.scored:,} kept)"
            for name, stage in zip(first, self.stages, strict=False)
        ]
        return ", then by ".join([*steps, last])


def destination(format: str, output: Path | None) -> str:
    """Return the format to write, after checking that the output can hold it.

    Raises:
        UsageError: The format is unknown, or cannot be written there.
        OutputError: The output is a folder, or the folder of the file does not exist or cannot be
            looked into.
    """
    format = format_for(output, format)
    if output is not None and str(output) != "-":
        if format == TABLE:
            raise UsageError(
                "a table cannot be written to a file", hint="choose a different format with -f"
            )
        with output_errors(output):
            if is_folder(output):
                raise OutputError(f"cannot write {output}: it is a folder", hint="-o FILE")
        check_folder_of(output)
        return format
    on_terminal = sys.stdout.isatty()
    if on_terminal and isinstance(find_writer(format), BinaryWriter):
        what = f"{format.capitalize()} is binary and cannot be printed to a terminal"
        raise UsageError(what, hint="-o FILE")
    return (TABLE if on_terminal else JSONL.name) if format == AUTO else format


def _asked_width() -> int | None:
    """Return the width in COLUMNS, if it is a number above 0."""
    columns = os.environ.get("COLUMNS", "")
    return int(columns) or None if columns.isdecimal() else None


def _least_width(cells: Sequence[Sequence[str]], *, folded: bool) -> int:
    """Return the minimum width of a table: its columns, and the longest word of the last one."""
    from rich.cells import cell_len

    *columns, last = zip(*cells, strict=True)
    words = [word for cell in last for word in cell.split()]
    widest = LEAST_FOLDED if folded else max(map(cell_len, words), default=0)
    return sum(max(map(cell_len, column)) + GAP for column in columns) + widest
