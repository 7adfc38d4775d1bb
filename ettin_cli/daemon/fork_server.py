"""The fork server: a process with one thread, which forks a child for each command.

It imports what commands need once, and loads no model. It does not read from clients: that does
the child, so that no client can hold it up.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, NoReturn

from ettin_cli.client import difference, identity, send
from ettin_cli.daemon.child import run_command

# Folders of this package, and other packages, that searching, reranking and scoring import: none
# that starts threads or reads the environment when it is imported. typer imports its adapters, and
# these pydantic, with the first option.
OWN = "api client console corpus files index indexing models records runtime searching text".split()
COMMANDS = "context open_hit rerank score score_pairs search".split()
LIBRARIES = """
faiss numpy numpy.ma orjson platformdirs pyarrow pyarrow.csv pyarrow.parquet rich.progress
rich.table rich.text Stemmer typer._adapters xxhash yaml zoneinfo zstandard
""".split()
# Signs to the daemon: ready, a command begins, a command has ended.
READY, BEGINS, ENDED = b"!", b"+", b"-"
BACKLOG = 128
PAUSE_S = 0.1


def preload() -> None:
    """Import what commands need."""
    package = import_module("ettin_cli")
    own = [f"ettin_cli.commands.{name}" for name in COMMANDS]
    for folder in OWN:
        paths = [f"{place}/{folder}" for place in package.__path__]
        names = [module.name for module in walk_packages(paths, f"ettin_cli.{folder}.")]
        own += [f"ettin_cli.{folder}", *names]
    for name in (*LIBRARIES, *own, "ettin_cli.daemon.warm_models"):
        # What is missing is missed by the command that needs it.
        with suppress(ImportError):
            import_module(name)


def installation() -> dict[str, int]:
    """Return when the files of this package, and the folder of all packages, were changed."""
    places = {path for path in sys.path if path.endswith("-packages")}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "ettin_cli" and (file := getattr(module, "__file__", None)):
            places.add(file)
    times = {}
    for place in places:
        with suppress(OSError):
            times[place] = Path(place).stat().st_mtime_ns
    return times


@dataclass(frozen=True, slots=True)
class _Command:
    """A command that runs."""

    pid: int
    connection: socket.socket


class ForkServer:
    """Forks a child for each client, and ends it if the client goes away.

    Args:
        listener: Where clients connect; bound, but not listening yet.
        daemon: Where the daemon is told what happens; this process ends with the connection.
        main: Runs a command.
    """

    def __init__(
        self, listener: socket.socket, daemon: socket.socket, main: Callable[[], None]
    ) -> None:
        self.listener, self.daemon, self.main = listener, daemon, main
        self.identity, self.installation = identity(), installation()
        self.running: dict[int, _Command] = {}
        self.accepting = True

    def serve(self) -> None:
        """Run commands until the daemon ends, and those that have begun to their end."""
        gc.collect()
        # Objects from before a fork are not touched by the collector of a child.
        gc.freeze()
        wake, woken = socket.socketpair()
        woken.setblocking(False)
        wake.setblocking(False)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.listener.listen(BACKLOG)
        self.daemon.send(READY)
        self.own = [wake, woken]
        while self.accepting or self.running:
            self._turn(wake)

    def _turn(self, wake: socket.socket) -> None:
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        if self.accepting:
            poll.register(self.listener, select.POLLIN)
            poll.register(self.daemon, select.POLLIN)
        for command in self.running.values():
            if command.connection.fileno() >= 0:
                # Only whether the client has gone: what it sends is for the child.
                poll.register(command.connection, 0)
        events = {number for number, _ in poll.poll()}
        if wake.fileno() in events:
            with suppress(BlockingIOError):
                wake.recv(4096)
        self._reap()
        for command in list(self.running.values()):
            if command.connection.fileno() in events:
                with suppress(ProcessLookupError):
                    os.kill(command.pid, signal.SIGKILL)
                command.connection.close()
        if self.accepting and self.daemon.fileno() in events:
            self._stop_accepting()
        if self.accepting and self.listener.fileno() in events:
            try:
                self._fork(self.listener.accept()[0])
            except OSError:
                # Too many files are open.
                time.sleep(PAUSE_S)

    def _fork(self, connection: socket.socket) -> None:
        try:
            pid = os.fork()
        except OSError:
            # Too many processes, or no memory: the client runs its command itself.
            connection.close()
            return
        if not pid:
            self._child(connection)
        self.running[pid] = _Command(pid, connection)
        with suppress(OSError):
            self.daemon.send(BEGINS)

    def _child(self, connection: socket.socket) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for one in (self.listener, self.daemon, *self.own):
                one.close()
            for command in self.running.values():
                command.connection.close()
            code = run_command(connection, self.main, self._refusal)
        finally:
            os._exit(code & 0xFF)

    def _refusal(self, other: Any) -> str:
        if reason := difference(self.identity, other):
            return reason
        if self.installation != {**self.installation, **installation()}:
            return "the installation has changed since it was started"
        return ""

    def _reap(self) -> None:
        while self.running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            command = self.running.pop(pid, None)
            if command is None:
                continue
            if os.WIFSIGNALED(status) and command.connection.fileno() >= 0:
                command.connection.settimeout(0)
                with suppress(OSError):
                    send(command.connection, {"signal": os.WTERMSIG(status)})
            command.connection.close()
            with suppress(OSError):
                self.daemon.send(ENDED)

    def _stop_accepting(self) -> None:
        self.accepting = False
        self.listener.close()
        self.daemon.close()

    def _end(self, *_: object) -> None:
        """End all commands and this process at once."""
        for pid in self.running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if self.accepting:
            self._stop_accepting()
