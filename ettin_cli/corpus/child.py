"""A separate process that reads files: if it hangs, crashes or runs out of memory, one file fails.

A request is a line of JSON on its stdin, an answer some lines of JSON on its stdout, of which the
last is an object.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import IO, Any, cast
from weakref import WeakSet

from ettin_cli.storage import UnreadableError

# Exit code of the process when reading took too long.
TOO_LONG = 1


class ProcessDiedError(Exception):
    """The process ended in the middle of an answer; `code` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class ReadingProcess:
    """A process that reads files one after another; started for the first, restarted if it dies.

    Threads take turns.

    Args:
        name: What it reads, for messages.
        command: The command to run.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name, self.command = name, command
        self.process: subprocess.Popen[bytes] | None = None
        self.lock = Lock()
        _every.add(self)

    def answers(self, request: Mapping[str, Any]) -> Generator[Any]:
        """Yield the values of the answer to a request as they come.

        Raises:
            ProcessDiedError: The process ended before the answer did.
            UnreadableError: It cannot be started.
        """
        with self.lock:
            try:
                yield from self._answers(json.dumps(request).encode() + b"\n")
            except BaseException:
                # The process may be in the middle of an answer.
                self._end()
                raise

    def close(self) -> None:
        """Stop the process, if there is one, after any file that is being read."""
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
                raise UnreadableError(
                    f"cannot start the {self.name} process: {error.strerror}"
                ) from error
            atexit.register(self._end)
        return self.process


def _disown_every() -> None:
    for process in list(_every):
        process.disown()


_every: WeakSet[ReadingProcess] = WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_every)


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this package in a separate process."""
    # Without -P, Python would import modules from the working folder, which is untrusted.
    return [sys.executable, "-P", "-m", module, *arguments]


def bound_memory(memory: int) -> None:
    """Limit the memory of this process, if the system can, and disable core dumps."""
    try:
        import resource
    except ImportError:
        return
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (most, resource.getrlimit(what)[1]))
