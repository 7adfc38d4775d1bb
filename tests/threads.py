"""Run the same work in many threads at once."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import TypeVar

T = TypeVar("T")
THREADS = 16
# Ends a test that hangs.
PATIENCE_S = 600


def in_threads(work: Callable[[int], T], threads: int = THREADS) -> list[T | BaseException]:
    """Return what `work` returns, or raises, in each of several threads that start together.

    Args:
        work: Called with the thread's number, from 0.
    """
    found: dict[int, T | BaseException] = {}
    begin = Barrier(threads)

    def call(number: int) -> None:
        begin.wait(PATIENCE_S)
        try:
            found[number] = work(number)
        except BaseException as error:
            found[number] = error

    started = [Thread(target=call, args=(number,), daemon=True) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    return [found[number] for number in range(threads)]
