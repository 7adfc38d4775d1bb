"""Keep libraries and locks usable in a forked child, which has none of its parent's threads."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakSet

TOKENIZERS = "tokenizers"

_inherited: set[str] = set()
_held: set[str] = set()


class Lock:
    """A lock that a forked child finds free, whoever held it in the parent."""

    def __init__(self) -> None:
        guard_children()
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def take(self) -> bool:
        """Take the lock if it is free; return whether it was. `give` frees it again."""
        return self._lock.acquire(blocking=False)

    def give(self) -> None:
        """Free the lock that `take` took."""
        self._lock.release()

    def renew(self) -> None:
        """Replace the lock by one that is free."""
        self._lock = threading.Lock()


_locks: WeakSet[Lock] = WeakSet()


class Once:
    """True for the first caller that asks, whichever thread it is in, and False from then on."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.over = False

    def __call__(self) -> bool:
        """Return whether this call is the first one."""
        with self._lock:
            first, self.over = not self.over, True
            return first


@cache
def guard_children() -> None:
    """Make children that are forked from now on remember what they were forked with.

    Nothing is set there until this package computes in such a child: see `hold_to_one_thread`.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)


def hold_to_one_thread(library: str) -> bool:
    """Make a library compute with one thread where more would wait for ever: in a forked child.

    FAISS and torch compute in OpenMP, whose threads do not survive a fork: the next parallel
    region of the thread that was forked, which is the child's main thread, would wait for them.
    Tokenizers has a pool of that kind for all threads.

    Returns:
        Whether this process was forked after the library was loaded.
    """
    if library not in _inherited:
        return False
    concerned = library == TOKENIZERS or threading.current_thread() is threading.main_thread()
    if concerned and library not in _held:
        _held.add(library)
        _SETTERS[library](sys.modules[library])
    return True


def _without_threads(_library: Any) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


_SETTERS: dict[str, Callable[[Any], object]] = {
    "faiss": lambda library: library.omp_set_num_threads(1),
    TOKENIZERS: _without_threads,
    "torch": lambda library: library.set_num_threads(1),
}
# What a library that is imported to its end has; another thread may have been half way.
_LAST = {"faiss": "omp_set_num_threads", TOKENIZERS: "Tokenizer", "torch": "set_num_threads"}


def _in_child() -> None:
    for lock in list(_locks):
        lock.renew()
    # A child's child has lost other threads.
    _held.clear()
    _inherited.update(
        library for library, name in _LAST.items() if hasattr(sys.modules.get(library), name)
    )
