"""The base class of rerankers that are resolved but not loaded.

It knows no kinds; `registry` lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ettin_cli.errors import ModelError
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles, find_model, weights_hash
from ettin_cli.models.token_counting import ModelTokens, load_token_counter
from ettin_cli.records import Reporter, Reranker, Silence
from ettin_cli.runtime import Loaded
from ettin_cli.storage import checksum

if TYPE_CHECKING:
    from ettin_cli.models.rerankers.maxsim import TokenEncoder, WordCounts

# Files besides the weights that determine a model's scores.
CONFIGURATION = (".json", ".txt", ".model", ".py", ".metadata")


class Reference:
    """A reranker's name for `-r`, still to be resolved.

    Args:
        offline: Whether the network is disabled.
        files: The model of this name, if it is already known.
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
            ModelError: The model does not exist here or on the hub, or is incomplete.
        """
        return self._files or find_model(self.name, offline=self.offline, reporter=self.reporter)


class TextLayout(NamedTuple):
    """The layout of a reranker's input, which determines the length of windows.

    Args:
        tokens: Counts the reranker's tokens.
        pairs: Whether a query and a text share the limit; else a text has all of it.
        prompt: Prefix of a query, or of a text if texts are read alone.
    """

    tokens: ModelTokens
    pairs: bool
    prompt: str


class ResolvedReranker(ABC):
    """A reranker that is resolved but not loaded.

    Args:
        name: Its name in results.
        revision: Its commit on the hub, if any.
    """

    # How it ranks, if that is lost when its encoder is trained as a cross-encoder.
    ranks_by: str | None = None
    # The share of the retrieval score that ranks best with this reranker (`--blend auto`), as
    # measured; 0 until it is.
    blend = 0.0
    # Whether the model reads a query together with a text, as a cross-encoder does.
    reads_pairs = True

    def __init__(self, name: str, revision: str | None = None) -> None:
        self.name, self.revision = name, revision

    @property
    @abstractmethod
    def identity(self) -> str:
        """A string that changes whenever scores may change.

        Scores, calibrations and unfinished outputs with another identity are not used. The device,
        dtype, token limit and library versions are added to it.
        """

    @abstractmethod
    def load(self, settings: EngineSettings, reporter: Reporter, loaded: Loaded) -> Reranker:
        """Load the reranker.

        Args:
            loaded: Where to share a model that an embedder may use too.

        Raises:
            ModelError: It cannot be loaded, or not on the requested device.
        """

    @property
    def stored_name(self) -> str:
        """The name of files about it; independent of how it is referred to."""
        return self.name

    @property
    def facts(self) -> dict[str, str]:
        """Facts that a stored calibration must match, by name for messages."""
        return {"identity": self.identity}

    def layout(self) -> TextLayout:
        """Return the layout of its input, for `--long max`.

        Raises:
            ModelError: The layout is unknown.
        """
        raise ModelError(f"{self.name} cannot score long texts in windows")


class FolderReranker(ResolvedReranker):
    """A reranker that is a model in a folder."""

    # Whether `ettin bench` can compute the same scores with sentence-transformers.
    has_counterpart = True
    # Whether it supports only English.
    english = False

    def __init__(self, files: ModelFiles) -> None:
        super().__init__(files.name, files.revision)
        self.files = files

    @property
    def formula(self) -> str | None:
        """What determines its scores besides its files."""
        return None

    @property
    def weights(self) -> str:
        """The SHA-256 of its weights."""
        return weights_hash(self.files.folder)

    def over(
        self,
        stored: TokenEncoder,
        encoder: TokenEncoder,
        counts: WordCounts | None,
        reporter: Reporter,
    ) -> Reranker | None:
        """Return the reranker over stored token vectors; None if it compares none.

        Args:
            stored: Has the vectors of texts, and those of queries in the same space.
            encoder: The reranker's own.
            counts: Counts the words of stored texts; None: words are counted in the texts.
        """
        return None

    @property
    def identity(self) -> str:
        """The hash of its weights, with the checksums of its other files."""
        folder = self.files.folder
        what = (self.formula, self.weights, _configuration(folder))
        return repr(what)[1:-1]

    @property
    def stored_name(self) -> str:
        """The hub id; for a folder its last part, so that it does not depend on the path."""
        folder = self.files.folder
        return folder.resolve().name if Path(self.name) == folder else self.name

    @property
    def facts(self) -> dict[str, str]:
        """The hash of its weights, and its formula if it has one."""
        formula = {"formula": self.formula} if self.formula else {}
        return {"weights": self.weights, **formula}

    def layout(self) -> TextLayout:
        """Return the layout of its input.

        Raises:
            ModelError: It has no tokenizer.json to count tokens with.
        """
        return TextLayout(load_token_counter(self.files), self.reads_pairs, self.prompt())

    def prompt(self) -> str:
        """Return the prefix of a query, or of a text if texts are read alone."""
        return ""


def _configuration(folder: Path) -> list[tuple[str, str]]:
    """Return names and checksums of the files besides the weights that determine scores."""
    return [
        (path.relative_to(folder).as_posix(), checksum(path))
        for path in sorted(folder.rglob("*"))
        if path.suffix in CONFIGURATION and path.is_file()
    ]
