"""Kill runs that write an index at random moments, and check the index after each.

    python benchmarks/index_kills.py [--kills 200] [--story first update rebuild repair]

Each run is a command line in a forked process, with a bag-of-words embedder instead of a model.
It is killed with SIGKILL after a random part of the time of an undisturbed run; the next run starts
from what is left, until one finishes. After each kill the index must be intact and answer all
queries like the old or the new index. A finished run must leave exactly the passages, vectors and
hits of an undisturbed run, and nothing else. One run in four is stopped first, and a second writer
must then leave all its files untouched.
Prints one row per story; exits with 1 at the first violation.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.children import ended, forked
from tests.replay import BrokenStateError, Replay, run
from tests.scenes import STORIES

SEED = 7
FILES = 40


class Kills:
    """The kills of one story, counted.

    Args:
        story: The story, in the initial state of its first run.
        drawn: Generates the random moments.
    """

    def __init__(self, story: Replay, drawn: random.Random) -> None:
        self.story, self.drawn = story, drawn
        self.counts: Counter[str] = Counter()
        story.scene.reset()
        began = time.perf_counter()
        self.wait(forked(story.command))
        self.length = time.perf_counter() - began
        story.scene.reset()

    def wait(self, child: int) -> None:
        """Wait for a run to finish, which must succeed."""
        code = ended(child, 120)
        if code is None:
            os.kill(child, signal.SIGKILL)
        if code:
            raise BrokenStateError(f"a run ended with {code}")

    def step(self) -> None:
        """Start a run and kill it, unless it finishes before."""
        child = forked(self.story.command)
        code = ended(child, self.drawn.uniform(0, 1.1 * self.length))
        if code is None and self.drawn.random() < 0.25:
            code = self.disturb(child)
        if code is None:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGKILL:
            self.counts["kills"] += 1
            self.counts[self.story.verdict()] += 1
            if self.drawn.random() < 0.8:
                return
            self.story.resume()
        elif code:
            raise BrokenStateError(f"a run ended with {code}")
        self.story.check_new("a run that ended")
        self.counts["ended"] += 1
        self.story.scene.reset()

    def disturb(self, child: int) -> int | None:
        """Check that a second writer is refused while a run is stopped, and changes nothing.

        Returns:
            The run's exit code if it finished before it could be stopped.
        """
        os.kill(child, signal.SIGSTOP)
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        before = self.listed()
        code, said = run(*self.story.command, "--no-wait")
        if f"is being written by process {child} " in said:
            self.counts["refused beside it"] += 1
            if code != 1 or self.listed() != before:
                raise BrokenStateError(f"a second writer got {code} and touched what a first wrote")
        elif code and "is being written by" not in said:
            raise BrokenStateError(f"a second writer failed: {said}")
        return None

    def listed(self) -> dict[Path, int]:
        """Return all files below the index folder, with sizes."""
        return {path: path.stat().st_size for path in self.story.scene.index.rglob("*")}


def main() -> None:
    """Print one row per story; exit with 1 at a violation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="of each story")
    parser.add_argument("--story", nargs="+", choices=STORIES, default=list(STORIES))
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    for story in arguments.story:
        with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
            replay = Replay(Path(name), story, patch, files=FILES)
            kills = Kills(replay, random.Random(arguments.seed))
            try:
                while kills.counts["kills"] < arguments.kills:
                    kills.step()
            except BrokenStateError as error:
                print(f"{story}: after {kills.counts['kills']} kills: {error}")
                sys.exit(1)
        counts = ", ".join(f"{count} {what}" for what, count in sorted(kills.counts.items()))
        print(f"{story}: {counts}; a run in peace takes {kills.length:.2f} s", flush=True)


if __name__ == "__main__":
    main()
