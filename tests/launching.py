"""A command line in several processes that train together, as a launcher starts them."""

import math
import multiprocessing
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Forked from a process that has imported torch, so that runs start without delay.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "ettin_cli.commands.train",
        "pydantic",
        "sentence_transformers",
        "torch.distributed.rendezvous",
        "transformers.models.bert.modeling_bert",
        "transformers.models.modernbert.modeling_modernbert",
    ]
)

# A score that is NaN, and a GPU that is out of memory.
NAN, FULL = 0, -1


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault of one of the processes in its n-th forward pass.

    Args:
        what: A signal, NAN or FULL.
    """

    rank: int
    call: int
    what: int


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a run: exit codes and output of each process."""

    codes: Sequence[int | None]
    err: str


def launched(words: Sequence[str], size: int, strike: Strike | None = None) -> Ran:
    """Run `ettin` in several processes in this folder, and wait for them."""
    said = Path("said.txt")
    said.write_bytes(b"")
    with socket.socket() as held:
        # Bound until the end and never listening, so that nothing else on this machine gets the
        # port before the main process listens on it.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        told = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment = {**os.environ, **told}
        running = []
        for rank in range(size):
            mine = {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            struck = strike if strike and strike.rank == rank else None
            given = (words, mine, str(Path.cwd()), struck)
            running.append(_FORKS.Process(target=_run, args=given))
            running[-1].start()
        for one in running:
            one.join(300)
    codes = [one.exitcode for one in running]
    for one in running:
        one.kill()
    return Ran(codes, said.read_text())


def _run(
    words: Sequence[str], environment: dict[str, str], folder: str, strike: Strike | None
) -> None:
    import sys

    from ettin_cli.cli import main
    from ettin_cli.console import progress

    # How many lines of progress there are depends on the time that a run takes.
    progress.PLAIN_PROGRESS_S = math.inf
    os.environ.update(environment)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    said = os.open("said.txt", os.O_WRONLY | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if strike is not None:
        _strike(strike)
    sys.argv = ["ettin", *words]
    main()


def _strike(strike: Strike) -> None:
    import torch

    from ettin_cli.training.student import Student

    forward, calls = Student.forward, iter(range(1, 10_000))

    def struck(student: Student, tokens: Any) -> Any:
        scores = forward(student, tokens)
        if next(calls) == strike.call:
            if strike.what == FULL:
                raise torch.OutOfMemoryError
            if strike.what == NAN:
                return scores * float("nan")
            signal.raise_signal(strike.what)
        return scores

    setattr(Student, "forward", struck)  # noqa: B010
