"""Kill runs that write an index at random moments, and check what is there after each.

    python benchmarks/index_kills.py [--kills 200] [--story first update rebuild repair]

Each run is a command line in a process of its own, forked from this one, with an embedder of words
in the place of a model, and is killed with SIGKILL after a random part of the time that it takes
in peace; the next goes on from what it left, until one ends by itself. After each kill the index
has to be whole and to answer all queries as the old one or the new one does; a run that ends has to
leave the very passages, vectors and hits of a run in peace, and nothing else. One run in four is
stopped first, and a second writer has to leave all that it has written where it is.
Prints one row a story; exits with 1 at the first breach.
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
        story: In the state from which its first run begins.
        drawn: Draws the moments.
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
        """Wait for a run to end by itself, which has to end well."""
        code = ended(child, 120)
        if code is None:
            os.kill(child, signal.SIGKILL)
        if code:
            raise BrokenStateError(f"a run ended with {code}")

    def step(self) -> None:
        """Start a run and kill it, unless it ends before."""
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
            self.story.go_on()
        elif code:
            raise BrokenStateError(f"a run ended with {code}")
        self.story.check_new("a run that ended")
        self.counts["ended"] += 1
        self.story.scene.reset()

    def disturb(self, child: int) -> int | None:
        """Write beside a run that is stopped: refused, and nothing of it is touched.

        Returns:
            The run's exit code if it ended before it could be stopped.
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
        """Return all that is below the index's folder, with sizes."""
        return {path: path.stat().st_size for path in self.story.scene.index.rglob("*")}


def main() -> None:
    """Print one row a story; exit with 1 at a breach."""
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
