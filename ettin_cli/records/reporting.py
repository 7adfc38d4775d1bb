"""How library functions report progress and notices to their caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


Share = Callable[[], float | None]


Note = Callable[[], str]


def no_progress(_done: int) -> None:
    """Do nothing: the default progress callback."""


class Reporter(Protocol):
    """Receives a library function's messages and progress."""

    def notice(self, message: str) -> None:
        """Show a message that matters for the result."""
        ...

    def detail(self, message: str) -> None:
        """Show what was chosen and why; displayed with -v."""
        ...

    def track(
        self,
        label: str,
        total: int | None,
        unit: str,
        share: Share | None = None,
        note: Note | None = None,
    ) -> AbstractContextManager[Advance]:
        """Show the progress of a long operation; call the value with the number of new units done.

        Args:
            share: Returns the completed share of the work, if `total` is unknown.
            note: Returns a remark on the work so far.
        """
        ...


class Silence:
    """A reporter that discards everything."""

    def notice(self, message: str) -> None:
        """Discard the message."""

    def detail(self, message: str) -> None:
        """Discard the message."""

    @contextmanager
    def track(
        self,
        label: str,
        total: int | None,
        unit: str,
        share: Share | None = None,
        note: Note | None = None,
    ) -> Iterator[Advance]:
        """Show nothing."""
        yield no_progress
