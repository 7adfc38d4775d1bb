"""torch: the backend for a GPU, and for whatever the others do not compute."""

from __future__ import annotations

from ettin_cli.models.engines.backends import Backend
from ettin_cli.models.engines.settings import EngineSettings


class TorchBackend(Backend):
    """torch on any device, by sentence-transformers' own classes; see `Placement`."""

    name, title, module = "torch", "torch", "torch"

    def problem(self, settings: EngineSettings) -> str | None:
        """Return None: what cannot be computed so is found when the device is taken."""
        return None

    def automatic(self, settings: EngineSettings) -> bool:
        """Say whether it is tried where no backend was asked for: always."""
        return True

    def library(self, settings: EngineSettings) -> None:
        """Return None: no graph is loaded."""
