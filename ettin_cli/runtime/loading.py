"""What was loaded, each thing once for all the threads of its owner."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Any, Self, TypeVar

from ettin_cli.errors import ClosedError
from ettin_cli.runtime.forks import Lock

T = TypeVar("T")


class Loaded:
    """Models and the like that an owner shares among its threads, each loaded once.

    >>> with Loaded() as loaded:
    ...     one, again = (loaded.once("model", object) for _ in range(2))
    >>> one is again
    True
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._places: dict[Hashable, _Place] | None = {}

    def once(self, key: Hashable, load: Callable[[], T]) -> T:
        """Return what `load` gave the first time for this key.

        Whoever asks while it is being loaded waits for it. A load that fails is not remembered:
        the next one who asks tries again.

        Raises:
            ClosedError: It was closed.
        """
        with self._lock:
            if self._places is None:
                raise ClosedError("these models were closed, and load no others")
            place = self._places.setdefault(key, _Place())
        with place.lock:
            if not place.filled:
                place.value, place.filled = load(), True
            found: T = place.value
            return found

    def close(self) -> None:
        """Let go of everything; what a thread still uses is freed when that is done."""
        with self._lock:
            self._places = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Place:
    def __init__(self) -> None:
        self.lock = Lock()
        self.filled = False
        self.value: Any = None
