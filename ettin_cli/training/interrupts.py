"""Ctrl-C and a polite kill, heeded where nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from types import FrameType
from typing import Any, Self

from ettin_cli.errors import TERMINATED


class Interrupts:
    """Notes that the process is to end; a second signal ends it at once.

    A signal that struck in the middle of an update of the weights would leave them half new; the
    second one may, and `at_once` tells of it.

    Args:
        launched: A launcher passes on what the terminal has sent already, and ends by itself
            what does not heed it; so every signal counts as the first.
    """

    def __init__(self, *, launched: bool = False) -> None:
        self.launched = launched
        self.noted: int | None = None
        self.at_once = False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.noted is not None and not self.launched:
            self.at_once = True
            self._end(number)
        self.noted = number

    def check(self) -> None:
        """End here if a signal came.

        Raises:
            KeyboardInterrupt: It was Ctrl-C's.
            SystemExit: It was a kill's.
        """
        self.heed([self.noted])

    def heed(self, noted: Iterable[int | None]) -> None:
        """End here if a signal came to any of several processes.

        Raises:
            KeyboardInterrupt: It was Ctrl-C's.
            SystemExit: It was a kill's.
        """
        for number in noted:
            if number is not None:
                self._end(number)

    @staticmethod
    def _end(number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(TERMINATED)
