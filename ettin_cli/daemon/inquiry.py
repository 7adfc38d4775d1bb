"""Ask the daemon about itself, and end it."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from ettin_cli.client import MODELS_SOCKET, connected, receive, send
from ettin_cli.errors import EttinError

TIMEOUT_S = 5.0

Status = dict[str, Any]


def status() -> Status | None:
    """Return what the daemon reports about itself; None if none answers."""
    connection = connected(MODELS_SOCKET, TIMEOUT_S)
    if connection is None:
        return None
    with connection:
        return _asked(connection, "status")


def stop() -> bool:
    """End the daemon, and wait for its end; return whether there was one.

    Raises:
        EttinError: It does not end.
    """
    connection = connected(MODELS_SOCKET, TIMEOUT_S)
    if connection is None:
        return False
    with connection:
        found = _asked(connection, "stop") or {}
        # It closes its connections when it ends, after its commands.
        connection.settimeout(found.get("grace", 0) + TIMEOUT_S)
        try:
            ended = not connection.recv(1)
        except ConnectionError:
            ended = True
        except OSError:
            ended = False
    if not ended:
        pid = found.get("pid")
        raise EttinError(f"the daemon, process {pid}, does not end", code="daemon-stuck", pid=pid)
    return True


def _asked(connection: socket.socket, what: str) -> Status | None:
    with suppress(OSError, ValueError):
        send(connection, {"what": what})
        return receive(connection)[0]
    return None
