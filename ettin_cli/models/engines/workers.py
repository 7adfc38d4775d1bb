"""Copies of a model in processes of their own, one for each device."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from types import FrameType
from typing import Any

from ettin_cli.errors import EttinError, ModelError, first_line
from ettin_cli.models.engines.settings import usable_cores
from ettin_cli.records import Reporter, Silence
from ettin_cli.runtime import in_order

# Calls that a process does at once: one is tokenized while another is computed.
LANES = 2

# Loads a model on a device.
Load = Callable[[str, Reporter], object]


class Workers:
    """Processes that each load a model on its own device, when there is work for it.

    They end with the object, with this process, and when a call fails or is interrupted.

    Args:
        load: Loads the model; must be picklable.
        devices: The device of each process.

    Attributes:
        facts: The attributes of the model that were asked for.

    Raises:
        EttinError: The model cannot be loaded.
    """

    def __init__(
        self, load: Load, devices: Sequence[str], reporter: Reporter, facts: Sequence[str]
    ) -> None:
        self._load, self._reporter = load, reporter
        self.devices = tuple(devices)
        self._unused = list(devices)[::-1]
        self._turn, self._told = Lock(), set[str]()
        self._free: SimpleQueue[_Lane] = SimpleQueue()
        self._processes: list[BaseProcess] = []
        weakref.finalize(self, _end, self._processes)
        self.facts = {name: self._answer(name, None) for name in facts}

    def call(self, method: str, *given: Any) -> Any:
        """Return what a method of the model returns, in whichever process is free.

        Raises:
            EttinError: The method raised it, or the process has ended.
        """
        return self._answer(method, given)

    def _answer(self, name: str, given: tuple[Any, ...] | None) -> Any:
        lane = self._lane()
        try:
            notices, failed, result = lane.ask(name, given)
        finally:
            self._free.put(lane)
        with self._turn:
            new = [notice for notice in notices if notice not in self._told]
            self._told.update(new)
        for notice in new:
            self._reporter.notice(notice)
        if failed:
            raise result
        return result

    def each(self, method: str, windows: Iterable[Any]) -> Iterator[Any]:
        """Yield what a method of the model returns for each window, in order."""
        tasks = (partial(self.call, method, window) for window in windows)
        try:
            yield from in_order(tasks, LANES * len(self.devices))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all processes."""
        _end(self._processes)

    def _lane(self) -> _Lane:
        """Return a free connection to a process, started now if there is none."""
        try:
            return self._free.get_nowait()
        except Empty:
            with self._turn:
                device = self._unused.pop() if self._unused else None
            if device is None:
                return self._free.get()
            first, *others = self._started(device)
            for lane in others:
                self._free.put(lane)
            return first

    def _started(self, device: str) -> list[_Lane]:
        context = multiprocessing.get_context("spawn")
        pipes = [context.Pipe() for _ in range(LANES)]
        ends, share = [end for _, end in pipes], max(1, usable_cores() // len(self.devices))
        process = context.Process(
            target=_serve, args=(self._load, device, ends, share), name=device, daemon=True
        )
        with self._turn, _without_interrupts():
            process.start()
            self._processes.append(process)
        for end in ends:
            # Else its other copy keeps the connection open when the process ends.
            end.close()
        return [_Lane(ours, device) for ours, _ in pipes]


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: this one ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Lane:
    def __init__(self, connection: Connection, device: str) -> None:
        self.connection, self.device = connection, device

    def ask(self, name: str, given: tuple[Any, ...] | None) -> tuple[list[str], bool, Any]:
        """Return the notices since the last call, whether the call failed, and its result.

        Args:
            name: An attribute of the model.
            given: What it is called with; None: its value is the result.
        """
        try:
            self.connection.send((name, given))
            answer: tuple[list[str], bool, Any] = self.connection.recv()
        except (EOFError, OSError) as error:
            raise ModelError(
                f"the process for device {self.device} has ended",
                code="worker-ended",
                device=self.device,
            ) from error
        return answer


def _end(processes: list[BaseProcess]) -> None:
    while processes:
        processes.pop().terminate()


class _Notices(Silence):
    """Keeps notices for the process that shows them."""

    def __init__(self) -> None:
        self.kept: SimpleQueue[str] = SimpleQueue()

    def notice(self, message: str) -> None:
        self.kept.put(message)

    def taken(self) -> list[str]:
        return [self.kept.get() for _ in range(self.kept.qsize())]


def _serve(load: Load, device: str, connections: Sequence[Connection], cores: int) -> None:
    """Answer the calls of each connection in a thread, until it is closed."""
    # Libraries hold semaphores, which Python gives back only as it exits.
    signal.signal(signal.SIGTERM, _exit)
    os.environ.setdefault("RAYON_NUM_THREADS", str(cores))
    reporter = _Notices()
    model: object = None
    problem: EttinError | None = None
    try:
        model = load(device, reporter)
    except EttinError as error:
        problem = error
    threads = [
        Thread(target=_answer, args=(one, model, problem, device, reporter), daemon=True)
        for one in connections
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit()


def _answer(
    connection: Connection,
    model: object,
    problem: EttinError | None,
    device: str,
    reporter: _Notices,
) -> None:
    while True:
        try:
            name, given = connection.recv()
        except (EOFError, OSError):
            return
        failed, result = True, problem
        if problem is None:
            failed, result = _result(model, name, given, device)
        try:
            connection.send((reporter.taken(), failed, result))
        except OSError:
            return


def _result(
    model: object, name: str, given: tuple[Any, ...] | None, device: str
) -> tuple[bool, Any]:
    try:
        value = getattr(model, name)
        return False, value if given is None else value(*given)
    except EttinError as error:
        return True, error
    except Exception as error:
        problem = f"the process for device {device} failed: {first_line(error)}"
        return True, ModelError(problem, code="worker-ended", device=device)
