"""Where results, progress and remarks go: results to stdout, all else to stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ettin_cli.errors import EttinError
from ettin_cli.export import format_for, output_file, write_answers
from ettin_cli.inert import inert
from ettin_cli.records import Advance, Answer, Share

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

PLAIN_PROGRESS_S = 5.0
PIPED_WIDTH = 80
UNWRAPPED = 100_000


class Console:
    """Where a command's results, progress and remarks go; a `Reporter` for the library.

    Args:
        color: auto (a terminal, and no NO_COLOR), always or never.
        quiet: No progress.
        verbose: Also tell what was chosen and why.
    """

    def __init__(self, *, color: str = "auto", quiet: bool = False, verbose: bool = False) -> None:
        self.color, self.quiet, self.verbose = color, quiet, verbose

    def notice(self, message: str) -> None:
        """Tell the user something that matters for the result."""
        _say(f"ettin: {inert(message)}")

    def detail(self, message: str) -> None:
        """Tell what was chosen and why, if asked for."""
        if self.verbose:
            self.notice(message)

    def error(self, error: EttinError) -> None:
        """Say what failed and what to do."""
        _say(f"ettin: error: {inert(error.problem)}")
        if error.hint:
            _say(f"  hint: {inert(error.hint)}")

    def track(
        self, label: str, total: int | None, unit: str, share: Share | None = None
    ) -> AbstractContextManager[Advance]:
        """Show how far long work is: a bar on a terminal, else a line every five seconds."""
        if self.quiet or total == 0:
            return _untracked()
        pace = Pace(total, unit, share)
        return _bar(label, pace) if sys.stderr.isatty() else _ticker(label, pace)

    def line(self, text: str) -> None:
        """Write a line of data."""
        with quietly_closed():
            _say(text, sys.stdout)

    def json(self, value: object) -> None:
        """Write a value as indented JSON."""
        import orjson

        self.line(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())

    def rows(
        self, headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: str = ""
    ) -> None:
        """Write a small table.

        Args:
            right: The headers of columns to align to the right, with spaces between.
        """
        from rich.table import Table
        from rich.text import Text

        table = Table(
            box=None,
            pad_edge=False,
            padding=(0, 2, 0, 0),
            header_style="bold",
            show_header=any(headers),
        )
        for name in headers:
            justify = "right" if name in right.split() else "left"
            table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for row in rows:
            table.add_row(*(Text(inert(cell)) for cell in row))
        # In a pipe a row is a line, however long.
        terminal = self.terminal(piped_width=UNWRAPPED)
        with terminal.capture() as captured:
            terminal.print(table)
        for line in captured.get().splitlines():
            self.line(line.rstrip())

    def terminal(self, piped_width: int = PIPED_WIDTH) -> RichConsole:
        """Return stdout for rich output: plain, and of a width of its own, in a pipe."""
        from rich.console import Console as RichConsole

        on_terminal = sys.stdout.isatty()
        colored = {"always": True, "never": False}.get(self.color)
        if colored is None:
            colored = on_terminal and not os.environ.get("NO_COLOR")
        width = None if on_terminal else int(os.environ.get("COLUMNS", piped_width))
        return RichConsole(
            file=sys.stdout,
            force_terminal=colored,
            no_color=not colored,
            width=width,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
        )

    def answers(
        self,
        answers: Iterable[Answer],
        *,
        format: str,
        output: Path | None,
        many: bool,
        full_text: bool = False,
        text: bool = True,
    ) -> None:
        """Write answers to a file or stdout; `auto` is a table on a terminal, JSONL in a pipe."""
        format = format_for(output, format)
        tally = Tally(many=many)
        counted = tally.watch(answers)
        if format == "auto":
            format = "table" if sys.stdout.isatty() else "jsonl"
        if format != "table" and output is not None and str(output) != "-":
            with output_file(output) as file:
                write_answers(counted, format, file, many=many, text=text)
        else:
            with quietly_closed():
                if format == "table":
                    self._print(counted, output, many=many, full_text=full_text)
                else:
                    write_answers(counted, format, sys.stdout.buffer, many=many, text=text)
                sys.stdout.flush()
        self.tell(tally)

    def tell(self, tally: Tally) -> None:
        """Say what there was to the answers."""
        for message in tally.warnings():
            self.notice(message)
        if not tally.hits:
            self.notice("no hits")
        elif not self.quiet:
            self.notice(tally.summary())

    def _print(
        self, answers: Iterable[Answer], output: Path | None, *, many: bool, full_text: bool
    ) -> None:
        from ettin_cli.console.table import print_answer

        if output is not None and str(output) != "-":
            raise EttinError("a table goes to the terminal", hint="name another format with -f")
        for answer in answers:
            print_answer(self.terminal(), answer, titled=many, full_text=full_text)


class Tally:
    """Counts answers as they pass.

    Args:
        many: Whether there may be several queries.
    """

    def __init__(self, *, many: bool) -> None:
        self.many = many
        self.queries = self.hits = self.truncated = self.stale = 0
        self.seconds = 0.0
        self.last: Answer | None = None
        self.began = time.monotonic()

    def watch(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """Pass answers on."""
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

    def warnings(self) -> Iterator[str]:
        """Yield what to know of the hits."""
        if self.truncated:
            yield f"{self.truncated} of {self.hits} texts were cut at the reranker's limit"
        if self.stale:
            yield f"{self.stale} of {self.hits} hits have changed or gone since: ettin index"

    def summary(self) -> str:
        """Return in a line how much was found, by what, and how long it took."""
        last = self.last
        reranked = last is not None and last.reranker != "none"
        how = f"reranked by {last.reranker}" if last and reranked else "not reranked"
        stages = last.seconds if last else {}
        seconds = self.seconds if stages else time.monotonic() - self.began
        if self.many:
            return f"{self.hits:,} hits of {self.queries:,} queries · {how} · {seconds:.2f} s"
        told = ", ".join(f"{name} {value:.2f}" for name, value in stages.items() if name != "total")
        hits = f"{self.hits} hit{'s' * (self.hits != 1)}"
        return f"{hits} · {how} · {seconds:.2f} s ({told})"


def _say(text: str, stream: TextIO | None = None) -> None:
    stream = stream or sys.stderr
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


@contextmanager
def _untracked() -> Iterator[Advance]:
    yield lambda done: None


class Pace:
    """How far work is, how fast it goes, and how long it will take.

    Args:
        total: Units in all; None if that is not known.
        share: Tells which share of the work is done, where `total` is not known.
    """

    def __init__(self, total: int | None, unit: str, share: Share | None = None) -> None:
        self.total, self.unit, self.tell_share = total, unit, share
        self.done = 0
        self.began = time.monotonic()

    @property
    def share(self) -> float | None:
        """Return the share of the work that is done, if it can be told."""
        if self.total:
            return self.done / self.total
        return self.tell_share() if self.tell_share else None

    def __str__(self) -> str:
        elapsed = max(time.monotonic() - self.began, 1e-9)
        count = f"{self.done:,}" + (f" of {self.total:,}" if self.total else "")
        told = f"{count} {self.unit}, {self.done / elapsed:,.1f}/s"
        share = self.share
        return f"{told}, {elapsed / share - elapsed:,.0f} s left" if share else told


@contextmanager
def _bar(label: str, pace: Pace) -> Iterator[Advance]:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=RichConsole(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None if pace.share is None else 1, pace="")

        def advance(more: int) -> None:
            pace.done += more
            progress.update(task, completed=pace.share or 0, pace=str(pace))

        yield advance


@contextmanager
def _ticker(label: str, pace: Pace) -> Iterator[Advance]:
    said = pace.began

    def advance(more: int) -> None:
        nonlocal said
        pace.done += more
        now = time.monotonic()
        if now - said >= PLAIN_PROGRESS_S and 0 < pace.done != pace.total:
            said = now
            _say(f"ettin: {label}: {pace}")

    yield advance


@contextmanager
def quietly_closed() -> Iterator[None]:
    """End the command well, without a word, when the reader of a pipe has gone."""
    try:
        yield
    except BrokenPipeError:
        # What is still buffered would be complained of as the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
