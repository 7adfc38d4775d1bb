"""Cut the power at every moment of a run on an index, and judge every state that this may leave.

    python benchmarks/power_cuts.py [--samples 20] [--story first...]

All that a run does to the disk is recorded; then the disk is made again as it may be after a cut
before each thing done: what was not synced is kept, lost, cut short or full of zeros, and names
whose folder was not synced are lost one by one, all but one, from one on, and at random. Each
state has to be the old index, the new one, or refused with a command that helps, and the next run
has to end well from each. Prints one row a story; exits with 1 if any state is none of these.
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
    """Print what was found in a story's states; return whether all was well."""
    story, options = STORIES[name]
    broken: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        replay = Replay(root, story, patch, *options)
        moments = replay.record()
        for state in all_states(moments, samples):
            try:
                replay.judge(state, go_on=True)
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
    """Print one row a story; exit with 1 if a state is broken."""
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
