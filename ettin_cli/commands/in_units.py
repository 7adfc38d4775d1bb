"""Run the work of a command in units: plan it, do it, and make the output from the parts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ettin_cli.clusters import (
    Job,
    Made,
    Range,
    Records,
    Unit,
    UnitFolder,
    ranges_of,
    run_units,
    units_of,
)
from ettin_cli.commands import options
from ettin_cli.commands.unit_options import UnitOptions
from ettin_cli.console import Console, count, size
from ettin_cli.corpus import WHOLE, Piece
from ettin_cli.errors import OutputError, UsageError
from ettin_cli.files import only_writer, output_errors
from ettin_cli.files.requests import Spool

# Bytes of a file that is one unit, from which on the user is told so.
LARGE = 1 << 30


@dataclass(frozen=True, slots=True)
class UnitRun:
    """A command's work in units.

    Args:
        input: The input file.
        output: The output file or folder.
        label: What the work is called in the progress.
        recipe: A hash of everything but the input and the units that determines the output.
        suffix: The suffix of the parts.
        begin: What comes before the first part in an output file.
        made: Makes an output file from the parts; None: they are put together.
        end: What comes after the last part in an output file.
        records: What the units are ranges of, for workers to read; None: the input itself.
        resumed_by: How a user resumes the run.
    """

    input: Path
    output: Path
    label: str
    recipe: str
    suffix: str
    begin: bytes = b""
    made: Made | None = None
    end: bytes = b""
    records: Spool | None = None
    resumed_by: str = "run the same command with --resume"

    @property
    def folder(self) -> UnitFolder:
        """The folder of unfinished work."""
        return UnitFolder(Path(os.path.realpath(self.output)), self.suffix)

    def run(
        self,
        chosen: UnitOptions,
        pieces: Callable[[int], Iterable[Range]],
        job: Job,
        console: Console,
        *,
        resume: bool,
    ) -> Mapping[str, int]:
        """Do the units, make the output, and return the sums of their counts.

        Args:
            pieces: Cuts the input into pieces of a number of rows.
            job: The work.

        Raises:
            EttinError: The work cannot be done, or some units were given up.
        """
        with self.done(chosen, pieces, job, console, resume=resume) as units:
            return self._finished(units, in_folder=chosen.in_folder)

    @contextmanager
    def done(
        self,
        chosen: UnitOptions,
        pieces: Callable[[int], Iterable[Range]],
        job: Job,
        console: Console,
        *,
        resume: bool,
    ) -> Iterator[Sequence[Unit]]:
        """Do the units, and keep their parts until the block has succeeded.

        Args:
            pieces: As in `run`.
            job: As in `run`.

        Raises:
            EttinError: The work cannot be done, or some units were given up.
        """
        folder = self.folder
        output = folder.output
        with only_writer(output), output_errors(output):
            earlier = folder.plan()
            if earlier is None:
                self._check_output(output, chosen)
            earlier_rows = folder.planned_rows() if resume else None
            rows = chosen.rows or earlier_rows or chosen.usual_rows
            units = list(units_of(pieces(rows), self.recipe))
            self._notice_whole(units, console)
            plan = self._plan(units, rows, in_folder=chosen.in_folder)
            folder.begin(plan, units, resume=resume)
            with folder.removed_if_useless(units):
                if not folder.moved(units):
                    self._check_output(output, chosen)
                    if self.records:
                        folder.write_records(self.records.whole())
                if done := len(folder.done(units)):
                    console.notice(f"resuming after {done:,} of {count(len(units), 'unit')}")
                with options.resumable(f"to resume, {self.resumed_by}", console):
                    run_units(job, units, folder, chosen.placement, console, self.label)
                    yield units
                    folder.remove()

    def _check_output(self, output: Path, chosen: UnitOptions) -> None:
        if chosen.in_folder and output.exists():
            if not output.is_dir():
                raise UsageError(f"{output} is a file", hint="leave out the slash at the end of -o")
            if any(output.iterdir()):
                raise OutputError(f"{output} already exists", code="output-exists")

    def _notice_whole(self, units: Sequence[Unit], console: Console) -> None:
        whole = units and isinstance(units[0].range, Piece) and units[0].range.kind == WHOLE
        if whole and (length := self.input.stat().st_size) > LARGE:
            console.notice(
                f"{self.input} ({size(length)}) cannot be cut, so it is one unit; "
                "plain JSONL and Parquet can be"
            )

    def _plan(self, units: Sequence[Unit], rows: int, *, in_folder: bool) -> Mapping[str, object]:
        import xxhash

        names = "\n".join(unit.name for unit in units)
        return {
            "recipe": self.recipe,
            "rows": rows,
            "folder": in_folder,
            "units": xxhash.xxh3_128_hexdigest(names.encode()),
        }

    def _finished(self, units: Sequence[Unit], *, in_folder: bool) -> Mapping[str, int]:
        """Make the output."""
        folder = self.folder
        counts: Counter[str] = Counter()
        for unit in units:
            counts.update(folder.receipt(unit).counts)
        if self.records is None:
            folder.write_rejects(units)
        if in_folder:
            folder.into_folder(units)
        else:
            folder.into_file(units, self.begin, self.end, self.made)
        return counts


def pieces_of(records: Spool) -> Callable[[int], Iterable[Records]]:
    """Return a function that cuts records into pieces of a number of rows."""
    return lambda rows: ranges_of(records.whole(), rows)
