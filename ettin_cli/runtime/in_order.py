"""Tasks done by threads, with results in the order of the tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock
from typing import TypeVar

T = TypeVar("T")


def in_order(
    tasks: Iterable[Callable[[], T]], at_once: int, ended: Event | None = None
) -> Iterator[T]:
    """Yield the result of each task in turn; up to `at_once` are done or wait for being yielded.

    A failure is raised in the place of its result, and one of the iterable after the results of the
    tasks before. It ends the others, as an interruption does: those that have begun are not waited
    for here, but only when Python exits. They end sooner if they count what they do by `counted`.

    Args:
        at_once: Number of threads; 1: no thread, each task is done when its result is due.
        ended: Set when no more results are wanted.

    >>> list(in_order([lambda: 1, lambda: 2], 2))
    [1, 2]
    """
    if at_once == 1:
        for task in tasks:
            yield task()
        return
    pool = ThreadPoolExecutor(at_once)
    waiting: deque[Future[T]] = deque()
    source: Iterator[Callable[[], T]] | None = iter(tasks)
    problem: Exception | None = None
    try:
        while True:
            while source is not None and len(waiting) < at_once:
                try:
                    waiting.append(pool.submit(next(source)))
                except StopIteration:
                    source = None
                except Exception as error:  # raised after the results of the tasks before
                    source, problem = None, error
            if not waiting:
                break
            yield waiting.popleft().result()
    finally:
        if ended is not None:
            ended.set()
        pool.shutdown(wait=False, cancel_futures=True)
    if problem is not None:
        raise problem


def counted(advance: Callable[[int], None], ended: Event) -> Callable[[int], None]:
    """Return a progress callback for tasks of `in_order`, which is called by one at a time.

    It raises InterruptedError once `ended` is set, so that a task ends at its next batch.
    """
    turn = Lock()

    def count(done: int) -> None:
        if ended.is_set():
            raise InterruptedError
        with turn:
            advance(done)

    return count
