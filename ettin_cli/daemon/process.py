"""The process of the daemon: made from a command, it holds models until it is not needed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ettin_cli import __version__
from ettin_cli.client import (
    COMMANDS_SOCKET,
    MODELS_SOCKET,
    difference,
    has_daemons,
    identity,
    make_private,
    runtime_folder,
    unsafe,
)
from ettin_cli.daemon.fork_server import BEGINS, READY
from ettin_cli.daemon.inquiry import status, stop
from ettin_cli.daemon.keys import embedder_key, reranker_key
from ettin_cli.daemon.model_server import ModelServer
from ettin_cli.errors import EttinError, InvalidArgumentError
from ettin_cli.models.engines import EngineSettings
from ettin_cli.records import Reporter
from ettin_cli.runtime import Once, forget_inherited
from ettin_cli.serving import Activity, Served, ServedEmbedder, ServedReranker, end_process
from ettin_cli.settings import TRUNCATE

LOCK, LOG = "lock", "daemon.log"
MAX_LOG = 1 << 20
BACKLOG = 128
PAUSE_S = 0.05


def detached(options: list[str], reporter: Reporter) -> Path | None:
    """Become the daemon, in a child of this process.

    The parent waits until the daemon is ready, or has failed, and exits.

    Args:
        options: What the daemon is started with, to compare with one that runs.

    Returns:
        The folder of the daemon, in the child; None in a parent whose daemon is running.

    Raises:
        InvalidArgumentError: This system has no daemon, or one with other options runs.
        EttinError: The folder of the daemon cannot be used.
    """
    if not has_daemons():
        raise InvalidArgumentError(
            "the daemon needs Unix sockets and fork, which this system lacks"
        )
    folder = _folder()
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if _running(lock, options, reporter):
        return None
    for name in (COMMANDS_SOCKET, MODELS_SOCKET):
        (folder / name).unlink(missing_ok=True)
    ready, begun = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(ready)
        _Begun.descriptor = begun
        # The parent computed nothing. The lock is held until this process ends.
        forget_inherited()
        return folder
    os.close(begun)
    raise SystemExit(_waited(pid, ready, folder, reporter))


class _Begun:
    """Where the parent is told that the daemon is ready."""

    descriptor = -1


def _folder() -> Path:
    folder = runtime_folder()
    try:
        make_private(folder)
        reason = unsafe(folder)
    except OSError as error:
        raise EttinError(f"cannot make {folder}: {error.strerror}", path=Path(folder)) from error
    if reason:
        raise EttinError(
            f"the folder of the daemon cannot be used: {folder}: {reason}",
            code="daemon-folder",
            path=Path(folder),
        )
    return Path(folder)


def _running(lock: int, options: list[str], reporter: Reporter) -> bool:
    """Take the lock; return whether a daemon with the same options holds it.

    Raises:
        InvalidArgumentError: One with other options does.
    """
    import fcntl

    waiting = Once()
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        # Another process holds the lock: a daemon, or one that is being started.
        found = status()
        if found is None:
            if waiting():
                reporter.notice("waiting for another process that starts the daemon")
            time.sleep(PAUSE_S)
            continue
        if reason := difference(found.get("identity"), identity()):
            reporter.notice(f"replacing the daemon, process {found.get('pid')}: {reason}")
            stop()
            continue
        if found["options"] == options:
            reporter.notice(f"the daemon is running already, process {found['pid']}")
            return True
        raise InvalidArgumentError(
            f"a daemon with other options is running, process {found['pid']}",
            code="daemon-running",
        )


def _waited(pid: int, ready: int, folder: Path, reporter: Reporter) -> int:
    """Wait until the daemon is ready or has ended; return the exit code."""

    def pass_on(number: int, _: object) -> None:
        os.kill(pid, number)

    # Ctrl-C reaches the daemon too, as it is in the foreground until it is ready.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, pass_on)
    with open(ready, "rb") as pipe:
        is_ready = bool(pipe.read(1))
    if is_ready:
        reporter.notice(f"the daemon is ready: process {pid}, {folder}")
        return 0
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code > 0 else 128 - code


class Daemon:
    """Holds models, and runs commands in a fork server.

    Args:
        folder: Of its sockets and its log.
        options: What it was started with, as in `detached`.
        keep_alive: Seconds without requests after which it ends; below 0: never.
        grace: Seconds that commands have to end.
    """

    def __init__(
        self,
        folder: Path,
        options: list[str],
        served: Served,
        settings: EngineSettings,
        activity: Activity,
        *,
        keep_alive: float,
        grace: float,
        reporter: Reporter,
    ) -> None:
        self.folder, self.options, self.served = folder, options, served
        self.settings, self.activity = settings, activity
        self.keep_alive, self.grace, self.reporter = keep_alive, grace, reporter
        self.started, self.identity = time.time(), identity()
        self.ending = threading.Event()
        self.listener: socket.socket | None = None
        self.notices: dict[str, list[str]] = {}
        self.end: Callable[[], None] = self.ending.set
        self.url: str | None = None
        self.forks: subprocess.Popen[bytes] | None = None
        self.models: list[ServedReranker | ServedEmbedder] = []

    def start(self) -> None:
        """Start the fork server, load the models, and let the parent know.

        Raises:
            EttinError: The fork server does not start.
            ModelError: A model cannot be loaded.
        """
        self.log = os.open(self.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # The fork server listens once it is ready. Until then, commands run without it.
        self._fork_server(self._bound(COMMANDS_SOCKET))
        held = self._loaded()
        if self.control.recv(1) != READY:
            raise EttinError("the fork server of the daemon did not start")
        self.listener = self._bound(MODELS_SOCKET)
        self.listener.listen(BACKLOG)
        server = ModelServer(
            self.listener, held, self.notices, self.activity, self.reporter, self._controlled
        )
        server.start()
        threading.Thread(target=self._follow, name="commands", daemon=True).start()
        self._leave_terminal()

    def _loaded(self) -> dict[str, ServedReranker | ServedEmbedder]:
        """Load the models, and return them by their keys."""
        held: dict[str, ServedReranker | ServedEmbedder] = {}
        for reranker in dict.fromkeys(self.served.rerankers.values()):
            reranker.models.reporter = recorder = _Recorder(self.reporter)
            self.reporter.notice(f"reranker {reranker.name} is loaded: {reranker.load()}")
            recorder.ends = True
            key = reranker_key(reranker.resolved, self.settings)
            # A command makes the windows of long texts itself.
            if key and reranker.long == TRUNCATE:
                held[key], self.notices[key] = reranker, recorder.notices
        embedders = dict.fromkeys(self.served.embedders.values())
        for index in self.served.indexes.values():
            self.reporter.notice(index.load())
            embedders |= dict.fromkeys(index.models.served_embedders.values())
        for embedder in embedders:
            self.reporter.notice(f"embedder {embedder.name} is loaded: {embedder.load()}")
            held[embedder_key(embedder.files, embedder.embedder.card, self.settings)] = embedder
        self.models = list(held.values())
        return held

    def _bound(self, name: str) -> socket.socket:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            bound.bind(str(self.folder / name))
        except OSError as error:
            problem = f"cannot listen on {self.folder / name}: {error.strerror or error}"
            raise EttinError(problem, path=self.folder) from error
        finally:
            os.umask(mask)
        return bound

    def _fork_server(self, commands: socket.socket) -> None:
        self.control, other = socket.socketpair()
        descriptors = commands.fileno(), other.fileno()
        words = [sys.executable, "-P", "-m", "ettin_cli.forkserver", *map(str, descriptors)]
        self.forks = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            pass_fds=descriptors,
            start_new_session=True,
        )
        other.close()
        commands.close()

    def _leave_terminal(self) -> None:
        """Write to the log from now on, in a session of its own, and tell the parent."""
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number, to in enumerate((nowhere, self.log, self.log)):
            os.dup2(to, number)
        os.close(nowhere)
        os.write(_Begun.descriptor, b"!")
        os.close(_Begun.descriptor)

    def _follow(self) -> None:
        """Count the commands that the fork server runs, until it ends."""
        while signs := self.control.recv(4096):
            for sign in signs:
                (self.activity.begin if sign == BEGINS[0] else self.activity.end)()
        if not self.ending.is_set():
            self.reporter.notice("the fork server has ended")
            self.end()

    def _expired(self) -> None:
        self.reporter.notice(f"ending: no requests for {self.keep_alive:g} s")
        self.end()

    def _trim(self) -> None:
        """Start a new log if it is too long; one older is kept."""
        path = self.folder / LOG
        with suppress(OSError):
            if path.stat().st_size > MAX_LOG:
                path.replace(path.with_suffix(".log.1"))
                log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.close(log)

    def _controlled(self, what: str) -> dict[str, Any]:
        if what == "stop":
            self.end()
        models = self.models
        loads = [model.scheduler.load() for model in models]
        return {
            "pid": os.getpid(),
            "version": __version__,
            "started": self.started,
            "uptime": round(time.time() - self.started, 3),
            "models": [{"name": one.name, "task": one.task} for one in models],
            "memory": _memory(os.getpid()) + (_memory(self.forks.pid) if self.forks else 0),
            "requests": self.activity.requests,
            "queued": sum(load.items for load in loads),
            "computed": sum(load.computed for load in loads),
            "keep_alive": self.keep_alive,
            "grace": self.grace,
            "folder": str(self.folder),
            "url": self.url,
            "options": self.options,
            "identity": self.identity,
        }

    def run(self, answer: Callable[[], None] | None = None, url: str | None = None) -> None:
        """Load the models, let the parent exit, and stay until the end.

        Args:
            answer: Answers requests over HTTP until a signal; None: there are none.
            url: Where they arrive.

        Raises:
            EttinError: The daemon cannot be started.
        """
        self.url = url
        if answer:
            self.end = end_process
        try:
            self.start()
            with self.activity.expiring(self.keep_alive, self._expired, self._trim):
                (answer or self._wait)()
        finally:
            self.close()

    def _wait(self) -> None:
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda *_: self.end())
        self.ending.wait()

    def close(self) -> None:
        """Let commands end, and stop."""
        self.ending.set()
        for name in (COMMANDS_SOCKET, MODELS_SOCKET):
            (self.folder / name).unlink(missing_ok=True)
        if self.listener:
            self.listener.close()
        if self.forks is None:
            return
        # Closing alone would wait for the thread that reads.
        self.control.shutdown(socket.SHUT_RDWR)
        try:
            self.forks.wait(self.grace)
        except subprocess.TimeoutExpired:
            self.forks.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.forks.wait(1)
            self.forks.kill()
        for model in self.models:
            model.scheduler.close()
        self.reporter.notice("the daemon has ended")


class _Recorder:
    """Passes notices on, and keeps those of loading: commands that use the model show them."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.notices: list[str] = []
        self.ends = False
        self.detail, self.track = reporter.detail, reporter.track

    def notice(self, message: str) -> None:
        """Show a message, and keep it until the model is loaded."""
        if not self.ends:
            self.notices.append(message)
        self.reporter.notice(message)


def _memory(pid: int) -> int:
    """Return the resident memory of a process in bytes; 0 where that is not known."""
    with suppress(OSError, IndexError, ValueError):
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return 0
