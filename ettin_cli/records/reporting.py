"""How library functions report progress and notices to their caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


Share = Callable[[], float | None]


Note = Callable[[], str]


def no_progress(_done: int) -> None:
    """Take note of nothing: the default where nobody watches."""


class Reporter(Protocol):
    """Where a library function tells its caller how things go."""

    def notice(self, message: str) -> None:
        """Tell the user something that matters for the result."""
        ...

    def detail(self, message: str) -> None:
        """Tell what was chosen and why, for those who asked with -v."""
        ...

    def track(
        self,
        label: str,
        total: int | None,
        unit: str,
        share: Share | None = None,
        note: Note | None = None,
    ) -> AbstractContextManager[Advance]:
        """Watch long work; the value is called with how many units were just done.

        Args:
            share: Where `total` is not known beforehand: tells which share of the work is done.
            note: Tells what else there is to say of the work so far.
        """
        ...


class Silence:
    """A reporter for callers who want results alone."""

    def notice(self, message: str) -> None:
        """Drop the message."""

    def detail(self, message: str) -> None:
        """Drop the message."""

    @contextmanager
    def track(
        self,
        label: str,
        total: int | None,
        unit: str,
        share: Share | None = None,
        note: Note | None = None,
    ) -> Iterator[Advance]:
        """Watch nothing."""
        yield no_progress
