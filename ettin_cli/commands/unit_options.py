"""The options of commands that do their work in units, on this machine or on a Ray cluster."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.clusters import LOCAL, RAY, Placement, UnitFolder, check_placement
from ettin_cli.errors import UsageError

On = Annotated[
    str, typer.Option("--on", metavar="WHERE", help="Where to run: local, or ray (a cluster).")
]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="N|N-M",
        help="Workers on Ray; one per GPU by default, else one per CPU but one.",
    ),
]
CpusPerWorker = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="CPUs of a worker on Ray; 1 by default.")
]
GpusPerWorker = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, help="GPUs of a worker on Ray; 1 by default if there are any."
    ),
]
UnitRows = Annotated[
    int | None,
    typer.Option(
        "--unit",
        metavar="ROWS",
        min=1,
        help="Work in units of this many rows; on Ray 4,096 by default, or 32,768 with "
        "--gpus-per-worker.",
    ),
]
UnitQueries = Annotated[
    int | None,
    typer.Option(
        "--unit",
        metavar="QUERIES",
        min=1,
        help="Work in units of this many queries; on Ray 256 by default, or 4,096 with "
        "--gpus-per-worker.",
    ),
]
# Rows of a unit on CPUs and on GPUs, which take about a minute.
ROWS, QUERIES = (4096, 32_768), (256, 4096)

_WORKERS = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class UnitOptions:
    """How a command works in units.

    Args:
        rows: The least number of rows of a unit; None: not given.
        in_folder: Whether the output is a folder of parts.
        usual: The number of rows of a unit if it is not given: on CPUs, and on GPUs.
    """

    placement: Placement
    rows: int | None
    in_folder: bool
    usual: tuple[int, int] = ROWS

    @property
    def usual_rows(self) -> int:
        """The number of rows of a unit if it is not given."""
        on_cpus, on_gpus = self.usual
        return on_gpus if self.placement.gpus else on_cpus


def unit_options(
    on: str,
    workers: str | None,
    cpus: int | None,
    gpus: int | None,
    unit: int | None,
    output: str | None,
    usual: tuple[int, int] = ROWS,
) -> UnitOptions | None:
    """Return how to work in units; None if the options do not ask for it.

    Args:
        output: The output as it was typed: a folder if it ends with a slash.
        usual: The number of rows of a unit if it is not given: on CPUs, and on GPUs.

    Raises:
        UsageError: The options do not fit together.
        InvalidArgumentError: The extra `ray` is not installed, or the address cannot be used.
    """
    if on not in (LOCAL, RAY):
        raise UsageError(f"unknown place {on!r}", hint=f"--on {LOCAL} or --on {RAY}")
    for name, value in (
        ("--workers", workers),
        ("--cpus-per-worker", cpus),
        ("--gpus-per-worker", gpus),
    ):
        if value is not None and on != RAY:
            raise UsageError(f"{name} needs --on {RAY}", hint=f"leave out {name}")
    in_folder = output is not None and output.endswith("/")
    if on != RAY and unit is None and not in_folder:
        _refuse_unfinished(output)
        return None
    placement = Placement(on, _sizes(workers), cpus, gpus)
    check_placement(placement)
    if output is None or output == "-":
        asked = f"--on {RAY}" if on == RAY else "--unit"
        raise UsageError(f"{asked} needs an output file or folder", hint="-o FILE, or -o FOLDER/")
    return UnitOptions(placement, unit, in_folder, usual)


def _refuse_unfinished(output: str | None) -> None:
    """Refuse to write without units what a run in units has begun."""
    if output is None or output == "-":
        return
    folder = UnitFolder(Path(os.path.realpath(output)), "")
    if folder.plan() is not None:
        raise UsageError(
            f"{folder.root} is left over from an unfinished run in units",
            hint="continue it with the options of that run, or remove it to start over",
        )


def check_queries(queries: Path | None) -> None:
    """Check that queries can be divided into units, and read again by a run that resumes.

    Raises:
        UsageError: There is no file, or it is standard input.
    """
    if queries is None:
        raise UsageError("only a file of queries can be cut into units", hint="--queries FILE")
    if str(queries) == "-":
        raise UsageError("stdin cannot be cut into units", hint="write it to a file first")


def output_path(output: str | None) -> Path | None:
    """Return the path of an output as it was typed."""
    return None if output is None else Path(output)


def _sizes(workers: str | None) -> tuple[int, int] | None:
    if workers is None:
        return None
    match = _WORKERS.fullmatch(workers)
    if match:
        least = int(match[1])
        most = int(match[2] or least)
        if 1 <= least <= most:
            return least, most
    raise UsageError(
        f"--workers {workers!r} is not a number from 1, or a range of them", hint="--workers 2-8"
    )
