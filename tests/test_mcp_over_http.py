"""`/mcp` of a server, over an application of this process."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import pytest

from ettin_cli.records import Silence
from ettin_cli.serving import Application, Policy, Served
from tests.serving import WAIT

MAX = 1000
HEADERS = {
    "host": "localhost",
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
}
PING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
Message = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]


def application() -> Application:
    """Return a server without models."""
    return Application(Served({}, {}), Silence(), lambda _: None)


async def asked(app: App, pieces: Sequence[bytes], *, whole: bool = True) -> tuple[int, Any]:
    """Send a body to /mcp in pieces, without a Content-Length; return the status and the answer.

    Args:
        whole: Whether the last piece is followed by the end of the body.
    """
    left, sent = list(pieces), list[Message]()

    async def receive() -> Message:
        if left:
            piece = left.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(left) or not whole}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in HEADERS.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 7480),
    }
    await asyncio.wait_for(app(scope, receive, send), WAIT)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body)


def test_a_body_has_a_limit_without_a_stated_length() -> None:
    async def run() -> None:
        server = application()
        app = server.asgi(Policy(max_body=MAX))
        status, answer = await asked(app, [b" " * MAX, b" "])
        assert (status, answer["error"]["code"]) == (413, 413)
        status, answer = await asked(app, [PING[:9], PING[9:]])
        assert (status, answer) == (200, {"jsonrpc": "2.0", "id": 1, "result": {}})
        assert server.mcp
        await server.mcp.end()

    asyncio.run(run())


def test_a_body_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ettin_cli.serving.exchange.BODY_S", 0.01)

    async def run() -> None:
        app = application().asgi(Policy())
        status, answer = await asked(app, [PING[:9]], whole=False)
        assert (status, answer["message"]) == (408, "the body was not sent within 0 s")

    asyncio.run(run())


def test_a_failed_start_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    def failing(_: object) -> None:
        raise OSError(24, "too many open files")

    async def run() -> None:
        server = application()
        app = server.asgi(Policy())
        with monkeypatch.context() as patch, pytest.raises(OSError, match="too many open files"):
            patch.setattr(StreamableHTTPSessionManager, "run", failing)
            await asked(app, [PING])
        assert (await asked(app, [PING]))[0] == 200
        assert server.mcp
        await server.mcp.end()

    asyncio.run(run())
