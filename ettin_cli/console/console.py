"""Where results, progress and remarks go: results to stdout, all else to stderr."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ettin_cli.console.inert import inert_line
from ettin_cli.console.progress import bar, ticker, untracked
from ettin_cli.console.streams import Shown, say
from ettin_cli.console.words import count
from ettin_cli.errors import EttinError, OutputError, UsageError
from ettin_cli.export import format_for, output_file, write_answers
from ettin_cli.records import Advance, Answer

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

PIPED_WIDTH = 80
UNWRAPPED = 100_000
# Narrower terminals wrap lines themselves.
LEAST_WIDTH = 32
LEAST_FOLDED = 24
GAP = 2


class Console:
    """Where a command's results, progress and remarks go; a `Reporter` for the library.

    Args:
        color: auto (a terminal, and no NO_COLOR), always or never.
        quiet: No progress and no summary.
        verbose: Also tell what was chosen and why.
    """

    def __init__(self, *, color: str = "auto", quiet: bool = False, verbose: bool = False) -> None:
        self.color, self.quiet, self.verbose = color, quiet, verbose

    @property
    def colored(self) -> bool:
        """Whether a terminal is to be written to in colour."""
        return {"always": True, "never": False}.get(self.color, not os.environ.get("NO_COLOR"))

    def notice(self, message: str) -> None:
        """Tell the user something that matters for the result."""
        say(f"ettin: {inert_line(message)}")

    def detail(self, message: str) -> None:
        """Tell what was chosen and why, if asked for."""
        if self.verbose:
            self.notice(message)

    def error(self, error: EttinError) -> None:
        """Say what failed and what to do."""
        say(f"ettin: error: {inert_line(error.problem)}")
        if error.hint:
            say(f"  hint: {inert_line(error.hint)}")

    def summary(self, message: str) -> None:
        """Tell what was done, unless the user wants quiet."""
        if not self.quiet:
            self.notice(message)

    def track(self, label: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        """Show how far long work is: a bar on a terminal, else a line every five seconds."""
        if self.quiet or not total:
            return untracked()
        if not sys.stderr.isatty():
            return ticker(label, total, unit)
        return bar(label, total, unit, colored=self.colored)

    def line(self, text: str) -> None:
        """Write a line of data."""
        say(text, sys.stdout)

    def json(self, value: object) -> None:
        """Write a value as indented JSON."""
        import orjson

        self.line(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())

    def rows(
        self,
        headers: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        right: str = "",
        folded: bool = False,
    ) -> None:
        """Write a small table: in a pipe a row is a line, on a terminal the last column wraps.

        Args:
            right: The headers of columns to align to the right, with spaces between.
            folded: Break long words of the last column too. Otherwise they stay whole, so that
                a path can be copied.
        """
        from rich.table import Table
        from rich.text import Text

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
                justify="right" if name in right.split() else "left",
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
        """Return stdout for rich output: plain, and of a width of its own, in a pipe."""
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
        refresh: str = "ettin index",
    ) -> None:
        """Write answers to a file or stdout; `auto` is a table on a terminal, JSONL in a pipe.

        Args:
            many: Whether there may be more answers than one.
            full_text: Show whole passages in a table rather than their best lines.
            refresh: The command that brings stale hits up to date.
        """
        format = destination(format, output)
        counted = self._counted(answers, many=many, refresh=refresh)
        if output is not None and str(output) != "-":
            with output_file(output) as file:
                self._write(counted, format, file, many=many, full_text=full_text)
            return
        stdout = cast(BinaryIO, Shown()) if sys.stdout.isatty() else sys.stdout.buffer
        self._write(counted, format, stdout, many=many, full_text=full_text)
        sys.stdout.flush()

    def _write(
        self, answers: Iterable[Answer], format: str, file: BinaryIO, *, many: bool, full_text: bool
    ) -> None:
        if format != "table":
            write_answers(answers, format, file, many=many)
            return
        from ettin_cli.console.table import print_answer

        for answer in answers:
            print_answer(self.terminal(), answer, titled=many, full_text=full_text)

    def _counted(self, answers: Iterable[Answer], *, many: bool, refresh: str) -> Iterator[Answer]:
        """Pass answers on, and say at the end what there was to them."""
        queries = hits = truncated = stale = 0
        seconds = 0.0
        last: Answer | None = None
        for answer in answers:
            queries, last = queries + 1, answer
            hits += len(answer.hits)
            truncated += sum(hit.truncated for hit in answer.hits)
            stale += sum(hit.stale for hit in answer.hits)
            seconds += answer.seconds.get("total", 0.0)
            yield answer
        if truncated:
            self.notice(f"{truncated:,} of {count(hits, 'text')} cut at the reranker's limit")
        if stale:
            self.notice(
                f"{stale:,} of {count(hits, 'hit')} stale: the file has changed or gone since it "
                f"was indexed; to refresh: {refresh}"
            )
        if last is None:
            self.notice("no queries")
        elif not hits:
            self.notice("no hits")
        else:
            self.summary(_summary(queries, hits, last, seconds, many=many, stages=self.verbose))


def destination(format: str, output: Path | None) -> str:
    """Return the format to write, once it is sure that it can go where it is to go.

    Raises:
        UsageError: There is no such format, or it does not go there.
        OutputError: There is no folder for the file.
    """
    format = format_for(output, format)
    if output is not None and str(output) != "-":
        if format == "table":
            raise UsageError("a table goes to the terminal", hint="name another format with -f")
        if output.is_dir():
            raise OutputError(f"cannot write {output}: it is a folder", hint="name a file with -o")
        if not output.parent.is_dir():
            raise OutputError(
                f"cannot write {output}: there is no folder {output.parent}",
                hint=f"mkdir -p {shlex.quote(str(output.parent))}",
            )
        return format
    on_terminal = sys.stdout.isatty()
    if format == "parquet" and on_terminal:
        raise UsageError("Parquet is no text for a terminal", hint="name a file with -o")
    return ("table" if on_terminal else "jsonl") if format == "auto" else format


def _summary(
    queries: int, hits: int, last: Answer, seconds: float, *, many: bool, stages: bool
) -> str:
    what = count(hits, "hit")
    if many:
        what += f" of {count(queries, 'query', 'queries')}"
    how = f"reranked by {last.reranker}" if last.reranker != "none" else "not reranked"
    times = ", ".join(f"{k} {v:.2f}" for k, v in last.seconds.items() if k != "total")
    return f"{what}, {how}, {seconds:.2f} s" + (f" ({times})" if stages and not many else "")


def _asked_width() -> int | None:
    """Return the width that COLUMNS asks for, if it is one."""
    columns = os.environ.get("COLUMNS", "")
    return int(columns) or None if columns.isdecimal() else None


def _least_width(cells: Sequence[Sequence[str]], *, folded: bool) -> int:
    """Return how narrow a table may be: its columns whole, and of the last one its words."""
    from rich.cells import cell_len

    *columns, last = zip(*cells, strict=True)
    words = [word for cell in last for word in cell.split()]
    widest = LEAST_FOLDED if folded else max(map(cell_len, words), default=0)
    return sum(max(map(cell_len, column)) + GAP for column in columns) + widest
