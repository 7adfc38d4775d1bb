"""Simulate a power cut at every moment of a run on an index, and check every resulting state.

    python benchmarks/power_cuts.py [--samples 20] [--story first...]

All disk operations of a run are recorded. Then the disk is reconstructed as it may be after a cut
before each operation: unsynced data is kept, lost, truncated or zeroed, and names in an unsynced
folder are lost one by one, all but one, from one on, and at random. Each state must be the old
index, the new index, or refused with a command that helps, and the next run must succeed from each.
Prints one row per story; exits with 1 if any state is none of these.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.power import all_states
from tests.replay import BrokenStateError, Replay

STORIES = {
    "first": ("first", ()),
    "update": ("update", ()),
    "lists": ("update", ("--factory", "IVF2,Flat")),
    "rebuild": ("rebuild", ()),
    "repair": ("repair", ()),
}


def replayed(name: str, samples: int, root: Path) -> bool:
    """Print the results for a story's states; return whether all are valid."""
    story, options = STORIES[name]
    broken: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        replay = Replay(root, story, patch, *options)
        moments = replay.record()
        for state in all_states(moments, samples):
            try:
                replay.judge(state, resume=True)
            except BrokenStateError as error:
                broken[str(error)] += 1
        found = ", ".join(f"{count} {verdict}" for verdict, count in replay.verdicts.items())
        states = replay.verdicts.total() + broken.total()
        end = replay.judge_end(moments)
    print(
        f"{name}: {len(moments) - 1} things done, {states} states: {found}; "
        f"{broken.total()} broken; once it has ended: {end}",
        flush=True,
    )
    for problem, count in broken.items():
        print(f"  {count} times: {problem}")
    return not broken and end == "new"


def main() -> None:
    """Print one row per story; exit with 1 if a state is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20, help="states at random, a moment")
    parser.add_argument("--story", nargs="+", choices=STORIES, default=list(STORIES))
    arguments = parser.parse_args()
    well = True
    for story in arguments.story:
        with tempfile.TemporaryDirectory() as name:
            well &= replayed(story, arguments.samples, Path(name))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
