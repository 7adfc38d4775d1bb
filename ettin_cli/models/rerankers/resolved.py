"""A reranker that was found and is not loaded: what a kind of reranker subclasses.

Knows no kind; `reranking` has the list of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ettin_cli.errors import ModelError
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles, find_model, weights_hash
from ettin_cli.models.token_counting import ModelTokens, load_token_counter
from ettin_cli.records import Reporter, Reranker, Silence
from ettin_cli.runtime import Loaded
from ettin_cli.storage import checksum

# What else than weights decides a model's score.
CONFIGURATION = (".json", ".txt", ".model", ".py", ".metadata")


class Reference:
    """What `-r` names: one reranker, still to be found.

    Args:
        offline: Whether the network must not be used.
        files: The model of this name, where it was found before.
    """

    def __init__(
        self,
        name: str,
        *,
        offline: bool = True,
        reporter: Reporter | None = None,
        files: ModelFiles | None = None,
    ) -> None:
        self.name, self.offline, self.reporter = name, offline, reporter or Silence()
        self._files = files

    @cached_property
    def files(self) -> ModelFiles:
        """The model's folder: given, cached, or downloaded.

        Raises:
            ModelError: There is no such model here or on the hub, or not all of it.
        """
        return self._files or find_model(self.name, offline=self.offline, reporter=self.reporter)


class TextLayout(NamedTuple):
    """How a reranker lays out what it reads, which tells how long the windows of a text may be.

    Args:
        tokens: Counts tokens as the reranker does.
        pairs: Whether a query and a text share the limit; else a text has all of it.
        prompt: What stands before a query, or where texts are read alone, before a text.
    """

    tokens: ModelTokens
    pairs: bool
    prompt: str


class ResolvedReranker(ABC):
    """A reranker that was found and is not loaded.

    Args:
        name: What results call it.
        revision: Its commit on the hub, if it has one.
    """

    # How it ranks, where that is lost when its encoder is trained as a cross-encoder.
    ranks_by: str | None = None

    def __init__(self, name: str, revision: str | None = None) -> None:
        self.name, self.revision = name, revision

    @property
    @abstractmethod
    def identity(self) -> str:
        """A string that changes whenever a score may change.

        Scores, calibrations and unfinished outputs of another identity are not used. The device,
        dtype, token limit and versions of the libraries are added to it.
        """

    @abstractmethod
    def load(self, settings: EngineSettings, reporter: Reporter, loaded: Loaded) -> Reranker:
        """Load it.

        Args:
            loaded: What a model is shared in that an embedder has too.

        Raises:
            ModelError: It cannot be loaded, or not on the device that was asked for.
        """

    @property
    def stored_name(self) -> str:
        """What files about it are named after; the same however it is referred to."""
        return self.name

    @property
    def facts(self) -> dict[str, str]:
        """What a stored calibration must agree with, by names for messages."""
        return {"identity": self.identity}

    def layout(self) -> TextLayout:
        """Return how it lays out what it reads, for `--long max`.

        Raises:
            ModelError: It does not tell.
        """
        raise ModelError(f"{self.name} does not read long texts in windows")


class FolderReranker(ResolvedReranker):
    """A reranker that is a model in a folder."""

    # Whether one pass of its model reads a query with a text, as a cross-encoder's does.
    reads_pairs = True
    # Whether `ettin bench` can ask sentence-transformers for the same scores.
    has_counterpart = True

    def __init__(self, files: ModelFiles) -> None:
        super().__init__(files.name, files.revision)
        self.files = files

    @property
    def formula(self) -> str | None:
        """What decides its scores beside its files."""
        return None

    @property
    def identity(self) -> str:
        """The hash of its weights, with the checksums of its other files."""
        folder = self.files.folder
        what = (self.formula, weights_hash(folder), _configuration(folder))
        return repr(what)[1:-1]

    @property
    def stored_name(self) -> str:
        """The hub id; of a folder its last part, so that another path to it is the same."""
        folder = self.files.folder
        return folder.resolve().name if Path(self.name) == folder else self.name

    @property
    def facts(self) -> dict[str, str]:
        """The hash of its weights, and the formula if it has one."""
        formula = {"formula": self.formula} if self.formula else {}
        return {"weights": weights_hash(self.files.folder), **formula}

    def layout(self) -> TextLayout:
        """Return how it lays out what it reads.

        Raises:
            ModelError: It has no tokenizer.json to count tokens with.
        """
        return TextLayout(load_token_counter(self.files), self.reads_pairs, self.prompt())

    def prompt(self) -> str:
        """Return what it puts before a query, or where it reads texts alone, before a text."""
        return ""


def _configuration(folder: Path) -> list[tuple[str, str]]:
    """Return the names and checksums of what else than weights decides a score."""
    return [
        (path.relative_to(folder).as_posix(), checksum(path))
        for path in sorted(folder.rglob("*"))
        if path.suffix in CONFIGURATION and path.is_file()
    ]
