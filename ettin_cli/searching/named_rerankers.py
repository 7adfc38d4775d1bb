"""Rerankers by name, for a worker on another machine, which resolves and checks them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ettin_cli import __version__
from ettin_cli.models import engine_of, enter, other_model
from ettin_cli.models.engines import EngineSettings
from ettin_cli.models.rerankers import ResolvedReranker
from ettin_cli.records import Reporter
from ettin_cli.searching.session_models import Models


@dataclass(frozen=True, slots=True)
class NamedRerankers:
    """Rerankers as a driver resolved them; small and picklable.

    Args:
        identities: Hashes of their weights and configuration, by name.
        folder: The working folder, from which relative paths are.
        version: The version of this package.
    """

    identities: tuple[tuple[str, str], ...]
    settings: EngineSettings
    offline: bool
    folder: Path
    version: str = __version__

    @classmethod
    def of(cls, rerankers: Iterable[ResolvedReranker], models: Models) -> Self:
        """Return the names of rerankers, to be resolved from this working folder."""
        identities = tuple((reranker.name, reranker.identity) for reranker in rerankers)
        return cls(identities, models.settings, models.offline, Path.cwd())

    def models(self, reporter: Reporter) -> Models:
        """Return models that load here, in the driver's working folder.

        Raises:
            EttinError: This package has another version here, or the folder does not exist.
        """
        enter(self.folder, self.version)
        return Models(self.settings, offline=self.offline, reporter=reporter)

    def check(self, rerankers: Iterable[ResolvedReranker]) -> None:
        """Check that rerankers are those of the driver.

        Raises:
            EttinError: One of them has other weights or another configuration.
        """
        for reranker, (name, identity) in zip(rerankers, self.identities, strict=True):
            if reranker.identity != identity:
                raise other_model(name)

    def engine(self) -> dict[str, str]:
        """Return what scores depend on besides the models, by name."""
        return engine_of(self.settings)
