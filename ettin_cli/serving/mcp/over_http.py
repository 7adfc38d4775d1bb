"""`/mcp` of a server: streamable HTTP without sessions, over the server's own routes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import MissingExtraError
from ettin_cli.serving.exchange import json_response
from ettin_cli.serving.mcp.protocol import indexed, instructions, protocol_server, require_mcp
from ettin_cli.serving.mcp.routes import RouteError, Routes, within
from ettin_cli.serving.mcp.tools import Tools
from ettin_cli.serving.problems import ProblemError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/mcp"


class McpRoute:
    """The ASGI application at `/mcp`; it begins with the first request.

    Args:
        app: The application with the server's routes, which the tools call.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lock = asyncio.Lock()
        self._manager: Any = None
        self._running: asyncio.Task[None] | None = None
        self._end = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            async with self._lock:
                if self._manager is None:
                    self._manager = await self._started()
        except MissingExtraError as error:
            problem = ProblemError(404, f"{error.problem}: pip install 'ettin-cli[mcp]'")
        except RouteError as error:
            problem = ProblemError(error.status, error.message)
        else:
            await self._manager.handle_request(scope, receive, send)
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

        # The guard of the server has checked Host, Origin and the size.
        manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._run(manager, ready))
        await ready
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
