"""Texts beyond a reranker's token limit: truncated, or scored in windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ettin_cli.errors import InvalidArgumentError, ModelError
from ettin_cli.models.rerankers.resolved import ResolvedReranker
from ettin_cli.records import (
    Advance,
    Pair,
    Reporter,
    Reranker,
    RerankerCard,
    Scores,
    TimedReranker,
    TokenCounter,
    no_progress,
)
from ettin_cli.settings import LONG, MAX

if TYPE_CHECKING:
    from ettin_cli.records import Flags, Floats

TimedScoring = Callable[[Sequence[Pair], Advance], tuple[Scores, "Floats"]]

# Consecutive windows overlap by an eighth, so that text at a border is complete in one of them.
OVERLAP = 8
# A piece may have more tokens on its own than within its text, if it begins inside a word.
MARGIN = 32
CHARACTERS_A_TOKEN = 4


class LongReranker:
    """Scores texts within the limit like the wrapped reranker, and longer ones by the best window.

    A document scores as its best passage: MaxP in Dai and Callan (2019). The first window is what
    the reranker reads without windows. So a short text gets the same score, to the last bit, and
    a long one never a lower score. Windows depend only on the pair.

    A query that takes more than half of the limit is truncated as without windows: then all of
    the text is read, but the pair counts as truncated.

    Args:
        resolved: The wrapped reranker.

    Raises:
        ModelError: It has no tokenizer.json to count tokens with, or no known input layout.
    """

    def __init__(self, reranker: Reranker, resolved: ResolvedReranker, reporter: Reporter) -> None:
        self.reranker, self.reporter = reranker, reporter
        try:
            self.tokens, self.reads_pairs, self.prompt = resolved.layout()
        except ModelError as error:
            raise ModelError(error.problem, code="no-token-counts", name=resolved.name) from error

    @property
    def card(self) -> RerankerCard:
        """The card of the wrapped reranker."""
        return self.reranker.card

    def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order; `truncated` marks what windows cannot read."""
        import numpy as np

        def untimed(some: Sequence[Pair], advance: Advance) -> tuple[Scores, Floats]:
            return self.reranker.score(some, advance), np.zeros(len(some), np.float32)

        return self._best(pairs, advance, untimed)[0]

    def _best(
        self, pairs: Sequence[Pair], advance: Advance, timed: TimedScoring
    ) -> tuple[Scores, Floats]:
        import numpy as np

        first = len(pairs) * len(pairs) // max(1, len(pairs) + self._expected(pairs))
        scores, seconds = timed(pairs, _scaled(advance, first, len(pairs)))
        further = self._further(pairs, scores.truncated)
        if not further:
            advance(len(pairs) - first)
            return scores, seconds
        windows = [window.pair for window in further]
        more, took = timed(windows, _scaled(advance, len(pairs) - first, len(windows)))
        of = np.array([window.of for window in further])
        values, truncated = scores.values.copy(), scores.truncated.copy()
        seconds = seconds.copy()
        np.maximum.at(values, of, more.values)
        truncated[of] = False
        np.logical_or.at(truncated, of, more.truncated)
        np.add.at(seconds, of, took)
        long = len(set(of.tolist()))
        self.reporter.detail(
            f"{long:,} of {len(pairs):,} texts exceed the token limit of {self.card.name}: scored "
            f"in {long + len(windows):,} windows"
        )
        return Scores(values, truncated), seconds

    def _expected(self, pairs: Sequence[Pair]) -> int:
        """Estimate the number of windows after the first ones, for the progress bar only."""
        most = CHARACTERS_A_TOKEN * self.card.max_tokens
        return sum(len(text) // most for _, text in pairs)

    def _further(self, pairs: Sequence[Pair], truncated: Flags) -> list[_Window]:
        """Return the windows after the first of every truncated text."""
        cut = truncated.nonzero()[0].tolist()
        rooms = {query: self._room(query) for query in {pairs[at][0] for at in cut}}
        by_text: dict[str, list[int]] = defaultdict(list)
        for at in cut:
            by_text[pairs[at][1]].append(at)
        windows = []
        for text, ats in by_text.items():
            pieces: dict[int, list[str]] = {}
            for at in ats:
                room = rooms[pairs[at][0]]
                if room not in pieces:
                    ranges = window_ranges(text, self.tokens, room)[1:]
                    pieces[room] = [text[begin:end] for begin, end in ranges]
                windows += [_Window(at, (pairs[at][0], piece)) for piece in pieces[room]]
        return windows

    def _room(self, query: str) -> int:
        """Return how many tokens of a long text fit beside a query."""
        room = self.card.max_tokens - self.tokens.special(pair=self.reads_pairs)
        if not self.reads_pairs:
            return max(1, room - len(self.tokens.offsets(self.prompt)))
        # If both are longer than half of the limit, both are truncated to half.
        asked = len(self.tokens.offsets(self.prompt + query))
        return max(1, room - asked, room // 2)


class TimedLongReranker(LongReranker):
    """Windows over a reranker that measures the time of its scores; the times are added up."""

    def __init__(
        self, reranker: TimedReranker, resolved: ResolvedReranker, reporter: Reporter
    ) -> None:
        super().__init__(reranker, resolved, reporter)
        self.timer = reranker

    def timed(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> tuple[Scores, Floats]:
        """Return the scores, and the seconds that scoring each pair's windows took."""
        return self._best(pairs, advance, self.timer.timed)


def require_long(how: str, *, reranked: bool) -> None:
    """Check that a way to score long texts is valid.

    Raises:
        InvalidArgumentError: It is unknown, or needs a reranker.
    """
    if how not in LONG:
        raise InvalidArgumentError(
            f"unknown mode for long texts {how!r}", argument="long", choices=LONG
        )
    if how == MAX and not reranked:
        raise InvalidArgumentError(
            "the mode max for long texts needs a reranker", code="needs-reranker", argument="long"
        )


def with_long_texts(
    reranker: Reranker, resolved: ResolvedReranker, long: str, reporter: Reporter
) -> Reranker:
    """Return a reranker that scores long texts in one of the ways in LONG."""
    return LongReranker(reranker, resolved, reporter) if long == MAX else reranker


class _Window(NamedTuple):
    of: int
    pair: Pair


def window_ranges(text: str, counter: TokenCounter, room: int) -> list[tuple[int, int]]:
    """Return the start and end of each window of a text, in characters.

    Together they contain every token. Windows after the first have at most `room` tokens, except
    where a single character has more. The last is as long as the others, since a short remainder
    would be scored by its few words alone.
    """
    spans = counter.offsets(text)
    if len(spans) <= room:
        return [(0, len(text))]
    size = room - room // MARGIN
    begin, end = 0, room
    ranges = [(0, spans[room - 1][1])]
    while end < len(spans):
        begin = max(begin + 1, min(end - room // OVERLAP, len(spans) - size))
        end = _reach(text, counter, spans, begin, min(begin + size, len(spans)), room)
        ranges.append((spans[begin][0], spans[end - 1][1]))
    # A character may be several tokens; a window cannot begin within it.
    return list(dict.fromkeys(ranges))


def _reach(
    text: str,
    counter: TokenCounter,
    spans: Sequence[tuple[int, int]],
    begin: int,
    end: int,
    room: int,
) -> int:
    """Return the largest end, up to `end`, with which a window fits into `room` tokens."""
    while end > begin + 1:
        over = len(counter.offsets(text[spans[begin][0] : spans[end - 1][1]])) - room
        if over <= 0:
            break
        end = max(begin + 1, end - over)
    return end


def _scaled(advance: Advance, units: int, total: int) -> Advance:
    """Return a callback that reports `total` steps to `advance` as `units`."""
    done = 0

    def scaled(more: int) -> None:
        nonlocal done
        before, done = done, done + more
        advance(units * done // max(1, total) - units * before // max(1, total))

    return scaled
