"""Hand this process's command to the daemon, pass on signals, and wait for the end."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from ettin_cli.client.places import identity
from ettin_cli.client.wire import receive, send

STANDARD = (0, 1, 2)


class LostError(Exception):
    """The daemon ended before the command did."""


def run(connection: socket.socket) -> int | str:
    """Return the exit code of the command, or why the daemon does not run it.

    Raises:
        LostError: The daemon ended before the command did.
    """
    offered = _offer(connection)
    return offered if isinstance(offered, str) else _wait(connection, offered)


def _offer(connection: socket.socket) -> _Child | str:
    """Send the command; return the process that waits to begin, or why there is none."""
    header = {"identity": identity(), "argv": sys.argv, "program": _program(), **_process()}
    try:
        here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
    except OSError:
        return "the working folder cannot be opened"
    try:
        send(connection, header, descriptors=(*STANDARD, here))
        answer, _, _ = receive(connection)
    except (OSError, ValueError):
        return "it does not answer"
    finally:
        os.close(here)
    if not isinstance(answer.get("pid"), int):
        return str(answer.get("reason") or "it does not answer")
    return _Child(answer["pid"])


def _program() -> str | None:
    return getattr(sys.modules["__main__"], "__package__", None)


def _process() -> dict[str, Any]:
    """Return the state of this process that a command may depend on."""
    import resource

    umask = os.umask(0o077)
    os.umask(umask)
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    numbers = {getattr(resource, name) for name in names}
    ignored = [
        int(one) for one in signal.valid_signals() if signal.getsignal(one) is signal.SIG_IGN
    ]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "environment": dict(os.environ),
        "umask": umask,
        "limits": [[number, *resource.getrlimit(number)] for number in sorted(numbers)],
        "ignored": ignored,
        "cores": cores,
        "nice": os.nice(0),
    }


class _Child:
    """The process that runs the command, which waits to begin when this is made."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.handle: int | None = None
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self.handle = os.pidfd_open(pid)

    def signal(self, number: int) -> None:
        with suppress(OSError):
            if self.handle is not None and hasattr(signal, "pidfd_send_signal"):
                signal.pidfd_send_signal(self.handle, number)
            else:
                os.kill(self.pid, number)


def _wait(connection: socket.socket, child: _Child) -> int:
    """Let the command begin, pass on signals, and return its exit code.

    Raises:
        LostError: The daemon ended before.
    """
    connection.settimeout(None)
    with _passing_on() as arrived:
        try:
            send(connection, {"begin": True})
            while True:
                ready, _, _ = select.select([connection, arrived], [], [])
                if arrived in ready:
                    for number in arrived.recv(64):
                        _pass_on(number, child)
                if connection in ready:
                    end, _, _ = receive(connection)
                    break
        except (OSError, ValueError):
            raise LostError from None
    killed = end.get("signal")
    if isinstance(killed, int):
        signal.signal(killed, signal.SIG_DFL)
        os.kill(os.getpid(), killed)
    code = end.get("code")
    return code if isinstance(code, int) else 1


@contextmanager
def _passing_on() -> Iterator[socket.socket]:
    """Yield a socket from which the numbers of signals are read, which do nothing else."""
    arrived, raised = socket.socketpair()
    raised.setblocking(False)
    wanted = [signal.SIGINT, signal.SIGTERM, signal.SIGTSTP]
    heeded = [one for one in wanted if signal.getsignal(one) is not signal.SIG_IGN]
    before: dict[int, Any] = {}
    signal.set_wakeup_fd(raised.fileno(), warn_on_full_buffer=False)
    try:
        for one in heeded:
            before[one] = signal.signal(one, _noted)
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        arrived.close()
        raised.close()


def _noted(_number: int, _frame: FrameType | None) -> None:
    pass


def _pass_on(number: int, child: _Child) -> None:
    if number != signal.SIGTSTP:
        child.signal(number)
        return
    child.signal(signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)
    # This process has been continued.
    child.signal(signal.SIGCONT)
