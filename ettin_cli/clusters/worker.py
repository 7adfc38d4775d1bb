"""A worker: does units one after another, with what it loads for the first one."""

from __future__ import annotations

import socket

from ettin_cli.clusters.unit_folder import UnitFolder
from ettin_cli.clusters.units import MOST_STARTS, Job, Receipt, Unit, Work
from ettin_cli.errors import EttinError
from ettin_cli.platforms import is_folder
from ettin_cli.records import Silence


class _Notices(Silence):
    """A reporter that keeps notices, and shows nothing."""

    def __init__(self) -> None:
        self.kept: dict[str, None] = {}

    def notice(self, message: str) -> None:
        """Keep the message."""
        self.kept[message] = None


class Worker:
    """Does units of a job.

    Args:
        run: The name of the run whose starts count against a unit.
        every: Count the starts of all runs: a worker that dies ends its run.
    """

    def __init__(self, job: Job, folder: UnitFolder, run: str, *, every: bool) -> None:
        self.job, self.folder, self.run, self.every = job, folder, run, every
        self.reporter = _Notices()
        self._work: Work | None = None

    def __call__(self, unit: Unit) -> Receipt:
        """Do a unit, unless it is done or was begun too often.

        Raises:
            EttinError: The work cannot be done here.
            OSError: The folder cannot be looked into.
        """
        folder = self.folder
        if not is_folder(folder.root):
            raise EttinError(
                f"{socket.gethostname()} has no folder {folder.root}",
                code="not-shared",
                path=folder.root,
            )
        if folder.part(unit).exists():
            return folder.receipt(unit)
        if folder.starts(unit, None if self.every else self.run) >= MOST_STARTS:
            return Receipt(unit.number, given_up=True)
        with folder.started(unit, self.run):
            work = self._loaded()
            with (
                folder.draft(unit.name) as (part, part_path),
                folder.draft(unit.name) as (rejects, rejects_path),
            ):
                counts = work(unit.range, part, rejects)
            receipt = Receipt(unit.number, counts, tuple(self.reporter.kept))
            folder.keep(unit, part_path, rejects_path, receipt)
        return receipt

    def _loaded(self) -> Work:
        if self._work is None:
            work, engine = self.job.load(self.reporter)
            self.folder.agree(engine)
            self._work = work
        return self._work
