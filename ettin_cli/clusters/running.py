"""Do the units of a job, in this process or on Ray, and show the progress."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from contextvars import ContextVar

from ettin_cli.clusters.placement import RAY, Placement
from ettin_cli.clusters.unit_folder import UnitFolder
from ettin_cli.clusters.units import MOST_STARTS, Job, Receipt, Unit
from ettin_cli.clusters.worker import Worker
from ettin_cli.errors import EttinError
from ettin_cli.records import Reporter

SHOWN = 5
# Closed when the cluster of a block of runs is no longer needed.
_shared: ContextVar[ExitStack | None] = ContextVar("shared", default=None)


@contextmanager
def one_cluster() -> Iterator[None]:
    """Let all runs of the block use one cluster, which the first of them on Ray starts."""
    with ExitStack() as stack:
        before = _shared.set(stack)
        try:
            yield
        finally:
            _shared.reset(before)


def run_units(
    job: Job,
    units: Sequence[Unit],
    folder: UnitFolder,
    placement: Placement,
    reporter: Reporter,
    label: str,
) -> None:
    """Do all units that are not done; on return each has a part in the folder.

    Raises:
        EttinError: The work cannot be done, or some units were given up and the others are done.
    """
    done, numbered = folder.done(units), {unit.number: unit for unit in units}
    left = [unit for unit in units if unit.number not in done]
    if not left:
        return
    ran = 0
    given_up: list[Unit] = []
    said: set[str] = set()
    rows = sum(unit.range.rows for unit in left)
    receipts = _receipts(job, left, folder, placement, reporter)
    with reporter.track(label, rows or None, "rows") as advance, closing(receipts):
        for receipt in receipts:
            if receipt.error is not None:
                raise receipt.error
            if receipt.given_up:
                given_up.append(numbered[receipt.unit])
            else:
                ran += 1
            for notice in receipt.notices:
                if notice not in said:
                    said.add(notice)
                    reporter.notice(notice)
            if len(given_up) == MOST_STARTS and not ran:
                # Each of 30,000 units need not be tried.
                break
            advance(numbered[receipt.unit].range.rows)
    if given_up:
        for unit in given_up:
            folder.forgive(unit)
        raise _given_up(given_up, ran)


def _given_up(units: Sequence[Unit], ran: int) -> EttinError:
    named = ", ".join(map(str, units[:SHOWN])) + (", ..." if len(units) > SHOWN else "")
    rest = "the others are done" if ran else "no other unit was done"
    return EttinError(
        f"given up after {MOST_STARTS} starts that ended their worker: {named}; {rest}",
        code="units-given-up",
        units=tuple(unit.number for unit in units),
    )


def _receipts(
    job: Job, units: Sequence[Unit], folder: UnitFolder, placement: Placement, reporter: Reporter
) -> Generator[Receipt, None, None]:
    run = uuid.uuid4().hex[:8]
    if placement.on == RAY:
        from ettin_cli.clusters.on_ray import receipts_from_ray

        return receipts_from_ray(job, units, folder, run, placement, reporter, _shared.get())
    return _here(Worker(job, folder, run, every=True), units)


def _here(worker: Worker, units: Sequence[Unit]) -> Generator[Receipt, None, None]:
    for unit in units:
        yield worker(unit)
