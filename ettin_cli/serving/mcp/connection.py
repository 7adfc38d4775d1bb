"""The connection of a bridge to the server with the models, which is found or started."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.errors import EttinError
from ettin_cli.serving.mcp.places import socket_path
from ettin_cli.serving.mcp.routes import Report, RouteError, at_socket, base_url

if TYPE_CHECKING:
    import httpx2

HOST = "ettin_cli.daemon.mcp_server"
REPORT_S, PAUSE_S = 1.0, 0.05
# Another process that starts the server has so long to make it listen.
PATIENCE_S = 60.0
# Characters of the log of a server that did not start.
LAST_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a server must have.

    Args:
        reranker: Name of the reranker.
        prefix: Returns the first part of the paths of its routes, which says which index is meant.
    """

    reranker: str
    prefix: Callable[[], str]


class Connection:
    """A client for the server, which is found or started in the background.

    Args:
        wanted: What the server must have.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._connecting: asyncio.Task[httpx2.AsyncClient] | None = None
        self._prefix = ""

    def begin(self) -> None:
        """Begin to connect, so that models are loaded before the first call."""
        prefix, before = self.wanted.prefix(), self._connecting
        if before is None:
            self._connecting = asyncio.create_task(self._connect(prefix))
        elif prefix != self._prefix:
            self._connecting = asyncio.create_task(self._turn(before, prefix))
        self._prefix = prefix

    async def client(self, report: Report) -> httpx2.AsyncClient:
        """Return the client, once the server listens.

        Raises:
            RouteError: The server cannot be started.
        """
        self.begin()
        connecting = self._connecting
        assert connecting
        while not connecting.done():
            await asyncio.wait([connecting], timeout=REPORT_S)
            if not connecting.done():
                await report("starting the server")
        try:
            return connecting.result()
        except EttinError as error:
            # The next call tries again.
            if self._connecting is connecting:
                self._connecting = None
            raise RouteError(503, error.problem, {}) from error

    async def lost(self, client: httpx2.AsyncClient) -> bool:
        """Connect again at the next call, since the server of a client has ended."""
        connecting = self._connecting
        if connecting is not None and _is_connected(connecting) and connecting.result() is client:
            self._connecting = None
            await client.aclose()
        return True

    async def close(self) -> None:
        """Close the client."""
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
            with suppress(asyncio.CancelledError, EttinError):
                await (await connecting).aclose()

    async def _connect(self, prefix: str) -> httpx2.AsyncClient:
        path = socket_path(self.wanted.reranker)
        if not _listens(path):
            try:
                await _start(path, self.wanted.reranker)
            except OSError as error:
                raise EttinError(f"the server cannot be started: {error}", path=path) from error
        return await _opened(at_socket(path, prefix))

    async def _turn(
        self, before: asyncio.Task[httpx2.AsyncClient], prefix: str
    ) -> httpx2.AsyncClient:
        """Return the client of before, whose next requests are about another index.

        Calls that wait for the client, or for an answer about the other index, go on.
        """
        try:
            client = await before
        except EttinError:
            return await self._connect(prefix)
        if not _listens(socket_path(self.wanted.reranker)):
            await client.aclose()
            return await self._connect(prefix)
        client.base_url = base_url(prefix)
        return await _opened(client)


async def _opened(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Let the server open the index now, and not at the first call; return the client."""
    try:
        with suppress(Exception):
            await client.get("/ready")
    except BaseException:
        await client.aclose()
        raise
    return client


def _is_connected(connecting: asyncio.Task[httpx2.AsyncClient]) -> bool:
    return connecting.done() and not connecting.cancelled() and connecting.exception() is None


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        try:
            tried.connect(str(path))
        except OSError:
            return False
    return True


async def _start(path: Path, reranker: str) -> None:
    """Start a server that outlives this process, and wait until it listens.

    Raises:
        EttinError: It does not start.
    """
    log = path.with_suffix(".log")
    with open(log, "wb", opener=_private) as written:
        process = subprocess.Popen(
            [sys.executable, "-m", HOST, str(path), reranker],
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            cwd="/",
            start_new_session=True,
        )
    while (code := process.poll()) is None:
        await asyncio.sleep(PAUSE_S)
    # With 0, another process may be about to listen.
    until = time.monotonic() + PATIENCE_S
    while not _listens(path):
        if code or time.monotonic() > until:
            last = log.read_text(encoding="utf-8", errors="replace")[-LAST_CHARACTERS:]
            raise EttinError(f"the server did not start: {last.strip()}", path=log)
        await asyncio.sleep(PAUSE_S)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
