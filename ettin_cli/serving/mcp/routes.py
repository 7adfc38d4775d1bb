"""Requests to the routes of a server, in its own process or over a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx2
    from starlette.types import ASGIApp

# Receives what a call waits for.
Report = Callable[[str], Awaitable[None]]
REPORT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Caller:
    """The agent that calls a tool.

    Args:
        report: Sends what the call waits for.
        url: Address by which the agent reached the server, if it was over HTTP.
    """

    report: Report
    url: str | None = None


# The routes have limits of their own for the time that a request may take.
CONNECT_SECONDS = 10.0
LOCAL = "http://localhost"


class RouteError(Exception):
    """A request that a route refused.

    Args:
        message: What is wrong, in the words of the route.
        body: The JSON body.
    """

    def __init__(self, status: int, message: str, body: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.status, self.message, self.body = status, message, body


def at_socket(path: Path, prefix: str) -> httpx2.AsyncClient:
    """Return a client for the routes of a server that listens on a Unix socket.

    Args:
        prefix: First part of the paths of the routes.
    """
    import httpx2

    return _client(base_url(prefix), httpx2.AsyncHTTPTransport(uds=str(path)))


def within(app: ASGIApp, prefix: str = "") -> httpx2.AsyncClient:
    """Return a client for the routes of an application of this process."""
    import httpx2

    return _client(base_url(prefix), httpx2.ASGITransport(app))


def base_url(prefix: str) -> str:
    """Return the address before the paths of routes.

    >>> base_url("/-")
    'http://localhost/-'
    """
    return LOCAL + prefix


def _client(url: str, transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncClient:
    import httpx2

    timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
    # Proxies of the environment are for other hosts.
    return httpx2.AsyncClient(base_url=url, transport=transport, timeout=timeout, trust_env=False)


class Routes:
    """The routes of a server.

    Args:
        connected: Returns a client for the server, once there is one.
        lost: Called with a client whose server cannot be reached; returns whether another can be
            had.
    """

    def __init__(
        self,
        connected: Callable[[Report], Awaitable[httpx2.AsyncClient]],
        lost: Callable[[httpx2.AsyncClient], Awaitable[bool]] | None = None,
    ) -> None:
        self._connected, self._lost = connected, lost

    async def get(self, path: str, report: Report, **parameters: str | None) -> Any:
        """Return what a route answers.

        Raises:
            RouteError: It refuses the request.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        return await self._ask("GET", path, report, params=given)

    async def post(self, path: str, body: Mapping[str, Any], report: Report) -> Any:
        """Return what a route answers to a JSON body.

        Raises:
            RouteError: It refuses the request.
        """
        return await self._ask("POST", path, report, json=dict(body))

    async def _ask(self, method: str, path: str, report: Report, **sent: Any) -> Any:
        import httpx2

        client = await self._connected(report)
        try:
            return await _answered(client, method, path, report, sent)
        except httpx2.TransportError as error:
            if not (self._lost and await self._lost(client)):
                raise RouteError(503, f"the server cannot be reached: {error}", {}) from None
        client = await self._connected(report)
        try:
            return await _answered(client, method, path, report, sent)
        except httpx2.TransportError as error:
            raise RouteError(503, f"the server cannot be reached: {error}", {}) from None


async def _answered(
    client: httpx2.AsyncClient, method: str, path: str, report: Report, sent: Mapping[str, Any]
) -> Any:
    """Return an answer, and report while it takes long what the server does."""
    waiting = asyncio.create_task(_reporting(client, report))
    try:
        response = await client.request(method, path, **sent)
    finally:
        waiting.cancel()
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.is_success and body is not None:
        return body
    fields = body if isinstance(body, dict) else {}
    message = fields.get("message") or f"the server answered {path} with {response.status_code}"
    raise RouteError(response.status_code, str(message), fields)


async def _reporting(client: httpx2.AsyncClient, report: Report) -> None:
    import httpx2

    with suppress(httpx2.TransportError):
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            ready = await client.get("/ready")
            await report("computing" if ready.is_success else "loading the models")


def document_path(doc_id: str) -> str:
    """Return the path of a document's route.

    >>> document_path("guide/a b.md")
    '/v1/documents/guide%2Fa%20b.md'
    """
    return f"/v1/documents/{quote(doc_id, safe='')}"
