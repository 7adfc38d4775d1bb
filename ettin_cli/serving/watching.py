"""Keep an index up to date with its sources while it is searched."""

from __future__ import annotations

import asyncio
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
from ettin_cli.serving.index_process import run_index
from ettin_cli.serving.served_index import ServedIndex

# At least so many seconds are between the beginnings of two updates.
PAUSE_S = 2.0
# After so long, what is watched is certain to be.
LISTENING_MS = 1000
# Seconds between two looks at a source that cannot be watched.
UNWATCHED_S = 60.0


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
        self._updating = False
        self._checked: str | None = None
        self._failure: str | None = None

    @property
    def state(self) -> dict[str, Any]:
        """When the index was last compared with its sources, and whether the update failed."""
        state = {"checked": self._checked, "failed": self._failure}
        return {**state, "updating": self._updating}

    @property
    def figures(self) -> dict[str, float]:
        """The state, for metrics."""
        return {"update_failed": float(self._failure is not None)}

    async def run(self) -> None:
        """Watch the sources, until the task is cancelled."""
        watching: dict[tuple[Path, str | None], asyncio.Task[None]] = {}
        # What changed before the start.
        self._changed.set()
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                began = time.monotonic()
                self._watch_all(watching)
                await self._update()
                await asyncio.sleep(max(0.0, began + PAUSE_S - time.monotonic()))
        finally:
            for one in watching.values():
                one.cancel()
            await asyncio.gather(*watching.values(), return_exceptions=True)

    def _watch_all(self, watching: dict[tuple[Path, str | None], asyncio.Task[None]]) -> None:
        """Watch the sources of the index as it is now."""
        with suppress(EttinError):
            wanted = set(_watched(self.index))
            for place in watching.keys() - wanted:
                watching.pop(place).cancel()
            for place in wanted - watching.keys():
                watching[place] = asyncio.create_task(self._watch(*place))

    async def _watch(self, folder: Path, name: str | None) -> None:
        """Note the changes of a folder, or of the file of a name in it."""
        from watchfiles import awatch

        own = self.index.folder.resolve()

        def counts(_change: object, path: str) -> bool:
            changed = Path(path)
            return not changed.is_relative_to(own) and name in (None, changed.name)

        while True:
            begun = False
            events = awatch(
                folder,
                watch_filter=counts,
                recursive=name is None,
                rust_timeout=LISTENING_MS,
                yield_on_timeout=True,
            )
            try:
                async for changes in events:
                    # The first time also without changes, for those before it listened.
                    if changes or not begun:
                        self._changed.set()
                    begun = True
            except FileNotFoundError:
                # It may be gone for a while, as when a disk is not mounted.
                await asyncio.sleep(PAUSE_S)
            except Exception as error:
                self.reporter.notice(
                    f"{folder} cannot be watched, so it is looked at every {UNWATCHED_S:.0f} s: "
                    f"{error}"
                )
                await asyncio.sleep(UNWATCHED_S)
            self._changed.set()

    async def _update(self) -> None:
        try:
            index = await asyncio.to_thread(self.index.current)
            plan = await asyncio.to_thread(out_of_date, self.index.folder, index)
            if not plan.up_to_date:
                self._updating = True
                await self._run_update()
            self._failure = None
        except (EttinError, OSError) as error:
            problem = error.problem if isinstance(error, EttinError) else str(error)
            if problem != self._failure:
                self.reporter.notice(f"{self.index.name} was not updated: {problem}")
            self._failure = problem
        finally:
            self._updating = False
        self._checked = datetime.now(UTC).isoformat(timespec="seconds")

    async def _run_update(self) -> None:
        succeeded, told = await run_index(self._command)
        lines = [line.removeprefix("ettin: ") for line in told]
        if not succeeded:
            errors = [line for line in lines if line.startswith("error: ")]
            raise EttinError((errors or lines)[-1].removeprefix("error: "))
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
