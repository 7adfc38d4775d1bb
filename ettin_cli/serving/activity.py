"""How long a server has had nothing to do."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ettin_cli import platforms

# How often a server looks after itself while it waits.
TURN_S = 60.0


class Activity:
    """Counts the requests that are being answered, and knows when the last one ended.

    Args:
        clock: Returns seconds.

    Attributes:
        requests: How many have begun.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._busy, self._since = 0, clock()
        self.requests = 0

    def begin(self) -> None:
        """Note that a request begins."""
        with self._lock:
            self._busy += 1
            self.requests += 1

    def end(self) -> None:
        """Note that a request has ended."""
        with self._lock:
            self._busy -= 1
            self._since = self.clock()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Note that there is work to do in the block, for a request that was counted."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            self.end()

    def remaining(self, keep_alive: float) -> float:
        """Return how many seconds are left of `keep_alive` seconds without requests."""
        with self._lock:
            return keep_alive if self._busy else keep_alive - (self.clock() - self._since)

    @contextmanager
    def expiring(
        self, keep_alive: float, end: Callable[[], None], turn: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Call `end` if the block goes on for `keep_alive` seconds without requests.

        Args:
            keep_alive: Below 0: never.
            turn: Called about every minute.
        """
        over = threading.Event()
        with self._lock:
            self._since = self.clock()

        def wait() -> None:
            while True:
                left = TURN_S if keep_alive < 0 else self.remaining(keep_alive)
                if left <= 0:
                    end()
                    return
                if over.wait(min(left, TURN_S)):
                    return
                if turn:
                    turn()

        thread = threading.Thread(target=wait, name="keep-alive", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()


def end_process() -> None:
    """End this process as a signal does: after its requests."""
    if platforms.WINDOWS:
        # There os.kill would end the process at once.
        signal.raise_signal(signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)
