"""The process that the bridges of `ettin mcp` share: it answers their requests on a Unix socket.

It takes models from the daemon where that holds them, and loads the others itself.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from ettin_cli.daemon.warm_models import WarmModels
from ettin_cli.errors import EttinError
from ettin_cli.serving import Address, Policy, serve
from ettin_cli.serving.mcp import Host, locked

# Without requests for so long, the process ends.
KEEP_ALIVE_S = 600.0
BACKLOG = 128


def main(path: str, reranker: str) -> int:
    """Start the process that listens on a socket, and return once it does.

    Returns:
        The exit code: 0 also if another process listens there, or is about to.
    """
    ready, begun = os.pipe()
    child = os.fork()
    if not child:
        os.close(ready)
        return _listen(Path(path), reranker, begun)
    os.close(begun)
    if os.read(ready, 1):
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _listen(path: Path, reranker: str, begun: int) -> int:
    """Answer requests until the process is not needed.

    Args:
        begun: Where a byte is written when the socket is there.
    """
    from ettin_cli.api import Session
    from ettin_cli.console import Console

    console = Console(color="never")
    with locked(path) as first:
        if not first:
            return 0
        try:
            host = Host(WarmModels(Session(reporter=console).models), reranker, console)
        except EttinError as error:
            console.notice(error.problem)
            return error.exit_code
        try:
            listener = _bound(path)
        except OSError as error:
            console.notice(f"cannot listen on {path}: {error}")
            return 1
        os.write(begun, b"!")
        os.close(begun)
        host.end_when_idle(KEEP_ALIVE_S, lambda: os.kill(os.getpid(), signal.SIGTERM))
        try:
            serve(host, Policy(), [listener], Address(), console)
        finally:
            with suppress(OSError):
                path.unlink()
    return 0


def _bound(path: Path) -> socket.socket:
    """Return a socket that only this user can open, in the place of one that was left behind."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
