"""Keep an index up to date with its sources while it is searched."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ettin_cli.errors import EttinError, MissingExtraError
from ettin_cli.index import Index
from ettin_cli.indexing import base_of, out_of_date
from ettin_cli.models.engines import EngineSettings
from ettin_cli.records import Reporter
from ettin_cli.serving.served_index import ServedIndex

# At least so many seconds are between the beginnings of two updates.
PAUSE_S = 2.0
# An exit code of `ettin index`: done, but some inputs were rejected.
REJECTED = 3


def require_watch() -> None:
    """Check that the package that watches files is installed.

    Raises:
        MissingExtraError: It is not.
    """
    try:
        import watchfiles  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "watching sources needs watchfiles", package="ettin-cli[serve]"
        ) from error


class Watch:
    """Updates an index when its sources change, by `ettin index` in a process of its own.

    Args:
        settings: How the embedder runs.
        reporter: Receives what was updated, and failures.
    """

    def __init__(
        self, index: ServedIndex, settings: EngineSettings, *, offline: bool, reporter: Reporter
    ) -> None:
        self.index, self.reporter = index, reporter
        self._command = update_command(index.folder, settings, offline=offline)
        self._changed = asyncio.Event()
        self._process: subprocess.Popen[str] | None = None
        self._checked: str | None = None
        self._failure: str | None = None

    @property
    def state(self) -> dict[str, Any]:
        """When the index was last compared with its sources, and whether the update failed."""
        updating = self._process is not None
        return {"checked": self._checked, "updating": updating, "failed": self._failure}

    @property
    def figures(self) -> dict[str, float]:
        """The state, for metrics."""
        return {"update_failed": float(self._failure is not None)}

    async def run(self) -> None:
        """Watch the sources, until the task is cancelled."""
        watching = [asyncio.create_task(self._watch(*one)) for one in _watched(self.index)]
        # What changed before the start.
        self._changed.set()
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                began = time.monotonic()
                await self._update()
                await asyncio.sleep(max(0.0, began + PAUSE_S - time.monotonic()))
        finally:
            for one in watching:
                one.cancel()
            if self._process:
                self._process.terminate()

    async def _watch(self, folder: Path, name: str | None) -> None:
        """Note the changes of a folder, or of the file of a name in it."""
        from watchfiles import awatch

        own = self.index.folder.resolve()

        def counts(_change: object, path: str) -> bool:
            changed = Path(path)
            return not changed.is_relative_to(own) and name in (None, changed.name)

        while True:
            # The folder may be gone for a while, as when a disk is not mounted.
            with suppress(FileNotFoundError, RuntimeError):
                async for _ in awatch(folder, watch_filter=counts, recursive=name is None):
                    self._changed.set()
            await asyncio.sleep(PAUSE_S)
            self._changed.set()

    async def _update(self) -> None:
        try:
            index = await asyncio.to_thread(self.index.current)
            plan = await asyncio.to_thread(out_of_date, self.index.folder, index)
            if not plan.up_to_date:
                await self._run_update()
            self._failure = None
        except (EttinError, OSError) as error:
            problem = error.problem if isinstance(error, EttinError) else str(error)
            if problem != self._failure:
                self.reporter.notice(f"{self.index.name} was not updated: {problem}")
            self._failure = problem
        self._checked = datetime.now(UTC).isoformat(timespec="seconds")

    async def _run_update(self) -> None:
        process = self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            _, told = await asyncio.to_thread(process.communicate)
        finally:
            self._process = None
        lines = [line.removeprefix("ettin: ") for line in told.splitlines() if line.strip()]
        if process.returncode not in (0, REJECTED):
            errors = [line for line in lines if line.startswith("error: ")]
            message = (errors or lines or [f"exit code {process.returncode}"])[-1]
            raise EttinError(message.removeprefix("error: "))
        self.reporter.notice(lines[-1] if lines else f"{self.index.name} is updated")


def update_command(folder: Path, settings: EngineSettings, *, offline: bool) -> list[str]:
    """Return the command that updates an index."""
    command = [sys.executable, "-m", "ettin_cli", "index", "-i", str(folder)]
    command += ["--color", "never", "--device", settings.device, "--dtype", settings.dtype]
    command += ["--batch-size", str(settings.batch_size)] if settings.batch_size else []
    command += ["--threads", str(settings.threads)] if settings.threads else []
    command += ["--trust-remote-code"] if settings.trust_remote_code else []
    return [*command, *(["--offline"] if offline else [])]


def _watched(index: ServedIndex) -> list[tuple[Path, str | None]]:
    """Return the folders to watch, each with the name of its one file that matters, if so."""
    base = base_of(index.folder)
    found: list[tuple[Path, str | None]] = []
    for source in Index(index.folder).manifest.sources:
        if source.location != "-":
            place = (base / source.location).resolve()
            found.append((place.parent, place.name) if place.is_file() else (place, None))
    return found
