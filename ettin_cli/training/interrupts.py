"""SIGINT and SIGTERM, handled between updates of the weights."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from types import FrameType
from typing import Any, Self

from ettin_cli.errors import TERMINATED


class Interrupts:
    """Records signals that end the process; a second signal ends it immediately.

    A signal handled during an update would leave the weights half updated. The second signal may
    do so, and sets `at_once`.

    Args:
        launched: Whether a launcher started the process. It repeats signals that the terminal has
            sent already and kills processes that ignore them, so every signal counts as the first.
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
        """Raise if this process received a signal.

        Raises:
            KeyboardInterrupt: The signal was SIGINT.
            SystemExit: The signal was SIGTERM.
        """
        self.heed([self.noted])

    def heed(self, noted: Iterable[int | None]) -> None:
        """Raise if any of several processes received a signal.

        Raises:
            KeyboardInterrupt: The signal was SIGINT.
            SystemExit: The signal was SIGTERM.
        """
        for number in noted:
            if number is not None:
                self._end(number)

    @staticmethod
    def _end(number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(TERMINATED)
