"""`ettin mcp` and `/mcp` of `ettin serve`, in processes of their own."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from ettin_cli.serving.access import TOKEN
from ettin_cli.serving.mcp import Connection, Routes, Wanted, prefix_of
from ettin_cli.serving.mcp.routes import RouteError
from tests.serving import WAIT, Server

COMMAND = ["-m", "ettin_cli", "mcp", "-r", "embedded"]
QUERY = "when does the ferry sail"
ACCEPT = {"Accept": "application/json, text/event-stream"}
# What a native library does that prints when it is loaded.
NOISE = """
import os, sys
class Noise:
    def find_spec(self, name, path=None, target=None):
        if name == "mcp":
            os.write(1, b"noise of a native library\\n")
sys.meta_path.insert(0, Noise())
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables for `ettin mcp`, whose shared server is ended after the tests."""
    folder = tmp_path_factory.mktemp("noise")
    (folder / "sitecustomize.py").write_text(NOISE)
    # The path of a socket is short.
    sockets = Path(tempfile.mkdtemp(prefix="ettin-", dir="/tmp"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ETTIN_")}
    yield {
        **kept,
        "ETTIN_CACHE_DIR": str(folder / "cache"),
        "ETTIN_DEVICE": "cpu",
        "HF_HUB_OFFLINE": "1",
        "XDG_RUNTIME_DIR": str(sockets),
        "PYTHONPATH": str(folder),
    }
    for lock in (sockets / "ettin").glob("*.lock"):
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(lock.read_text()), signal.SIGKILL)
    shutil.rmtree(sockets)


def messages(*more: Mapping[str, Any]) -> str:
    """Return the lines that a client of an earlier version of the protocol sends."""
    client = {"name": "test", "version": "1"}
    first = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    sent: list[Mapping[str, Any]] = [
        {"id": 1, "method": "initialize", "params": first},
        {"method": "notifications/initialized"},
        *more,
    ]
    return "".join(json.dumps({"jsonrpc": "2.0", **one}) + "\n" for one in sent)


def test_stdout_has_the_protocol_alone_and_the_end_of_stdin_ends_it(
    environment: dict[str, str], library: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, *COMMAND],
        input=messages({"id": 2, "method": "tools/list"}, {"id": 3, "method": "ping"}),
        capture_output=True,
        text=True,
        env=environment,
        cwd=library,
        timeout=WAIT,
    )
    assert ran.returncode == 0
    answers = {one["id"]: one["result"] for one in map(json.loads, ran.stdout.splitlines())}
    assert set(answers) >= {1}
    assert answers[1]["serverInfo"]["name"] == "ettin"
    assert library.name in answers[1]["instructions"]
    assert "noise of a native library" in ran.stderr


def test_bridges_share_a_server_over_stdio(
    environment: dict[str, str], library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = StdioServerParameters(
        command=sys.executable, args=COMMAND, env=environment, cwd=library / "docs"
    )

    async def run() -> None:
        async with Client(server) as one, Client(server, mode="legacy") as other:
            found = [
                (await agent.call_tool("search", {"query": QUERY, "top_k": 1})).structured_content
                for agent in (one, other)
            ]
            assert found[0] == found[1]
            (best,) = found[0]["results"]
            # As a program in the folder of the agent opens it.
            assert (library / "docs" / best["path"]).samefile(library / "docs" / "ferry.md")
            read = await other.call_tool("fetch", {"id": best["id"]})
            assert "sails" in json.dumps(read.structured_content)

    asyncio.run(run())
    sockets = Path(environment["XDG_RUNTIME_DIR"], "ettin")
    (lock,) = sockets.glob("*.lock")
    # The next bridge starts another server if this one dies.
    os.kill(int(lock.read_text()), signal.SIGKILL)

    asyncio.run(connect(environment, "embedded", monkeypatch))


def test_a_server_that_does_not_start_is_reported(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RouteError, match="did not start.*no/such-model"):
        asyncio.run(connect(environment, "no/such-model", monkeypatch))


async def connect(environment: dict[str, str], reranker: str, patch: pytest.MonkeyPatch) -> None:
    """Connect as a bridge does."""
    for name in environment.keys() - os.environ.keys() | {"PYTHONPATH", "XDG_RUNTIME_DIR"}:
        patch.setenv(name, environment[name])

    async def silent(_: str) -> None:
        return

    connection = Connection(Wanted(reranker, lambda: prefix_of(None)))
    routes = Routes(connection.client, connection.lost)
    try:
        assert (await routes.get("/v1/indexes", silent))["data"] == []
    finally:
        await connection.close()


def test_a_signal_ends_a_bridge(environment: dict[str, str], library: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, *COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        cwd=library,
    )
    with process:
        assert process.stdin and process.stdout
        process.stdin.write(messages())
        process.stdin.flush()
        assert "ettin" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 143


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[tuple[Server, str]]:
    folder = tmp_path_factory.mktemp("served")
    server = Server(folder, "-r", "embedded", "-i", str(library / ".ettin"))
    yield server, (folder / "cache" / TOKEN).read_text().strip()
    server.kill()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_agents_reach_a_server_over_http(
    served: tuple[Server, str], library: Path, mode: str
) -> None:
    server, token = served
    url = f"http://127.0.0.1:{server.port}"

    async def run() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=WAIT) as http:
            transport = streamable_http_client(f"{url}/mcp", http_client=http)
            async with Client(transport, mode=mode) as agent:
                assert library.name in (agent.instructions or "")
                found = await agent.call_tool("search", {"query": QUERY, "top_k": 1})
                (best,) = found.structured_content["results"]
                assert best["url"].startswith(f"{url}/read?index=")
                refused = await agent.call_tool("fetch", {"id": "none.md"})
                assert refused.is_error

    asyncio.run(run())


def test_the_guard_covers_mcp(served: tuple[Server, str]) -> None:
    server, token = served
    body = json.loads(messages().splitlines()[0])
    known = {**ACCEPT, "Authorization": f"Bearer {token}"}
    assert server.ask("/mcp", body, known).json()["result"]["serverInfo"]["name"] == "ettin"
    assert server.ask("/mcp", body, ACCEPT).status == 401
    assert server.ask("/mcp", body, {**known, "Authorization": "Bearer wrong"}).status == 401
    assert server.ask("/mcp", body, {**known, "Host": "evil.example"}).status == 421
    assert server.ask("/mcp", body, {**known, "Origin": "http://evil.example"}).status == 403
    assert server.ask("/mcp", body, {**known, "Sec-Fetch-Site": "cross-site"}).status == 403
    assert server.ask("/mcp", body, {**known, "Content-Type": "text/plain"}).status == 415
    assert server.ask("/mcp", None, known).status == 405
