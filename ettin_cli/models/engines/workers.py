"""Copies of a model in processes of their own, one for each device."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from types import FrameType
from typing import Any, NamedTuple

from ettin_cli.errors import EttinError, ModelError, first_line
from ettin_cli.models.engines.settings import usable_cores
from ettin_cli.records import Reporter, Silence
from ettin_cli.runtime import in_order

# Calls that a process does at once: one is tokenized while another is computed.
LANES = 2

# Loads a model on a device.
Load = Callable[[str, Reporter], object]

# The method of a reporter, and what it is called with.
Message = tuple[str, str]


class Outcome(Enum):
    """What became of a call."""

    DONE, FAILED, UNLOADED = range(3)


class Answer(NamedTuple):
    """The answer of a process to a call.

    Args:
        messages: What it has reported since the last answer.
        result: What the call returned; what it raised; or why the model cannot be loaded.
    """

    messages: list[Message]
    outcome: Outcome
    result: Any


class Workers:
    """Processes that each load a model on its own device, when there is work for it.

    They end with the object, with this process, when one of them dies, and when a call is
    interrupted. A device on which the model cannot be loaded is left out, with a notice.

    Args:
        load: Loads the model; must be picklable.
        devices: The device of each process.

    Attributes:
        facts: The attributes of the model that were asked for.

    Raises:
        EttinError: The model cannot be loaded on the first device.
    """

    def __init__(
        self, load: Load, devices: Sequence[str], reporter: Reporter, facts: Sequence[str]
    ) -> None:
        self._load, self._reporter = load, reporter
        self.devices = tuple(devices)
        self._unused = list(devices)[::-1]
        self._turn, self._told = Lock(), set[Message]()
        # None: there are no processes any more.
        self._free: SimpleQueue[_Lane | None] = SimpleQueue()
        self._processes: list[BaseProcess] = []
        self._loaded = self._closed = False
        self._cause = ModelError("the processes of the model have ended", code="worker-ended")
        weakref.finalize(self, _end, self._processes)
        self.facts = {name: self._answer(name, None) for name in facts}

    def call(self, method: str, *given: Any) -> Any:
        """Return what a method of the model returns, in whichever process is free.

        Raises:
            EttinError: The method raised it, or a process has ended.
        """
        return self._answer(method, given)

    def _answer(self, name: str, given: tuple[Any, ...] | None) -> Any:
        while True:
            answer, device = self._asked(name, given)
            self._tell(answer.messages)
            if answer.outcome is Outcome.DONE:
                return answer.result
            if answer.outcome is Outcome.FAILED or not self._loaded:
                raise answer.result
            self._tell([("notice", f"device {device} is left out: {first_line(answer.result)}")])

    def _asked(self, name: str, given: tuple[Any, ...] | None) -> tuple[Answer, str]:
        try:
            lane = self._lane()
            answer = lane.ask(name, given)
            if answer.outcome is not Outcome.UNLOADED:
                self._loaded = True
                self._free.put(lane)
        except BaseException as error:
            # An answer that was not read would be that of the next call.
            self.close(error if isinstance(error, ModelError) else None)
            if isinstance(error, ModelError):
                raise self._cause from None
            raise
        return answer, lane.device

    def _tell(self, messages: Sequence[Message]) -> None:
        with self._turn:
            new = [message for message in messages if message not in self._told]
            self._told.update(new)
        for kind, text in new:
            getattr(self._reporter, kind)(text)

    def each(self, method: str, windows: Iterable[Any]) -> Iterator[Any]:
        """Yield what a method of the model returns for each window, in order."""
        tasks = (partial(self.call, method, window) for window in windows)
        try:
            yield from in_order(tasks, LANES * len(self.devices))
        except EttinError:
            raise
        except BaseException:
            self.close()
            raise

    def close(self, cause: ModelError | None = None) -> None:
        """End all processes.

        Args:
            cause: What later calls raise, if it is the first.
        """
        with self._turn:
            if cause is not None and not self._closed:
                self._cause = cause
            self._closed = True
            _end(self._processes)
        self._free.put(None)

    def _lane(self) -> _Lane:
        """Return a free connection to a process, started now if there is none."""
        try:
            lane = self._free.get_nowait()
        except Empty:
            with self._turn:
                device = self._unused.pop() if self._unused else None
            if device is not None:
                first, *others = self._started(device)
                for other in others:
                    self._free.put(other)
                return first
            lane = self._free.get()
        if lane is None:
            self._free.put(None)
            raise self._cause
        return lane

    def _started(self, device: str) -> list[_Lane]:
        context = multiprocessing.get_context("spawn")
        pipes = [context.Pipe() for _ in range(LANES)]
        ends, share = [end for _, end in pipes], max(1, usable_cores() // len(self.devices))
        process = context.Process(
            target=_serve, args=(self._load, device, ends, share), name=device, daemon=True
        )
        with self._turn, _without_interrupts():
            if self._closed:
                raise self._cause
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

    def ask(self, name: str, given: tuple[Any, ...] | None) -> Answer:
        """Return the answer to a call.

        Args:
            name: An attribute of the model.
            given: What it is called with; None: its value is the result.
        """
        try:
            self.connection.send((name, given))
            answer: Answer = self.connection.recv()
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


class _Messages(Silence):
    """Keeps messages for the process that shows them."""

    def __init__(self) -> None:
        self.kept: SimpleQueue[Message] = SimpleQueue()

    def notice(self, message: str) -> None:
        self.kept.put(("notice", message))

    def detail(self, message: str) -> None:
        self.kept.put(("detail", message))

    def taken(self) -> list[Message]:
        messages = list[Message]()
        with suppress(Empty):
            while True:
                messages.append(self.kept.get_nowait())
        return messages


def _serve(load: Load, device: str, connections: Sequence[Connection], cores: int) -> None:
    # Libraries hold semaphores, which Python gives back only as it exits.
    signal.signal(signal.SIGTERM, _exit)
    os.environ.setdefault("RAYON_NUM_THREADS", str(cores))
    _answer_all(load, device, connections)


def _answer_all(load: Load, device: str, connections: Sequence[Connection]) -> None:
    """Answer the calls of each connection in a thread, until it is closed."""
    reporter = _Messages()
    model: object = None
    problem: EttinError | None = None
    try:
        model = load(device, reporter)
    except Exception as error:
        problem = _told(error, device)
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
    reporter: _Messages,
) -> None:
    while True:
        try:
            name, given = connection.recv()
        except (EOFError, OSError):
            return
        outcome, result = Outcome.UNLOADED, problem
        if problem is None:
            outcome, result = _result(model, name, given, device)
        try:
            connection.send(Answer(reporter.taken(), outcome, result))
        except OSError:
            return


def _result(
    model: object, name: str, given: tuple[Any, ...] | None, device: str
) -> tuple[Outcome, Any]:
    try:
        value = getattr(model, name)
        return Outcome.DONE, value if given is None else value(*given)
    except Exception as error:
        return Outcome.FAILED, _told(error, device)


def _told(error: Exception, device: str) -> EttinError:
    """Return an error that another process can raise, without what it is caused by."""
    if isinstance(error, EttinError):
        return error
    problem = f"the process for device {device} failed: {first_line(error)}"
    return ModelError(problem, code="worker-ended", device=device)
