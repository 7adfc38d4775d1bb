"""Interrupt runs that write an index at chosen places, and check their exit and the index.

    python benchmarks/interrupts.py [--places 200] [--story first update rebuild repair]

Python checks for signals where a function starts and where a C function returns. These places are
counted in an undisturbed run. Then runs are forked from this process, with a bag-of-words embedder
instead of a model, and each gets SIGINT or SIGTERM at one place. It must exit with 130 or 143 and
report that it was interrupted or terminated, or exit with 0 if its work was done, or immediately if
no work had started. It must leave the old or the new index, and the next run must complete the new
one, with nothing left over.
Prints one row per story; exits with 1 at the first violation, with the place and the run's output.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from ettin_cli.cli import main as main_of_ettin
from tests.children import ended
from tests.replay import BrokenStateError, Replay, run
from tests.scenes import STORIES

SEED = 7
PATIENCE_S = 60
TERMINATED = 143
SAID = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (TERMINATED, "terminated")}
Place = Callable[[str], None]


def at_each_place(act: Place) -> None:
    """Call `act` wherever a signal could strike while `main` runs, until it raises something."""
    inside = False

    def look(frame: FrameType, event: str, _: Any) -> None:
        nonlocal inside
        if frame.f_code is main_of_ettin.__code__:
            inside = event != "return"
        if inside and event in ("call", "c_return"):
            act(f"{event} {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}")

    sys.setprofile(look)


def count(command: list[str]) -> int:
    """Return the number of places in a run."""
    places = 0

    def another(_: str) -> None:
        nonlocal places
        places += 1

    at_each_place(another)
    try:
        run(*command)
    finally:
        sys.setprofile(None)
    return places


def strike(command: list[str], nth: int, number: signal.Signals, log: Path) -> str:
    """Run a command line, send a signal at its nth place, and return how it ended.

    Raises:
        BrokenStateError: The run did not end as required.
    """
    child = os.fork()
    if not child:
        struck(command, nth, number, log)
    code = ended(child, PATIENCE_S)
    if code is None:
        os.kill(child, signal.SIGKILL)
        ended(child, PATIENCE_S)
    said = log.read_text(encoding="utf-8")
    promised, word = SAID[number]
    if code in (0, -number):
        return "done" if code == 0 else "not begun"
    if code == promised and "Traceback" not in said and (code == TERMINATED or word in said):
        return word
    raise BrokenStateError(f"place {nth}: {number.name} ended a run with {code}: {said}")


def struck(command: list[str], nth: int, number: signal.Signals, log: Path) -> None:
    """Run a command line in a child process that receives a signal, and exit."""
    left = nth

    def one(place: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            sys.setprofile(None)
            log.write_text(f"{place}\n", encoding="utf-8")
            signal.raise_signal(number)

    code = 99
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        at_each_place(one)
        code, said = run(*command)
        with log.open("a", encoding="utf-8") as file:
            file.write(said)
    finally:
        os._exit(code)


def main() -> None:
    """Print one row per story; exit with 1 at a violation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--places", type=int, default=200, help="of each story")
    parser.add_argument("--story", nargs="+", choices=STORIES, default=list(STORIES))
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    drawn = random.Random(arguments.seed)
    for story in arguments.story:
        counts: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
            replay = Replay(Path(name), story, patch)
            replay.scene.reset()
            places = count(replay.command)
            try:
                for nth in sorted(drawn.sample(range(1, places), min(arguments.places, places))):
                    replay.scene.reset()
                    number = drawn.choice(list(SAID))
                    counts[strike(replay.command, nth, number, Path(name, "log"))] += 1
                    verdict = replay.verdict()
                    if verdict == "refused" and story != "repair":
                        raise BrokenStateError(f"place {nth}: the index cannot be opened")
                    counts[verdict] += 1
                    replay.resume()
            except BrokenStateError as error:
                print(f"{story}: {error}")
                sys.exit(1)
        row = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        print(f"{story}: {row}; of {places:,} places", flush=True)


if __name__ == "__main__":
    main()
