"""What every call of a session needs: its models, its settings and its reporter."""

from __future__ import annotations

import os

from ettin_cli.models.engines import EngineSettings
from ettin_cli.records import Reporter, Silence
from ettin_cli.runtime import Closing
from ettin_cli.searching import Models


class SessionBase(Closing):
    """Models that are loaded once, and how they run."""

    def __init__(
        self,
        settings: EngineSettings | None = None,
        *,
        offline: bool | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.models = Models(
            EngineSettings.from_environment() if settings is None else settings,
            offline=bool(os.environ.get("ETTIN_OFFLINE")) if offline is None else offline,
            reporter=reporter or Silence(),
        )

    def __repr__(self) -> str:
        settings = self.models.settings
        offline = ", offline" if self.models.offline else ""
        return f"<ettin session: device {settings.device}, dtype {settings.dtype}{offline}>"

    def close(self) -> None:
        """Free the models; one that another thread still uses is freed when that is done."""
        self.models.close()
