"""Rerankers of other packages; their failures are reported in one line."""

from __future__ import annotations

from collections.abc import Sequence

from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.rerankers.empty_texts import blanks_last
from ettin_cli.models.rerankers.resolved import Reference, ResolvedReranker, TextLayout
from ettin_cli.models.rerankers.score_checks import checked
from ettin_cli.records import Advance, Reporter, Reranker, RerankerCard, Scores, no_progress
from ettin_cli.runtime import Loaded, Plugin


class PluginReranker(ResolvedReranker):
    """A reranker that a plugin's entry point returned for a reference.

    Raises:
        PluginError: The plugin fails, or returns something else.
    """

    def __init__(self, plugin: Plugin, reference: Reference) -> None:
        resolve = plugin.load()
        if not callable(resolve):
            raise plugin.unfit("cannot be called with a reference")
        with plugin.failures("cannot be found"):
            resolved = resolve(reference)
        if not isinstance(resolved, ResolvedReranker):
            raise plugin.unfit(f"gives {type(resolved).__name__}, not a ResolvedReranker")
        super().__init__(resolved.name, resolved.revision)
        self.resolved, self.plugin = resolved, plugin

    @property
    def identity(self) -> str:
        """A string that changes whenever scores may change."""
        with self.plugin.failures("has no identity"):
            return f"{self.resolved.identity!s}"

    @property
    def stored_name(self) -> str:
        """The name of files about it; independent of how it is referred to."""
        with self.plugin.failures("has no name"):
            return self.resolved.stored_name

    @property
    def facts(self) -> dict[str, str]:
        """Facts that a stored calibration must match, by name for messages."""
        with self.plugin.failures("has no identity"):
            return dict(self.resolved.facts)

    def layout(self) -> TextLayout:
        """Return the layout of its input, for `--long max`."""
        with self.plugin.failures("cannot score long texts"):
            return self.resolved.layout()

    def load(self, settings: EngineSettings, reporter: Reporter, loaded: Loaded) -> Reranker:
        """Load the reranker.

        Raises:
            PluginError: The plugin fails, or returns something else.
        """
        with self.plugin.failures("cannot be loaded"):
            reranker = self.resolved.load(settings, reporter, loaded)
            card = reranker.card
        if not isinstance(card, RerankerCard):
            raise self.plugin.unfit("has no RerankerCard as its card")
        return _Checked(reranker, self.plugin)


class _Checked:
    """A plugin's reranker with checked output: a number for every pair, or a one-line error.

    Empty texts are ranked last, as with every reranker, and not passed to it.
    """

    def __init__(self, reranker: Reranker, plugin: Plugin) -> None:
        self.reranker, self.plugin = reranker, plugin

    @property
    def card(self) -> RerankerCard:
        """The description of this reranker in results."""
        return self.reranker.card

    @blanks_last
    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order."""
        import numpy as np

        with self.plugin.failures("failed to score"):
            scores = self.reranker.score(pairs, advance)
            values = np.array(scores.values, np.float32)
            truncated = np.array(scores.truncated, np.bool_)
            if values.shape != (len(pairs),) or truncated.shape != values.shape:
                raise ValueError(f"{len(pairs)} pairs got scores of shape {values.shape}")
        return Scores(checked(values, self.card.name), truncated)
