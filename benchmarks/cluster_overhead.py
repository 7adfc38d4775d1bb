"""Measure what `--on ray` costs: of 2,000 passages, and of units that do nothing.

    python -m benchmarks.cluster_overhead [--passages 2000] [--units 30518]

Reranks passages in one process of two threads, and by two workers of one thread on a cluster of
this machine; the CPU seconds of the workers are not counted. Then does empty units with a pool of
two workers. The model has Ettin's architecture, a small shape and seeded random weights.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks import cluster_overhead
from benchmarks.cluster_kills import STORIES, start
from benchmarks.rerank_kills import make_input
from ettin_cli.clusters import Placement, UnitFolder, Work, run_units, units_of
from ettin_cli.records import Reporter, Silence
from tests.models import ettin


@dataclass(frozen=True)
class Nothing:
    """A range without content."""

    number: int
    rows: int = 1

    @property
    def identity(self) -> str:
        """Its number."""
        return str(self.number)


@dataclass(frozen=True)
class Idle:
    """Work that does nothing."""

    def load(self, reporter: Reporter) -> tuple[Work, Mapping[str, str]]:
        """Load nothing."""
        return _nothing, {}


def _nothing(held: Nothing, part: BinaryIO, rejects: BinaryIO) -> Mapping[str, int]:
    return {}


def timed(folder: Path, *more: str) -> tuple[float, float]:
    """Return the seconds and the CPU seconds of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    running = start(folder, None, *more)
    _, err = running.communicate()
    if running.returncode != 3:
        sys.exit(err)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu


def main() -> None:
    """Print the seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--passages", type=int, default=2000)
    parser.add_argument("--units", type=int, default=30_518)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_input(folder / "in.jsonl", queries=arguments.passages // 10)
        ettin(folder / "model")
        for label, more in _runs():
            seconds, cpu = timed(folder, *STORIES["rerank"].words, "out.jsonl", *more)
            print(f"{label}: {seconds:.1f} s, {cpu:.1f} s of CPU", flush=True)
        began = time.perf_counter()
        # Workers import this module by its name, which is not that of the program.
        idle, nothing = cluster_overhead.Idle(), cluster_overhead.Nothing
        units = list(units_of(map(nothing, range(arguments.units)), "nothing"))
        work = UnitFolder(folder / "empty", ".txt")
        work.begin({}, units, resume=False)
        run_units(idle, units, work, Placement("ray", (2, 2)), Silence(), "nothing")
        seconds = time.perf_counter() - began
        each = 1000 * seconds / max(1, arguments.units)
        print(f"{arguments.units:,} empty units: {seconds:.1f} s, {each:.1f} ms each")


def _runs() -> Iterator[tuple[str, list[str]]]:
    yield "one process, 2 threads", ["--threads", "2"]
    yield "one process, 2 threads, 10 units", ["--threads", "2", "--unit", "20"]
    yield "on Ray, 2 workers of 1 thread", ["--on", "ray", "--workers", "2", "--unit", "20"]


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    main()
