"""Progress of work whose input is read in windows, ahead of what is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import accumulate
from threading import Event
from typing import Any, Generic, NamedTuple, Self, TypeVar

from ettin_cli.records import Advance, Reporter, Share, no_progress
from ettin_cli.runtime import counted, in_order

T = TypeVar("T")


class Task(NamedTuple, Generic[T]):
    """The work on a window.

    Args:
        lengths: Lengths of its texts.
        pairs: Pairs to score in total; more than the texts in a cascade.
        work: Does it, and returns the result.
    """

    lengths: Sequence[int]
    pairs: int
    work: Callable[[], T]


class WindowProgress:
    """The share of the work that is done: all earlier windows, and part of the current one.

    Input that was read is not done yet: a window's share of the input counts as its texts are
    scored. Texts are weighted by length, and the longest are scored first, as in every batch.

    Args:
        read: Returns the share of the input read so far; None: unknown.
    """

    def __init__(self, read: Share | None) -> None:
        self.read = read or (lambda: None)
        self.skipped: float | None = 0.0
        self.before: float | None = 0.0
        self.after: float | None = 0.0
        self.weights = [0.0]
        self.done = 0

    def skip(self) -> None:
        """Record a window that an earlier run completed."""
        self.skipped = self.before = self.after = self.read()

    def begin(self, lengths: Sequence[int], pairs: int) -> None:
        """Record a window that was read.

        Args:
            lengths: Lengths of its texts.
            pairs: Pairs to score in total; more than the texts in a cascade.
        """
        self.before, self.after, self.done = self.after, self.read(), 0
        # Every text has a minimum cost, however short it is.
        first = [1 + length for length in sorted(lengths, reverse=True)]
        again = [sum(first) / len(first)] * (pairs - len(first)) if first else []
        self.weights = list(accumulate([*first, *again], initial=0.0))

    def windows(
        self,
        tasks: Callable[[Advance], Iterator[Task[T]]],
        at_once: int,
        reporter: Reporter,
        work: str,
    ) -> Iterator[T]:
        """Yield the result of each window in turn, and show the progress under a name.

        Args:
            tasks: Yields what is to be done, given a function to call with the number of scored
                texts.
            at_once: How many windows are in work at once. Of several, each counts when it is done.
        """
        waiting: deque[Task[T]] = deque()
        ended = Event()

        def begun(advance: Advance) -> Iterator[Callable[[], T]]:
            for task in tasks(advance):
                if at_once == 1:
                    self.begin(task.lengths, task.pairs)
                else:
                    waiting.append(task)
                yield task.work

        with self.shown(reporter, work) as advance:
            shown = advance if at_once == 1 else no_progress
            for result in in_order(begun(counted(shown, ended)), at_once, ended):
                if waiting:
                    done = waiting.popleft()
                    self.begin(done.lengths, done.pairs)
                    advance(done.pairs)
                yield result

    @contextmanager
    def shown(self, reporter: Reporter, work: str) -> Iterator[Advance]:
        """Show progress under a name; yields a function to call with the number of scored texts."""
        with reporter.track(work, None, "pairs", self.share) as shown:

            def advance(texts: int) -> None:
                self.done += texts
                shown(texts)

            yield advance

    def share(self) -> float | None:
        """Return the share of this run's work that is done; None if unknown."""
        if self.skipped is None or self.before is None or self.after is None:
            return None
        within = self.weights[min(self.done, len(self.weights) - 1)] / (self.weights[-1] or 1)
        now = self.before + (self.after - self.before) * within
        return (now - self.skipped) / (1 - self.skipped) if self.skipped < 1 else None


class QueriesWatched:
    """Shows the progress of reranking queries that are answered in windows.

    The progress is that of all queries if their number is known, else that of the only window.
    For a longer stream only the count is shown.

    Args:
        total: The number of queries; None: unknown.
        window: The number of queries answered at once.
    """

    def __init__(self, reporter: Reporter, total: int | None, window: int) -> None:
        self.reporter, self.total, self.window = reporter, total, window
        self.read = 0
        self.progress = WindowProgress(self._read)
        self.advance: Advance | None = None
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.__exit__(*error)

    def watch(
        self, queries: int, lengths: Sequence[int], pairs: int
    ) -> AbstractContextManager[Advance]:
        """Show the reranking of a window.

        Args:
            lengths: Lengths of its texts.
            pairs: Pairs to score.
        """
        self.read += queries
        if self.total is None or self.total <= self.window:
            alone = self.read == queries < self.window or self.total is not None
            return self.reporter.track("reranking", pairs if alone else None, "pairs")
        self.progress.begin(lengths, pairs)
        if self.advance is None:
            shown = self.progress.shown(self.reporter, "reranking")
            self.advance = self.stack.enter_context(shown)
        return nullcontext(self.advance)

    def _read(self) -> float | None:
        return self.read / self.total if self.total else None
