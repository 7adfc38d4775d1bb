"""The process of one command: it becomes what the client's own process would have been.

It was forked from the fork server, which has imported what commands need and has done nothing
else. It takes over the client's working folder, environment, limits and streams.
"""

from __future__ import annotations

import atexit
import io
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

from ettin_cli.client import enter_daemon, receive, send
from ettin_cli.runtime import forget_inherited

REQUEST_TIMEOUT_S = 10.0
STREAMS = ("stdin", "stdout", "stderr")
# The exit code of Python if the rest of the output cannot be written.
UNFLUSHED = 120


def run_command(
    connection: socket.socket, main: Callable[[], None], refusal: Callable[[Any], str]
) -> int:
    """Receive a command and run it, unless it is refused; return the exit code.

    Args:
        refusal: Returns why a command of a process with this identity is not run here, or "".
    """
    try:
        connection.settimeout(REQUEST_TIMEOUT_S)
        request, _, descriptors = receive(connection)
        reason = refusal(request["identity"]) or _become(request, descriptors)
        send(connection, {"reason": reason} if reason else {"pid": os.getpid()})
        if reason or not receive(connection)[0].get("begin"):
            return 0
    except (OSError, ValueError, KeyError, TypeError):
        # The client is gone, or is none of ours.
        return 0
    code = _run(main)
    with suppress(OSError):
        send(connection, {"code": code})
    return code


def _become(request: dict[str, Any], descriptors: list[int]) -> str:
    """Take over the state of the client's process; return why that fails, or ""."""
    import resource

    if len(descriptors) != len(STREAMS) + 1:
        return "its files did not arrive"
    try:
        os.fchdir(descriptors[3])
        os.umask(request["umask"])
        for number, soft, hard in request["limits"]:
            if resource.getrlimit(number) != (soft, hard):
                resource.setrlimit(number, (soft, hard))
        if request["cores"] is not None and set(request["cores"]) != os.sched_getaffinity(0):
            os.sched_setaffinity(0, request["cores"])
        if more := request["nice"] - os.nice(0):
            os.nice(more)
    except (OSError, ValueError) as error:
        return f"its limits cannot be set: {error}"
    _heed(set(request["ignored"]))
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["argv"]
    _program(request["program"])
    _open_streams()
    forget_inherited()
    enter_daemon()
    return ""


def _heed(ignored: set[int]) -> None:
    """Set the signal handlers of a new process."""
    for one in signal.valid_signals():
        with suppress(OSError, ValueError):
            if one in ignored:
                signal.signal(one, signal.SIG_IGN)
            elif one == signal.SIGINT:
                signal.signal(one, signal.default_int_handler)
            elif signal.getsignal(one) not in (signal.SIG_DFL, None):
                signal.signal(one, signal.SIG_DFL)


def _program(package: str | None) -> None:
    """Let the main module be that of the client, after which messages name the program."""
    module = ModuleType("__main__")
    module.__package__ = package
    sys.modules["__main__"] = module


def _open_streams() -> None:
    """Open the standard streams as Python does at its start."""
    for number, name in enumerate(STREAMS):
        like = getattr(sys, f"__{name}__")
        raw = bool(number and like.write_through)
        mode, buffering = "wb" if number else "rb", 0 if raw else -1
        file = open(number, mode, buffering, closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(
            file,
            encoding=like.encoding,
            errors=like.errors,
            newline="\n",
            line_buffering=not raw and (name == "stderr" or file.isatty()),
            write_through=raw,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(main: Callable[[], None]) -> int:
    """Run the command as the interpreter does; return the exit code."""
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
        if code is not None and not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
            code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    # As at the end of the interpreter: other threads, exit handlers, then what is unwritten.
    with suppress(Exception):
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        atexit._run_exitfuncs()
    return _flushed(code or 0)


def _flushed(code: int) -> int:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            if stream is sys.stdout:
                with suppress(OSError, ValueError):
                    sys.stderr.write(
                        f"Exception ignored in: {stream!r}\n{type(error).__name__}: {error}\n"
                    )
            code = UNFLUSHED
    return code
