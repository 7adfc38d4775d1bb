"""How far work is whose input is read a window at a time, always ahead of what is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import accumulate
from typing import Any, Self

from ettin_cli.records import Advance, Reporter, Share


class WindowProgress:
    """The share of the work that is done: all earlier windows, and some texts of this one.

    What was read is not done yet, so each window's part of the input counts as its texts are
    scored. These weigh by their length, and the longest are scored first, as in every batch.

    Args:
        read: Returns the share of the input that was read; None: nobody knows.
    """

    def __init__(self, read: Share | None) -> None:
        self.read = read or (lambda: None)
        self.skipped: float | None = 0.0
        self.before: float | None = 0.0
        self.after: float | None = 0.0
        self.weights = [0.0]
        self.done = 0

    def skip(self) -> None:
        """Take note of a window that an earlier run has done."""
        self.skipped = self.before = self.after = self.read()

    def begin(self, lengths: Sequence[int], pairs: int) -> None:
        """Take note of a window that was read.

        Args:
            lengths: Of its texts.
            pairs: How often they are scored in all: more times where there are several rerankers.
        """
        self.before, self.after, self.done = self.after, self.read(), 0
        # Every text costs something, however short it is.
        first = [1 + length for length in sorted(lengths, reverse=True)]
        again = [sum(first) / len(first)] * (pairs - len(first)) if first else []
        self.weights = list(accumulate([*first, *again], initial=0.0))

    @contextmanager
    def shown(self, reporter: Reporter, work: str) -> Iterator[Advance]:
        """Show the work by its name; yields what takes note of texts that were scored."""
        with reporter.track(work, None, "pairs", self.share) as shown:

            def advance(texts: int) -> None:
                self.done += texts
                shown(texts)

            yield advance

    def share(self) -> float | None:
        """Return the share that is done of what there was to do, if it can be told."""
        if self.skipped is None or self.before is None or self.after is None:
            return None
        within = self.weights[min(self.done, len(self.weights) - 1)] / (self.weights[-1] or 1)
        now = self.before + (self.after - self.before) * within
        return (now - self.skipped) / (1 - self.skipped) if self.skipped < 1 else None


class QueriesWatched:
    """Shows how far the reranking of queries is that are answered a window at a time.

    Of all of them where their number is known, else of a window that is the only one; of a stream
    it shows how much was done and no more.

    Args:
        total: How many queries there are; None: nobody knows.
        window: How many are answered at once.
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
        """Watch the reranking of a window.

        Args:
            lengths: Of the texts of its queries.
            pairs: How many are scored.
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
