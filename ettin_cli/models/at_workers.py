"""Models by name, for a worker on another machine, which resolves and checks them."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass
from pathlib import Path

from ettin_cli import __version__
from ettin_cli.errors import EttinError
from ettin_cli.models.embedders import find_embedder, load_embedder, read_card
from ettin_cli.models.engines import EngineSettings, device_name, processor
from ettin_cli.models.rerankers import library_versions
from ettin_cli.platforms import is_folder
from ettin_cli.records import Embedder, EmbedderCard, Reporter

# Flags of instructions that compute on vectors, by which libraries choose their kernels.
VECTOR_FLAGS = ("amx", "avx", "f16c", "fma", "sse", "asimd", "bf16", "i8mm", "sve")


def enter(folder: Path, version: str) -> None:
    """Work in the driver's working folder, from which relative paths are.

    Raises:
        EttinError: This package has another version here, or the folder does not exist.
        OSError: The folder cannot be looked into.
    """
    host = socket.gethostname()
    if __version__ != version:
        raise EttinError(
            f"{host} has ettin-cli {__version__}, but the driver has {version}",
            code="workers-differ",
        )
    if not is_folder(folder):
        raise EttinError(f"{host} has no folder {folder}", code="not-shared", path=folder)
    if Path.cwd() != folder:
        os.chdir(folder)


def other_model(name: str) -> EttinError:
    """Return the error for a model that is not the driver's."""
    return EttinError(
        f"{name} on {socket.gethostname()} is not the driver's: other weights or configuration",
        code="workers-differ",
    )


def engine_of(settings: EngineSettings) -> dict[str, str]:
    """Return what the output of models depends on besides their files, by name."""
    device = device_name(settings.device)
    flags = [flag for flag in processor().flags if flag.startswith(VECTOR_FLAGS)]
    instructions = " ".join(sorted(flags)) or platform.machine()
    return {
        **{name: version or "none" for name, version in library_versions().items()},
        "device": device,
        # Those of a GPU's host do not compute.
        "instructions": instructions if device == "cpu" else "",
    }


@dataclass(frozen=True, slots=True)
class NamedEmbedder:
    """An embedder as a driver resolved it; small and picklable.

    Args:
        card: Its description, with the hash of its weights.
        folder: The working folder, from which relative paths are.
        version: The version of this package.
    """

    card: EmbedderCard
    settings: EngineSettings
    offline: bool
    folder: Path
    version: str = __version__

    def load(self, reporter: Reporter) -> Embedder:
        """Load the embedder here.

        Raises:
            EttinError: It cannot be loaded, or is not the driver's.
        """
        enter(self.folder, self.version)
        card = self.card
        files = find_embedder(card.name, offline=self.offline, reporter=reporter)
        found = read_card(files, card.max_tokens, card.dimension)
        made = (card.weights, card.document_prompt, card.max_tokens)
        if (found.weights, found.document_prompt, found.max_tokens) != made:
            raise other_model(card.name)
        return load_embedder(files, self.settings, reporter, card)
