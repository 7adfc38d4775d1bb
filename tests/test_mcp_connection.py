"""The connection of a bridge, to a server of this process."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ettin_cli.errors import EttinError
from ettin_cli.serving.mcp import Connection, Routes, Wanted
from ettin_cli.serving.mcp.places import socket_path
from ettin_cli.serving.mcp.routes import RouteError


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder for sockets."""
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="ettin-", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with its path."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = json.dumps({"path": head.split()[1].decode()}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    except asyncio.IncompleteReadError:
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Path]:
    """Answer requests where a bridge looks for the server."""
    path = socket_path("none")
    server = await asyncio.start_unix_server(echo, path)
    try:
        yield path
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def silent(_: str) -> None:
    """Report nothing."""


def test_another_index_leaves_no_client_open() -> None:
    async def run() -> None:
        prefixes = ["/a"]
        connection = Connection(Wanted("none", lambda: prefixes[-1]))
        routes = Routes(connection.client, connection.lost)
        clients = list[httpx2.AsyncClient]()
        async with listening():
            for prefix in ("/a", "/b", "/c"):
                prefixes.append(prefix)
                clients.append(await connection.client(silent))
                assert await routes.get("/v1/indexes", silent) == {"path": f"{prefix}/v1/indexes"}
            # Before the client of one is there, another is wanted.
            prefixes.append("/d")
            connection.begin()
            prefixes.append("/e")
            clients.append(await connection.client(silent))
            assert await routes.get("/x", silent) == {"path": "/e/x"}
            await connection.close()
            assert all(client.is_closed for client in clients)

    asyncio.run(run())


def test_a_failed_try_is_told_to_every_call_whose_server_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def failing(*_: Any) -> None:
        raise EttinError("the server did not start")

    monkeypatch.setattr("ettin_cli.serving.mcp.connection._start", failing)

    async def run() -> None:
        connection = Connection(Wanted("none", lambda: "/a"))
        async with listening():
            client = await connection.client(silent)
        assert await connection.lost(client)
        connection.begin()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others)
        # Of another call with the same client.
        assert await connection.lost(client)
        with pytest.raises(RouteError, match="did not start"):
            await connection.client(silent)
        await connection.close()

    asyncio.run(run())


def test_a_server_that_cannot_be_run_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(24, "too many open files")

    async def run() -> None:
        connection = Connection(Wanted("none", lambda: "/a"))
        with monkeypatch.context() as patch:
            patch.setattr("subprocess.Popen", refused)
            with pytest.raises(RouteError, match="cannot be started: .*too many open files"):
                await connection.client(silent)
        async with listening():
            await connection.client(silent)
            await connection.close()

    asyncio.run(run())
