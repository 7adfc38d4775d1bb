"""Rerankers by name, for a worker on another machine, which resolves and checks them."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ettin_cli import __version__
from ettin_cli.errors import EttinError
from ettin_cli.models.engines import EngineSettings, device_name, processor
from ettin_cli.models.rerankers import ResolvedReranker, library_versions
from ettin_cli.records import Reporter
from ettin_cli.searching.session_models import Models

# Flags of instructions that compute on vectors, by which libraries choose their kernels.
VECTOR_FLAGS = ("amx", "avx", "f16c", "fma", "sse", "asimd", "bf16", "i8mm", "sve")


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
        host = socket.gethostname()
        if __version__ != self.version:
            raise EttinError(
                f"{host} has ettin-cli {__version__}, but the driver has {self.version}",
                code="workers-differ",
            )
        if not self.folder.is_dir():
            raise EttinError(
                f"{host} has no folder {self.folder}", code="not-shared", path=self.folder
            )
        if Path.cwd() != self.folder:
            os.chdir(self.folder)
        return Models(self.settings, offline=self.offline, reporter=reporter)

    def check(self, rerankers: Iterable[ResolvedReranker]) -> None:
        """Check that rerankers are those of the driver.

        Raises:
            EttinError: One of them has other weights or another configuration.
        """
        for reranker, (name, identity) in zip(rerankers, self.identities, strict=True):
            if reranker.identity != identity:
                raise EttinError(
                    f"{name} on {socket.gethostname()} is not the driver's: other weights or "
                    "configuration",
                    code="workers-differ",
                )

    def engine(self) -> dict[str, str]:
        """Return what scores depend on besides the models, by name."""
        device = device_name(self.settings.device)
        flags = [flag for flag in processor().flags if flag.startswith(VECTOR_FLAGS)]
        instructions = " ".join(sorted(flags)) or platform.machine()
        return {
            **{name: version or "none" for name, version in library_versions().items()},
            "device": device,
            # Those of a GPU's host do not compute.
            "instructions": instructions if device == "cpu" else "",
        }
