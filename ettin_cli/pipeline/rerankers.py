"""What `-r` names -> rerankers that score: one, or several one behind another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ettin_cli.engines import EngineSettings
from ettin_cli.loading import Loaded
from ettin_cli.pipeline.cascade import Step, cascade_name, parse_cascade
from ettin_cli.records import Reporter, Reranker, TimedReranker
from ettin_cli.reranking import find_reranker, load_reranker
from ettin_cli.resolved import ResolvedReranker
from ettin_cli.score_cache import CachedReranker
from ettin_cli.settings import MAX
from ettin_cli.windows import TimedLongReranker, reading


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


def load_rerankers(
    found: FoundRerankers,
    settings: EngineSettings,
    long: str,
    reporter: Reporter,
    loaded: Loaded | None = None,
) -> tuple[Reranker, list[Step[Reranker]]]:
    """Load a reranker and those before it.

    Args:
        long: How they read texts beyond their limit: one of LONG.
        loaded: What their models are shared in with an embedder.

    Raises:
        ModelError: One cannot be loaded.
    """
    before = [
        Step(load_one(one, settings, long, reporter, loaded), keep) for one, keep in found.before
    ]
    return load_one(found.last, settings, long, reporter, loaded), before


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
