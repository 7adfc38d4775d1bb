"""The models of a session: located, configured, and each loaded once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.errors import IndexMismatchError
from ettin_cli.models import ModelFiles, find_embedder, instructed, load_embedder, read_card
from ettin_cli.models.engines import EngineSettings
from ettin_cli.models.rerankers import (
    ComparesTokens,
    ResolvedReranker,
    ScoreStore,
    TokenEncoder,
    find_reranker,
)
from ettin_cli.records import Embedder, EmbedderCard, Reporter, Reranker, TimedReranker
from ettin_cli.runtime import Closing, Loaded
from ettin_cli.searching.cascade import Step
from ettin_cli.searching.rerankers import (
    RerankerCascade,
    cached_reranker,
    find_rerankers,
    load_single,
)
from ettin_cli.searching.stored_tokens import TimedScores, has_tokens_of, reranker_over
from ettin_cli.settings import TRUNCATE

if TYPE_CHECKING:
    from ettin_cli.index import Index


class Models(Closing):
    """Finds and loads models, each once for all threads.

    Args:
        settings: How models run.
        offline: Whether the network is disabled.
        reporter: Receives notices, progress and details.
    """

    def __init__(self, settings: EngineSettings, *, offline: bool, reporter: Reporter) -> None:
        self.settings, self.offline, self.reporter = settings, offline, reporter
        self.loaded = Loaded()

    def close(self) -> None:
        """Free the models; one in use by another thread is freed when that thread is done."""
        self.loaded.close()

    def find_embedder(self, name: str) -> ModelFiles:
        """Return the files of an embedder by its name.

        Raises:
            ModelError: The model is neither cached nor downloadable, or is a reranker.
        """
        return find_embedder(name, offline=self.offline, reporter=self.reporter)

    def embedder(self, files: ModelFiles, card: EmbedderCard | None = None) -> Embedder:
        """Return a loaded embedder.

        Args:
            card: The description in an index, which it must match; None: use its files'.

        Raises:
            ModelError: The embedder cannot be loaded.
        """
        return self.loaded.once(
            ("embedder", files, card),
            lambda: load_embedder(files, self.settings, self.reporter, card, self.loaded),
        )

    def embedder_of(self, index: Index) -> Embedder:
        """Return the loaded embedder that an index was made with.

        Raises:
            IndexMismatchError: The model's weights have changed since.
            ModelError: The embedder cannot be loaded.
        """
        card = index.manifest.embedder
        files = self.find_embedder(card.name)
        if read_card(files).weights != card.weights:
            raise IndexMismatchError(
                f"{index.folder} was built with a different version of {card.name}",
                folder=index.folder,
            )
        return self.embedder(files, card)

    def instructed_embedder(self, index: Index, instruction: str | None) -> Embedder:
        """Return `embedder_of`, told something else if it takes instructions; None: its own."""
        own = self.embedder_of(index)
        card = instructed(own.card, instruction) if instruction else own.card
        return own if card == own.card else self.embedder(self.find_embedder(card.name), card)

    def find_rerankers(self, text: str) -> RerankerCascade:
        """Return the reranker or cascade that a name stands for.

        Raises:
            InvalidArgumentError: The text is not a valid reranker or cascade.
            ModelError: A reranker is unknown or cannot be downloaded.
        """
        return find_rerankers(text, offline=self.offline, reporter=self.reporter)

    def find_reranker(self, name: str) -> ResolvedReranker:
        """Return a single reranker by its name.

        Raises:
            InvalidArgumentError: The name stands for a cascade or for `none`.
            ModelError: The reranker is unknown or cannot be downloaded.
        """
        return find_reranker(name, offline=self.offline, reporter=self.reporter)

    def reranker(self, resolved: ResolvedReranker, long: str = TRUNCATE) -> Reranker:
        """Return a loaded reranker.

        Args:
            long: How it scores texts beyond its token limit: one of LONG.

        Raises:
            ModelError: The reranker cannot be loaded.
        """
        return self.loaded.once(
            ("reranker", *_key(resolved), long),
            lambda: load_single(resolved, self.settings, long, self.reporter, self.loaded),
        )

    def rerankers(
        self, cascade: RerankerCascade, long: str = TRUNCATE, index: Index | None = None
    ) -> tuple[Reranker, list[Step[Reranker]]]:
        """Return the loaded last reranker of a cascade, and the steps before it.

        Args:
            index: Where the candidates are from; a reranker scores from its token vectors if it
                has those of the reranker.

        Raises:
            ModelError: A reranker cannot be loaded.
        """

        def loaded(resolved: ResolvedReranker) -> Reranker:
            stored = self.over_tokens(index, resolved, long) if index else None
            return stored or self.reranker(resolved, long)

        before = [Step(loaded(reranker), keep) for reranker, keep in cascade.before]
        return loaded(cascade.last), before

    def over_tokens(self, index: Index, resolved: ResolvedReranker, long: str) -> Reranker | None:
        """Return a reranker that scores from an index's token vectors; None if it cannot."""
        if long != TRUNCATE or not has_tokens_of(index, resolved):
            return None
        encoder = self.token_encoder(resolved)
        if encoder is None:
            return None
        reranker = reranker_over(index, resolved, encoder, self.reporter)
        if reranker:
            self.reporter.detail(f"reranking with {resolved.name} on {reranker.card.backend}")
        return reranker

    def token_encoder(self, resolved: ResolvedReranker) -> TokenEncoder | None:
        """Return the loaded encoder of a reranker that compares token vectors."""
        reranker = self.reranker(resolved)
        return reranker.encoder if isinstance(reranker, ComparesTokens) else None

    def cached_reranker(
        self,
        resolved: ResolvedReranker,
        long: str = TRUNCATE,
        index: Index | None = None,
        store: ScoreStore | None = None,
    ) -> TimedReranker:
        """Return a reranker that caches scores and loads when a pair is not cached.

        Args:
            index: As in `rerankers`; scores from its token vectors are not cached.
            store: Where scores are found and kept, always the same; None: on disk.
        """
        stored = self.over_tokens(index, resolved, long) if index else None
        if stored:
            return TimedScores(stored)
        return self.loaded.once(
            ("cached", *_key(resolved), long),
            lambda: cached_reranker(
                resolved, self.settings, long, self.reporter, self.loaded, store
            ),
        )

    @property
    def indexing(self) -> EngineSettings:
        """The settings of an embedder for indexing: the token limit is for rerankers."""
        return replace(self.settings, max_length=None)


def _key(resolved: ResolvedReranker) -> tuple[str, Path]:
    # A relative name means another folder once the working directory changes.
    return resolved.name, Path(resolved.name).absolute()
