"""Tasks done by threads, with results in the order of the tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_order(tasks: Iterable[Callable[[], T]], at_once: int) -> Iterator[T]:
    """Yield the result of each task in turn; up to `at_once` are done or wait for being yielded.

    A failure is raised in the place of its result. It ends the others, as an interruption does:
    those that have begun are not waited for.

    Args:
        at_once: Number of threads; 1: no thread, each task is done when its result is due.

    >>> list(in_order([lambda: 1, lambda: 2], 2))
    [1, 2]
    """
    if at_once == 1:
        for task in tasks:
            yield task()
        return
    pool = ThreadPoolExecutor(at_once)
    waiting: deque[Future[T]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) == at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
