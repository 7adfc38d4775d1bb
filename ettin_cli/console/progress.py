"""Progress of long work, on a terminal and in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ettin_cli.console.streams import write_line
from ettin_cli.console.units import duration, rate
from ettin_cli.records import Advance, Note, Share

PLAIN_PROGRESS_S = 5.0
BAR_WIDTH = 24
ROOMY = 60
_bars: list[Callable[[], None]] = []


def step_aside() -> None:
    """Remove progress bars until their work advances, so that results do not run into them."""
    for stop in _bars:
        stop()


@contextmanager
def untracked() -> Iterator[Advance]:
    """Show nothing."""
    yield lambda done: None


class TaskProgress:
    """The progress, rate and remaining time of work.

    Args:
        total: Number of units; None if unknown.
        share: Returns the share of the work that is done, if `total` is unknown.
        note: Returns a note to append.
    """

    def __init__(
        self, total: int | None, unit: str, share: Share | None = None, note: Note | None = None
    ) -> None:
        self.total, self.unit, self._read_share, self._read_note = total, unit, share, note
        self.done = 0
        self.began = time.monotonic()

    @property
    def share(self) -> float | None:
        """The share of the work that is done, if known."""
        if self.total:
            return self.done / self.total
        share = self._read_share() if self._read_share else None
        # Rounding may push the sum of parts above 1.
        return None if share is None else min(share, 1.0)

    @property
    def note(self) -> str | None:
        """The note on the work so far, if there is one."""
        return self._read_note() if self._read_note else None

    def describe(self, *, roomy: bool = True) -> str:
        """Return the progress as text; if not `roomy`, without unit and rate."""
        elapsed = time.monotonic() - self.began
        count = f"{self.done:,} of {self.total:,}" if self.total else f"{self.done:,}"
        parts = [count + f" {self.unit}" * roomy]
        share = self.share
        if self.done and elapsed > 0 and roomy:
            parts.append(rate(self.done / elapsed))
        if share:
            parts.append(f"{duration(elapsed / share - elapsed)} left")
        if note := self.note:
            parts.append(note)
        return ", ".join(parts)


@contextmanager
def bar(label: str, pace: TaskProgress, *, colored: bool) -> Iterator[Advance]:
    """Show a bar with rate and time left, removed when the work is done."""
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.table import Column
    from rich.text import Text

    console = RichConsole(stderr=True, no_color=not colored)
    roomy = console.width >= ROOMY

    class Figures(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(pace.describe(roomy=roomy))

    unwrapped = Column(no_wrap=True)
    columns = (
        TextColumn("{task.description}", table_column=unwrapped),
        *([BarColumn(bar_width=BAR_WIDTH)] if roomy else []),
        Figures(table_column=unwrapped),
    )
    # Output to stdout in the meantime stays on stdout.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(label, total=None if pace.share is None else 1)
        _bars.append(progress.stop)

        def advance(more: int) -> None:
            progress.start()
            pace.done += more
            share = pace.share
            progress.update(task, total=None if share is None else 1, completed=share or 0)

        try:
            yield advance
        finally:
            _bars.remove(progress.stop)


@contextmanager
def ticker(label: str, pace: TaskProgress) -> Iterator[Advance]:
    """Write a line every five seconds, for logs."""
    printed = pace.began

    def advance(more: int) -> None:
        nonlocal printed
        pace.done += more
        now = time.monotonic()
        begun = pace.done or pace.note
        if now - printed >= PLAIN_PROGRESS_S and begun and pace.done != pace.total:
            printed = now
            write_line(f"ettin: {label}: {pace.describe()}")

    yield advance
