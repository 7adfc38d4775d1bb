"""Run the server: its sockets, its signals and its end."""

from __future__ import annotations

import errno
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from ettin_cli import platforms
from ettin_cli.errors import InvalidArgumentError, MissingExtraError
from ettin_cli.records import Reporter
from ettin_cli.serving.guard import Policy

if TYPE_CHECKING:
    import uvicorn

    from ettin_cli.serving.app import Application

LOCALHOST = ("127.0.0.1", "::1")
BACKLOG = 2048
# To find a port that is free on both addresses.
ATTEMPTS = 20
MAX_HEADERS = 64 * 1024
KEEP_ALIVE_S = 30


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens.

    Args:
        grace: Seconds that requests have to be answered after a signal to end.
    """

    host: str = LOCALHOST[0]
    port: int = 7480
    grace: int = 10


def require_serve() -> None:
    """Check that the packages of the server are installed.

    Raises:
        MissingExtraError: They are not.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "the server needs starlette and uvicorn", package="ettin-cli[serve]"
        ) from error


def listening(address: Address) -> list[socket.socket]:
    """Return the sockets of an address; of 127.0.0.1 also that of ::1, where there is one.

    Raises:
        InvalidArgumentError: The address is not this machine's, or its port is in use.
    """
    local = address.host in (*LOCALHOST, "localhost")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            first = _bound(LOCALHOST[0] if local else address.host, address.port)
        except OSError as error:
            raise _cannot_listen(address, error) from error
        if not local:
            return [first]
        try:
            return [first, _bound(LOCALHOST[1], first.getsockname()[1])]
        except OSError as error:
            if not _is_taken(error):
                # This machine has no IPv6.
                return [first]
            first.close()
            if address.port or attempt == ATTEMPTS:
                raise _cannot_listen(address, error) from error
    raise AssertionError


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    # Only of a socket that names TCP does asyncio turn off Nagle's algorithm, which would hold
    # back the end of an answer for 40 ms.
    bound = socket.socket(found[0][0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # On Windows SO_REUSEADDR would let two servers have one port.
        usual = socket.SO_REUSEADDR
        bound.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_EXCLUSIVEADDRUSE", usual), 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(found[0][4])
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _is_taken(error: OSError) -> bool:
    """Return whether another server has the port; Windows may refuse it as it refuses a file."""
    return error.errno == errno.EADDRINUSE or (platforms.WINDOWS and error.errno == errno.EACCES)


def _cannot_listen(address: Address, error: OSError) -> InvalidArgumentError:
    if _is_taken(error):
        problem = f"port {address.port} is in use"
        return InvalidArgumentError(
            problem, code="port-in-use", argument="port", value=address.port
        )
    reason = error.strerror or str(error)
    return InvalidArgumentError(
        f"cannot listen on {address.host}:{address.port}: {reason}",
        argument="host",
        value=address.host,
    )


def serve(
    application: Application,
    policy: Policy,
    sockets: Sequence[socket.socket],
    address: Address,
    reporter: Reporter,
) -> None:
    """Answer requests until a signal; then finish those that have begun."""
    import asyncio

    import uvicorn

    from ettin_cli.serving.connections import LimitedProtocol

    config = uvicorn.Config(
        application.asgi(policy),
        http=LimitedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=address.grace,
        h11_max_incomplete_event_size=MAX_HEADERS,
    )
    server = uvicorn.Server(config)
    with _heeding(server, application):
        asyncio.run(server._serve(list(sockets)))
    reporter.notice("the server has ended")


@contextmanager
def _heeding(server: uvicorn.Server, application: Application) -> Iterator[None]:
    """End the server at the first signal after its requests, at the second at once."""

    def end(_number: int, _frame: FrameType | None) -> None:
        application.readiness.draining = True
        if server.should_exit:
            server.force_exit = True
        else:
            server.should_exit = True

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {one: signal.signal(one, end) for one in signals}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
