"""The value of `-r` -> a reranker or a cascade of rerankers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ettin_cli.models.engines import EngineSettings
from ettin_cli.models.rerankers import (
    CachedReranker,
    ResolvedReranker,
    ScoreStore,
    TimedLongReranker,
    find_reranker,
    load_reranker,
    with_long_texts,
)
from ettin_cli.records import Reporter, Reranker, TimedReranker
from ettin_cli.runtime import Loaded
from ettin_cli.searching.cascade import cascade_name, parse_cascade
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.retrievers import HYBRID
from ettin_cli.settings import AUTO, MAX


@dataclass(frozen=True, slots=True)
class RerankerCascade:
    """A reranker that is not loaded yet, and the cascade steps before it."""

    last: ResolvedReranker
    before: Sequence[tuple[ResolvedReranker, int]] = ()

    @property
    def every(self) -> list[ResolvedReranker]:
        """All rerankers, in scoring order."""
        return [*(reranker for reranker, _ in self.before), self.last]

    @property
    def name(self) -> str:
        """The name that results report."""
        steps = [(reranker.name, keep) for reranker, keep in self.before]
        return cascade_name(steps, self.last.name)

    def blend(self, retriever: str) -> float:
        """Return the share of the retrieval score in the final score, unless another is given.

        It was measured over hybrid. A single list ranks worse than a reranker, which then decides
        alone.

        Args:
            retriever: Its name in results.
        """
        return self.last.blend if retriever.startswith(HYBRID) else 0.0

    def blended(self, options: SearchOptions, retriever: str) -> SearchOptions:
        """Return search options with the blend as a number."""
        return replace(options, blend=self.blend(retriever)) if options.blend == AUTO else options


def find_rerankers(text: str, *, offline: bool, reporter: Reporter) -> RerankerCascade:
    """Return the reranker or cascade given to `-r`.

    Raises:
        InvalidArgumentError: The text is not a valid reranker or cascade.
        ModelError: A reranker is unknown or cannot be downloaded.
    """
    before, last = parse_cascade(text)
    steps = [
        (find_reranker(name, offline=offline, reporter=reporter), keep) for name, keep in before
    ]
    return RerankerCascade(find_reranker(last, offline=offline, reporter=reporter), steps)


def load_single(
    resolved: ResolvedReranker,
    settings: EngineSettings,
    long: str,
    reporter: Reporter,
    loaded: Loaded | None = None,
) -> Reranker:
    """Return a loaded reranker that scores long texts in the way `long`.

    Raises:
        ModelError: The reranker cannot be loaded.
    """
    plain = load_reranker(resolved, settings, reporter, loaded)
    reranker = with_long_texts(plain, resolved, long, reporter)
    reporter.detail(f"reranking with {reranker.card.name} on {reranker.card.backend}")
    return reranker


def cached_reranker(
    resolved: ResolvedReranker,
    settings: EngineSettings,
    long: str,
    reporter: Reporter,
    loaded: Loaded | None = None,
    store: ScoreStore | None = None,
) -> TimedReranker:
    """Return a reranker that caches scores and loads when a pair is not cached.

    Args:
        store: Where scores are found and kept; None: on disk.
    """
    load = partial(load_reranker, resolved, settings, reporter, loaded)
    cached = CachedReranker(resolved, settings, load, reporter, store)
    # Wraps the cache, so that windows are cached like any other pair.
    return TimedLongReranker(cached, resolved, reporter) if long == MAX else cached
