"""torch: the backend for GPUs, and for whatever the others cannot run."""

from __future__ import annotations

from ettin_cli.models.engines.backends import Backend
from ettin_cli.models.engines.settings import EngineSettings


class TorchBackend(Backend):
    """torch on any device, with sentence-transformers' own classes; see `Placement`."""

    name, title, module = "torch", "torch", "torch"

    def problem(self, settings: EngineSettings) -> str | None:
        """Return None: problems are found when the device is initialised."""
        return None

    def automatic(self, settings: EngineSettings) -> bool:
        """Return whether it is tried if no backend was requested: always."""
        return True

    def library(self, settings: EngineSettings) -> None:
        """Return None: no graph is loaded."""
