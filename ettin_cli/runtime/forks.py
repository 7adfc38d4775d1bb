"""Keep libraries and locks usable in a forked child, where the parent's threads do not exist."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any
from weakref import WeakSet

TOKENIZERS = "tokenizers"

_inherited: set[str] = set()
_held: set[str] = set()


class Lock:
    """A lock that is free in a forked child, even if the parent held it."""

    def __init__(self) -> None:
        guard_children()
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def take(self) -> bool:
        """Take the lock if it is free; return whether it was. `give` releases it."""
        return self._lock.acquire(blocking=False)

    def give(self) -> None:
        """Release a lock taken with `take`."""
        self._lock.release()

    def renew(self) -> None:
        """Replace the lock by a free one."""
        self._lock = threading.Lock()


_locks: WeakSet[Lock] = WeakSet()


class Once:
    """True for the first call, in whichever thread, and False for all later ones."""

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
    """Make children forked from now on record which libraries were loaded before the fork.

    This sets nothing yet; `hold_to_one_thread` does when this package computes in such a child.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)


def hold_to_one_thread(library: str) -> bool:
    """Limit a library to one thread in a forked child, where more threads would deadlock.

    FAISS and torch compute with OpenMP, whose threads do not survive a fork. The next parallel
    region in the forked thread, which is the child's main thread, would wait for them.
    Tokenizers has such a pool for all threads.

    Returns:
        Whether this process was forked after the library was loaded.
    """
    if library == "faiss" and sys.platform == "darwin" and "torch" in sys.modules:
        # Each brings an OpenMP runtime of its own, and their threads crash the process.
        _SETTERS[library](import_module(library))
    if library not in _inherited:
        return False
    concerned = library == TOKENIZERS or threading.current_thread() is threading.main_thread()
    if concerned and library not in _held:
        _held.add(library)
        _SETTERS[library](sys.modules[library])
    return True


def forget_inherited() -> None:
    """Let libraries use threads in a child whose parent loaded them but never computed with them.

    Then they have no pool of threads that the fork could have broken.
    """
    _inherited.clear()


def _without_threads(_library: Any) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


_SETTERS: dict[str, Callable[[Any], object]] = {
    "faiss": lambda library: library.omp_set_num_threads(1),
    TOKENIZERS: _without_threads,
    "torch": lambda library: library.set_num_threads(1),
}
# An attribute set at the end of each library's import; another thread may be halfway through.
_LAST = {"faiss": "omp_set_num_threads", TOKENIZERS: "Tokenizer", "torch": "set_num_threads"}


def _in_child() -> None:
    for lock in list(_locks):
        lock.renew()
    # The child of a child lost different threads.
    _held.clear()
    _inherited.update(
        library for library, name in _LAST.items() if hasattr(sys.modules.get(library), name)
    )
