"""Work in units for tests: copies lines in capitals, and ends its process at one of them.

    python -m tests.unit_jobs PLACE OUTPUT RESUME

does it where `ettin` would, in a process that such a line can end.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ettin_cli.clusters import RAY, Placement, UnitFolder, Work, run_units, units_of
from ettin_cli.errors import EttinError, ModelError
from ettin_cli.records import Reporter, Silence

TEXTS = tuple(f"line {number}" for number in range(8))
POISON = "poison"


@dataclass(frozen=True)
class Text:
    """A range of one row."""

    text: str
    rows: int = 1
    kind: str = "text"

    @property
    def identity(self) -> str:
        return self.text


@dataclass(frozen=True)
class Capitals:
    """Writes a text in capitals.

    Args:
        fails: What loading does: "" succeeds, "known" and "unknown" raise.
        engine: The version of a library.
    """

    fails: str = ""
    engine: str = "1"

    def load(self, reporter: Reporter) -> tuple[Work, Mapping[str, str]]:
        if self.fails == "known":
            raise ModelError("the model is not here", code="model-unavailable", name="m")
        if self.fails == "unknown":
            raise RuntimeError("a fault of its own")
        reporter.notice("the model was loaded")
        return partial(self._do), {"library": self.engine}

    def _do(self, held: Text, part: BinaryIO, rejects: BinaryIO) -> Mapping[str, int]:
        if held.text == POISON:
            os._exit(9)
        part.write(held.text.upper().encode() + b"\n")
        return {"texts": 1}


def run(
    output: Path,
    *,
    texts: tuple[str, ...] = TEXTS,
    job: Capitals | None = None,
    placement: Placement | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> UnitFolder:
    """Do the work, and make the output."""
    folder = UnitFolder(output, ".txt")
    units = list(units_of(map(Text, texts), "recipe"))
    folder.begin({"units": [unit.name for unit in units]}, units, resume=resume)
    run_units(
        *(job or Capitals(), units, folder, placement or Placement(), reporter or Silence()), "work"
    )
    folder.write_rejects(units)
    folder.into_file(units, b"")
    folder.remove()
    return folder


def main(place: str, output: str, resume: str) -> int:
    """Do work with a line that ends its process; return the exit code."""
    texts = (*TEXTS[:2], POISON, *TEXTS[2:])
    placement = Placement(place, (2, 2) if place == RAY else None)
    try:
        run(Path(output), texts=texts, placement=placement, resume=resume == "resume")
    except EttinError as error:
        sys.stdout.write(f"{error.code} {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    # Not from this module's second name, under which a worker would not find its classes.
    from tests import unit_jobs

    sys.exit(unit_jobs.main(*sys.argv[1:]))
