"""How far long work is, on a terminal and in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ettin_cli.console.streams import say
from ettin_cli.console.words import duration, rate
from ettin_cli.records import Advance

PLAIN_PROGRESS_S = 5.0
BAR_WIDTH = 24
ROOMY = 60


@contextmanager
def untracked() -> Iterator[Advance]:
    """Show nothing."""
    yield lambda done: None


@contextmanager
def bar(label: str, total: int, unit: str, *, colored: bool) -> Iterator[Advance]:
    """Show a bar, with rate and time left, which goes away when the work is done."""
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.table import Column
    from rich.text import Text

    console = RichConsole(stderr=True, no_color=not colored)
    roomy = console.width >= ROOMY

    class Figures(ProgressColumn):
        def render(self, task: Task) -> Text:
            parts = [f"{int(task.completed):,} of {total:,}" + f" {unit}" * roomy]
            if task.speed and roomy:
                parts.append(rate(task.speed))
            if task.time_remaining is not None:
                parts.append(f"{duration(task.time_remaining)} left")
            return Text(", ".join(parts))

    whole = Column(no_wrap=True)
    columns = (
        TextColumn("{task.description}", table_column=whole),
        *([BarColumn(bar_width=BAR_WIDTH)] if roomy else []),
        Figures(table_column=whole),
    )
    # What is written to stdout meanwhile stays on stdout.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.advance(task, done)


@contextmanager
def ticker(label: str, total: int, unit: str) -> Iterator[Advance]:
    """Write a line every five seconds, as a log can keep."""
    began = said = time.monotonic()
    done = 0

    def advance(more: int) -> None:
        nonlocal done, said
        done += more
        now = time.monotonic()
        if now - said < PLAIN_PROGRESS_S or not 0 < done < total:
            return
        said = now
        speed = done / (now - began)
        left = duration((total - done) / speed)
        say(f"ettin: {label}: {done:,} of {total:,} {unit}, {rate(speed)}, {left} left")

    yield advance
