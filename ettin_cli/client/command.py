"""Whether a command is handed to the daemon.

Whatever is unusual is not: the command then runs in this process, as without a daemon.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

COMMANDS = ("search", "rerank", "score")
MODES = NEVER, AUTO, ALWAYS = "never", "auto", "always"
# A daemon that does not answer in this time is passed over.
PATIENCE_S = 2.0
# Words of command lines that need the terminal of the user.
OWN_TERMINAL = {"--help", "--open"}
VERBOSE = {"-v", "--verbose"}
STANDARD = (0, 1, 2)


def handed_over() -> int | None:
    """Run the command of this process in the daemon.

    Returns:
        The exit code; None if the command must run here.
    """
    words = sys.argv[1:]
    if not words or words[0] not in COMMANDS:
        return None
    mode = os.environ.get("ETTIN_DAEMON") or AUTO
    if mode not in MODES:
        return _error(f"unknown mode {mode!r} in ETTIN_DAEMON", "never, auto or always", code=2)
    if mode == NEVER or _is_unusual(words):
        return None
    from ettin_cli.client.places import has_daemons, listens

    if mode == AUTO and not listens():
        return None
    if not has_daemons():
        return _error(
            "the daemon needs Unix sockets and fork, which this system lacks", "ETTIN_DAEMON=auto"
        )
    return _run(mode)


def _run(mode: str) -> int | None:
    from ettin_cli.client import handover
    from ettin_cli.client.places import COMMANDS_SOCKET, connected

    connection = connected(COMMANDS_SOCKET, PATIENCE_S)
    if connection is None and mode == ALWAYS:
        failure = _start()
        # It also fails if somebody else starts a daemon with other options.
        connection = connected(COMMANDS_SOCKET, PATIENCE_S)
        if connection is None and failure:
            sys.stderr.write(failure)
            return _error("no daemon could be started", "ETTIN_DAEMON=auto")
    ended: int | str = "it does not answer"
    if connection is not None:
        with connection:
            try:
                ended = handover.run(connection)
            except handover.LostError:
                return _error("the daemon ended before the command did", "run it again")
    if isinstance(ended, int):
        return ended
    if mode == ALWAYS:
        return _error(f"the daemon cannot run this command: {ended}", "ettin serve --stop")
    if not VERBOSE.isdisjoint(sys.argv):
        sys.stderr.write(f"ettin: the daemon is not used: {ended}\n")
    return None


def _is_unusual(words: list[str]) -> bool:
    if not OWN_TERMINAL.isdisjoint(words) or "_ETTIN_COMPLETE" in os.environ:
        return True
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        return True
    try:
        for descriptor in STANDARD:
            os.fstat(descriptor)
    except OSError:
        return True
    reads = any(word == "-" or word.endswith("=-") for word in words)
    return reads and os.isatty(0)


def _start() -> str:
    """Start a daemon; return what it writes if it fails, else nothing."""
    import subprocess

    words = [sys.executable, "-P", "-m", "ettin_cli", "serve", "--daemon", "--quiet"]
    started = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if not started.returncode:
        return ""
    return started.stderr.decode(errors="backslashreplace") or "it failed without a message\n"


def _error(problem: str, hint: str, code: int = 1) -> int:
    with suppress(OSError):
        sys.stderr.write(f"ettin: error: {problem}\n  hint: {hint}\n")
    return code
