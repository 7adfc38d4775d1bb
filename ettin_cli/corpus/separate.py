"""Separate processes for parsers that could hang or crash: one that does costs one file.

Each is started for the first file that needs it, lives for the run, and is replaced if it dies.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from threading import Lock
from typing import IO, Any, cast
from weakref import WeakSet

from ettin_cli.storage import UnreadableError

_shared: list[SeparateProcess] = []


class ProcessDiedError(Exception):
    """The process ended before it answered; `code` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


class SeparateProcess:
    """A process that answers requests by `child.serve`; threads take turns.

    Args:
        command: The command to run.
        name: What it is, for messages: the PDF process.
    """

    def __init__(self, command: Sequence[str], name: str) -> None:
        self.command, self.name = command, name
        self.process: subprocess.Popen[bytes] | None = None
        self.lock = Lock()
        _every.add(self)

    def ask(self, request: Mapping[str, Any]) -> list[Any]:
        """Return the lines of the answer to a request; the last is an object.

        Raises:
            ProcessDiedError: It was killed by its limits, or crashed.
            UnreadableError: It cannot be started.
        """
        return list(self.answers(request))

    def answers(self, request: Mapping[str, Any]) -> Generator[Any]:
        """Yield the lines of the answer to a request as they come; the last is an object.

        Raises:
            ProcessDiedError: As in `ask`.
            UnreadableError: As in `ask`.
        """
        with self.lock:
            try:
                yield from self._answers(json.dumps(request).encode() + b"\n")
            except BaseException:
                # The process may be in the middle of an answer.
                self._end()
                raise

    def close(self) -> None:
        """Stop the process, if there is one, after any request that is being answered."""
        with self.lock:
            self._end()

    def _end(self) -> None:
        atexit.unregister(self._end)
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()

    def disown(self) -> None:
        """Leave the process to the parent that this process was forked from.

        The shared pipes are closed without flushing what another thread may have been writing.
        """
        self.lock = Lock()
        process, self.process = self.process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                cast(io.BufferedReader, pipe).raw.close()
            # The parent waits for it.
            process.returncode = 0

    def _answers(self, request: bytes) -> Iterator[Any]:
        process = self._running()
        try:
            cast(IO[bytes], process.stdin).write(request)
            cast(IO[bytes], process.stdin).flush()
        except OSError as error:
            raise ProcessDiedError(process.wait()) from error
        for line in iter(cast(IO[bytes], process.stdout).readline, b""):
            if not line.endswith(b"\n"):
                break
            answer = json.loads(line)
            yield answer
            if isinstance(answer, dict):
                return
        raise ProcessDiedError(process.wait())

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is not None and self.process.poll() is not None:
            self._end()
        if self.process is None:
            path = os.pathsep.join(filter(None, sys.path))
            try:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": path},
                )
            except OSError as error:
                reason = f"cannot start {self.name}: {error.strerror}"
                raise UnreadableError(reason) from error
            atexit.register(self._end)
        return self.process


def python_command(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module of this package."""
    # Without -P, Python would import modules from the working folder, which is untrusted.
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def share(process: SeparateProcess) -> None:
    """Keep a process for the whole run, until `close_processes` stops it."""
    _shared.append(process)


def close_processes() -> None:
    """Stop the shared processes; the next file that needs one starts it again."""
    for process in _shared:
        process.close()


def _disown_every() -> None:
    for process in list(_every):
        process.disown()


_every: WeakSet[SeparateProcess] = WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_every)
