"""`/mcp` of a server: streamable HTTP without sessions, over the server's own routes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import MissingExtraError
from ettin_cli.platforms import quoted
from ettin_cli.serving.exchange import json_response, received
from ettin_cli.serving.guard import Policy
from ettin_cli.serving.mcp.protocol import indexed, instructions, protocol_server, require_mcp
from ettin_cli.serving.mcp.routes import RouteError, Routes, within
from ettin_cli.serving.mcp.tools import Tools
from ettin_cli.serving.problems import ProblemError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/mcp"


class McpRoute:
    """The ASGI application at `/mcp`; it begins with the first request.

    Args:
        app: The application with the server's routes, which the tools call.
        policy: Has the size that a body may have.
    """

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self._app, self._policy = app, policy
        self._lock = asyncio.Lock()
        self._manager: Any = None
        self._running: asyncio.Task[None] | None = None
        self._end = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        from starlette.requests import Request

        try:
            content = await received(Request(scope, receive), self._policy)
            async with self._lock:
                if self._manager is None:
                    self._manager = await self._started()
        except MissingExtraError as error:
            problem = ProblemError(404, f"{error.problem}: pip install {quoted('ettin-cli[mcp]')}")
        except RouteError as error:
            problem = ProblemError(error.status, error.message)
        except ProblemError as refused:
            problem = refused
        else:
            await self._manager.handle_request(scope, _again(content, receive), send)
            return
        await json_response(problem.body(), problem.status, {})(scope, receive, send)

    async def _started(self) -> Any:
        """Return the manager of the requests, which runs until the end of the server."""
        require_mcp()
        client = within(self._app)

        async def connected(_: object) -> Any:
            return client

        routes = Routes(connected)

        async def silent(_: str) -> None:
            return

        listed = await routes.get("/v1/indexes", silent)
        told = instructions(indexed(listed))
        server = await asyncio.to_thread(protocol_server, Tools(routes), told)
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        # The guard of the server has checked Host and Origin.
        manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(self._run(manager, ready))
        await asyncio.wait([ready, running], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            # It has failed; the next request tries again.
            running.result()
        self._running = running
        return manager

    async def _run(self, manager: Any, ready: asyncio.Future[None]) -> None:
        async with manager.run():
            ready.set_result(None)
            await self._end.wait()

    async def end(self) -> None:
        """Cancel what has not been answered."""
        self._end.set()
        if self._running is not None:
            await self._running


def _again(content: bytes, receive: Receive) -> Receive:
    """Return what receives a body that has been read, and then what follows it."""
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message
