"""The models of a session: how they run, where they come from, and each loaded once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ettin_cli.errors import IndexMismatchError
from ettin_cli.models import ModelFiles, find_embedder, load_embedder, read_card
from ettin_cli.models.engines import EngineSettings
from ettin_cli.models.rerankers import ResolvedReranker, find_reranker
from ettin_cli.records import Embedder, Reporter, Reranker, TimedReranker
from ettin_cli.runtime import Loaded
from ettin_cli.searching.cascade import Step
from ettin_cli.searching.rerankers import FoundRerankers, cached_reranker, find_rerankers, load_one
from ettin_cli.settings import TRUNCATE

if TYPE_CHECKING:
    from ettin_cli.index import Index


class Models:
    """Finds and loads models, each once for all threads that use it.

    Args:
        settings: How they run.
        offline: Whether the network must not be used.
        reporter: Gets notices, progress and details.
    """

    def __init__(self, settings: EngineSettings, *, offline: bool, reporter: Reporter) -> None:
        self.settings, self.offline, self.reporter = settings, offline, reporter
        self.loaded = Loaded()

    def close(self) -> None:
        """Free the models; one that another thread still uses is freed when that is done."""
        self.loaded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def find_embedder(self, name: str) -> ModelFiles:
        """Return the files of an embedder by its name.

        Raises:
            ModelError: It is neither cached nor downloadable, or is a reranker.
        """
        return find_embedder(name, offline=self.offline, reporter=self.reporter)

    def embedder(self, files: ModelFiles) -> Embedder:
        """Load an embedder.

        Raises:
            ModelError: It cannot be loaded.
        """
        return self.loaded.once(
            ("embedder", files),
            lambda: load_embedder(files, self.settings, self.reporter, loaded=self.loaded),
        )

    def embedder_of(self, index: Index) -> Embedder:
        """Load the embedder that an index was made by.

        Raises:
            IndexMismatchError: The model of that name has other weights now.
            ModelError: It cannot be loaded.
        """
        card = index.manifest.embedder
        files = self.find_embedder(card.name)
        if read_card(files).weights != card.weights:
            raise IndexMismatchError(
                f"{index.folder} was made by another version of {card.name}", folder=index.folder
            )
        return self.loaded.once(
            ("embedder", files, card),
            lambda: load_embedder(files, self.settings, self.reporter, card, self.loaded),
        )

    def find_rerankers(self, text: str) -> FoundRerankers:
        """Return what a name stands for: a reranker, or several in a cascade.

        Raises:
            InvalidArgumentError: It is neither a reranker nor several of them.
            ModelError: There is none of a name, or it cannot be downloaded.
        """
        return find_rerankers(text, offline=self.offline, reporter=self.reporter)

    def find_reranker(self, name: str) -> ResolvedReranker:
        """Return a single reranker by its name.

        Raises:
            InvalidArgumentError: The name stands for several, or for none.
            ModelError: There is none of this name, or it cannot be downloaded.
        """
        return find_reranker(name, offline=self.offline, reporter=self.reporter)

    def reranker(self, resolved: ResolvedReranker, long: str = TRUNCATE) -> Reranker:
        """Load a reranker.

        Args:
            long: How it reads texts beyond its limit: one of LONG.

        Raises:
            ModelError: It cannot be loaded.
        """
        return self.loaded.once(
            ("reranker", *_key(resolved), long),
            lambda: load_one(resolved, self.settings, long, self.reporter, self.loaded),
        )

    def rerankers(
        self, found: FoundRerankers, long: str = TRUNCATE
    ) -> tuple[Reranker, list[Step[Reranker]]]:
        """Load the last reranker of a cascade, and those before it.

        Raises:
            ModelError: One cannot be loaded.
        """
        before = [Step(self.reranker(one, long), keep) for one, keep in found.before]
        return self.reranker(found.last, long), before

    def cached_reranker(self, resolved: ResolvedReranker, long: str = TRUNCATE) -> TimedReranker:
        """Return a reranker that keeps its scores on disk, and is loaded when one is missing."""
        return self.loaded.once(
            ("cached", *_key(resolved), long),
            lambda: cached_reranker(resolved, self.settings, long, self.reporter, self.loaded),
        )

    @property
    def indexing(self) -> EngineSettings:
        """How an embedder runs where an index is made: the token limit is for rerankers."""
        return replace(self.settings, max_length=None)


def _key(resolved: ResolvedReranker) -> tuple[str, Path]:
    # A folder's name means another folder once the process works elsewhere.
    return resolved.name, Path(resolved.name).absolute()
