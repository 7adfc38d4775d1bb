"""Objects loaded once and shared by all threads of their owner."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from ettin_cli.errors import ClosedError
from ettin_cli.runtime.closing import Closing
from ettin_cli.runtime.forks import Lock

T = TypeVar("T")


class Loaded(Closing):
    """Models and other objects that an owner shares among its threads, each loaded once.

    >>> with Loaded() as loaded:
    ...     one, again = (loaded.once("model", object) for _ in range(2))
    >>> one is again
    True
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[Hashable, _Entry] | None = {}

    def once(self, key: Hashable, load: Callable[[], T]) -> T:
        """Return what the first call of `load` returned for this key.

        A caller waits while another thread loads the same key. A failed load is not remembered:
        the next caller tries again.

        Raises:
            ClosedError: `close` was called.
        """
        with self._lock:
            if self._entries is None:
                raise ClosedError("the models are closed")
            entry = self._entries.setdefault(key, _Entry())
        with entry.lock:
            if not entry.filled:
                entry.value, entry.filled = load(), True
            loaded: T = entry.value
            return loaded

    def close(self) -> None:
        """Release everything; objects still in use are freed when their threads finish."""
        with self._lock:
            self._entries = None


class _Entry:
    def __init__(self) -> None:
        self.lock = Lock()
        self.filled = False
        self.value: Any = None
