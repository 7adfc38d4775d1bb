"""What `-r` names -> rerankers that score: one, or several one behind another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ettin_cli.models.engines import EngineSettings
from ettin_cli.models.rerankers import (
    CachedReranker,
    ResolvedReranker,
    TimedLongReranker,
    find_reranker,
    load_reranker,
    reading,
)
from ettin_cli.records import Reporter, Reranker, TimedReranker
from ettin_cli.runtime import Loaded
from ettin_cli.searching.cascade import cascade_name, parse_cascade
from ettin_cli.settings import MAX


@dataclass(frozen=True, slots=True)
class FoundRerankers:
    """A reranker that is not loaded, and those that score before it with how many they keep."""

    last: ResolvedReranker
    before: Sequence[tuple[ResolvedReranker, int]] = ()

    @property
    def every(self) -> list[ResolvedReranker]:
        """All of them, in the order in which they score."""
        return [*(reranker for reranker, _ in self.before), self.last]

    @property
    def name(self) -> str:
        """What results call them."""
        steps = [(reranker.name, keep) for reranker, keep in self.before]
        return cascade_name(steps, self.last.name)


def find_rerankers(text: str, *, offline: bool, reporter: Reporter) -> FoundRerankers:
    """Return what `-r` names.

    Raises:
        InvalidArgumentError: It is neither a reranker nor several of them.
        ModelError: There is none of a name, or it cannot be downloaded.
    """
    before, last = parse_cascade(text)
    found = [
        (find_reranker(name, offline=offline, reporter=reporter), keep) for name, keep in before
    ]
    return FoundRerankers(find_reranker(last, offline=offline, reporter=reporter), found)


def load_one(
    resolved: ResolvedReranker,
    settings: EngineSettings,
    long: str,
    reporter: Reporter,
    loaded: Loaded | None = None,
) -> Reranker:
    """Load a reranker that reads long texts as asked for.

    Raises:
        ModelError: It cannot be loaded.
    """
    plain = load_reranker(resolved, settings, reporter, loaded)
    reranker = reading(plain, resolved, long, reporter)
    reporter.detail(f"reranking with {reranker.card.name} on {reranker.card.backend}")
    return reranker


def cached_reranker(
    resolved: ResolvedReranker,
    settings: EngineSettings,
    long: str,
    reporter: Reporter,
    loaded: Loaded | None = None,
) -> TimedReranker:
    """Return a reranker that keeps its scores on disk, and loads when a pair has none yet."""
    load = partial(load_reranker, resolved, settings, reporter, loaded)
    cached = CachedReranker(resolved, settings, load, reporter)
    # Outside the cache, so that windows are pairs like any others there.
    return TimedLongReranker(cached, resolved, reporter) if long == MAX else cached
