"""Compute something of each part of an index, in threads where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ettin_cli.models.engines import EngineSettings, cpu_threads

Part = TypeVar("Part")
Result = TypeVar("Result")

# Fewer rows are searched in less time than threads take to start.
LEAST_ROWS = 1 << 19


def over_parts(
    compute: Callable[[Part], Result],
    parts: Sequence[Part],
    rows: int,
    prepare: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Return what is computed of each part, in order.

    The threads end with the call, so that a fork never lacks them.

    Args:
        rows: The number of rows of all parts.
        prepare: Called in each thread that is started.
    """
    threads = min(len(parts), cpu_threads(EngineSettings())) if rows >= LEAST_ROWS else 1
    if threads < 2:
        return list(map(compute, parts))
    with ThreadPoolExecutor(threads, initializer=prepare) as pool:
        return list(pool.map(compute, parts))
