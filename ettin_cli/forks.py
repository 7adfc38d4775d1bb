"""Keep libraries usable in a forked child, where the threads of their pools no longer exist."""

from __future__ import annotations

import os
import sys
from functools import cache

_held: set[str] = set()


@cache
def guard_children() -> None:
    """Make children forked from now on compute with one thread where more would wait for ever.

    FAISS and torch compute in OpenMP, whose threads do not survive a fork: the child's next
    parallel region would wait for them. Tokenizers has a pool of that kind as well.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)


def held_to_one_thread(library: str) -> bool:
    """Return whether this process was forked after `library` was loaded."""
    return library in _held


def _in_child() -> None:
    if "tokenizers" in sys.modules:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for library, setting in (("faiss", "omp_set_num_threads"), ("torch", "set_num_threads")):
        # Another thread may have been half way through the import.
        if set_threads := getattr(sys.modules.get(library), setting, None):
            set_threads(1)
            _held.add(library)
