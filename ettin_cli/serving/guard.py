"""What is checked of a request before it is routed: sender, key or token, content type and size.

A page in a browser can send requests to a server on the same machine, and can give its own name
the address of that machine (DNS rebinding). The Host header shows the name that the page used,
so a name that is not the server's is refused.
"""

from __future__ import annotations

import html
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from ettin_cli.serving.access import Access
from ettin_cli.serving.problems import ProblemError
from ettin_cli.settings import MIB

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 32 * MIB
MAX_TARGET = 8192
LOCAL_SUFFIX = ".localhost"
# Answered without a key: they tell nothing about texts or models.
OPEN_PATHS = frozenset(["/health", "/ready", "/ping", "/page.css", "/page.js", "/favicon.ico"])
# What reads the indexes, in this and every deeper path.
READING = (
    "/mcp",
    "/read",
    "/v1/documents",
    "/v1/indexes",
    "/v1/search",
    "/v1/vector_stores",
)
PREFLIGHT = "access-control-request-method"
# Headers that the script of an allowed page may send; agents send the last three.
ALLOWED = b"authorization, content-type, x-api-key, mcp-protocol-version, mcp-method, mcp-name"
PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"><title>ettin</title><h1>ettin</h1><p>{}.'
)


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may send requests.

    Args:
        hosts: Further names of the server, in lower case.
        origins: Origins of pages whose scripts may send requests.
        access: Who may read the indexes; None: everybody.
        everything: Whether all else needs the key too.
        any_address: Whether the server listens on all addresses, so that any address is its own.
        addresses: The addresses that it listens on.
    """

    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()
    access: Access | None = None
    everything: bool = False
    any_address: bool = False
    addresses: Sequence[str] = ("127.0.0.1", "::1")
    max_body: int = MAX_BODY

    def is_own(self, host: str) -> bool:
        """Return whether a host name, without its port, is one of the server.

        >>> [Policy().is_own(host) for host in ("127.0.0.1", "localhost", "evil.example")]
        [True, True, False]
        """
        name = host.lower().strip("[]")
        if name == "localhost" or name.endswith(LOCAL_SUFFIX) or name in self.hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        if address.is_unspecified:
            return False
        return self.any_address or any(
            address == ipaddress.ip_address(own) for own in self.addresses
        )

    def may_read(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request may be told what is in the indexes."""
        return self.access is None or self.access.accepts(headers)

    def check(self, method: str, path: str, headers: dict[str, str]) -> None:
        """Check a request of a sender that may send some, before its body is read.

        Raises:
            ProblemError: It is refused.
        """
        # Browsers ask without a key whether a page may send a request.
        preflight = method == "OPTIONS" and PREFLIGHT in headers
        if not preflight:
            self._check_key(method, path, headers)
        if method == "POST":
            self._check_body(headers)

    def check_sender(self, method: str, path: str, headers: dict[str, str]) -> None:
        """Check by what name and from which page a request was sent.

        A link on another site may lead to the search page, but not to anything else.

        Raises:
            ProblemError: It is refused.
        """
        host = headers.get("host", "")
        if not self.is_own(_name(host)):
            shown = host[:100] or "missing"
            raise ProblemError(421, f"the Host header is {shown!a}; allow it with --allow-host")
        origin = headers.get("origin")
        if origin is not None and not self._may_be_origin(origin, host):
            message = f"requests from pages of {origin[:100]!a} are refused; allow --cors-origin"
            raise ProblemError(403, message)
        follows = (method, path) == ("GET", "/") and headers.get("sec-fetch-mode") == "navigate"
        # A page at another port of this machine is of the same site, but not of this server.
        other = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if other and origin not in self.origins and not follows:
            raise ProblemError(403, "requests from pages of other sites are refused")

    def _may_be_origin(self, origin: str, host: str) -> bool:
        if origin in self.origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.netloc == host and self.is_own(parts.hostname or "")

    def _check_key(self, method: str, path: str, headers: dict[str, str]) -> None:
        if self.access is None or path in OPEN_PATHS:
            return
        # A browser asks for the page; others that send POST rerank there.
        page = path == "/" and method != "POST" and _wants_page(headers)
        reads = page or reads_indexes(path)
        if not (self.everything or reads) or self.access.accepts(headers):
            return
        if headers.get("authorization") or headers.get("x-api-key"):
            what = "API key" if self.everything else "token"
            raise ProblemError(401, f"the {what} is not that of this server")
        if self.everything:
            message = "an API key is needed: send the header Authorization: Bearer KEY"
        else:
            message = (
                "what reads an index needs the token of this server: open the link that ettin "
                "serve printed, or send the header Authorization: Bearer TOKEN"
            )
        raise ProblemError(401, message)

    def _check_body(self, headers: dict[str, str]) -> None:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            shown = f"not {kind[:60]!a}" if kind else "none is given"
            message = f"the body must be JSON, {shown}: send Content-Type: application/json"
            raise ProblemError(415, message)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise ProblemError(415, "compressed bodies are not accepted")
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self.max_body:
            raise self.too_large()

    def too_large(self) -> ProblemError:
        """Return the problem of a body beyond the limit."""
        return ProblemError(413, f"the body is larger than {self.max_body // MIB} MiB (--max-body)")


class Guard:
    """An ASGI application that refuses requests before another one sees them.

    Args:
        refused: Called with the method, the path and the problem of a request that is refused.
    """

    def __init__(
        self, app: ASGIApp, policy: Policy, refused: Callable[[str, str, ProblemError], None]
    ) -> None:
        self.app, self.policy, self.refused = app, policy, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = _headers(scope)
        answer = _with_origin(send, headers.get("origin"), self.policy.origins)
        try:
            if len(scope["path"]) + len(scope["query_string"]) > MAX_TARGET:
                raise ProblemError(414, f"the URL is longer than {MAX_TARGET:,} characters")
            self.policy.check_sender(scope["method"], scope["path"], headers)
            query = parse_qs(scope["query_string"].decode("latin-1"), errors="replace")
            access = self.policy.access
            if access and "token" in query and (scope["method"], scope["path"]) == ("GET", "/"):
                await _sign_in(access, query, headers, answer)
                return
            self.policy.check(scope["method"], scope["path"], headers)
        except ProblemError as problem:
            self.refused(scope["method"], scope["path"], problem)
            await _refuse(problem, headers, scope, receive, answer)
            return
        if scope["method"] == "OPTIONS" and PREFLIGHT in headers:
            await _preflight(answer)
            return
        await self.app(scope, receive, answer)


def reads_indexes(path: str) -> bool:
    """Return whether a path shows what is in the indexes."""
    return any(path == one or path.startswith(f"{one}/") for one in READING)


async def _sign_in(
    access: Access, query: dict[str, list[str]], headers: dict[str, str], send: Send
) -> None:
    """Give a browser that follows a link its cookie, and lead it on without the code.

    Raises:
        ProblemError: The code is used up, or wrong.
    """
    [given, *_] = query.pop("token")
    known = access.accepts(headers)
    cookie = None if known else access.cookie_for(given, headers)
    if not known and cookie is None:
        message = (
            "this link was used before, or is of another server: start ettin serve again for a "
            "new one, or put the token in its place"
        )
        raise ProblemError(401, message)
    target = f"/?{urlencode(query, doseq=True)}" if query else "/"
    answered = [
        (b"location", target.encode()),
        *([(b"set-cookie", cookie.encode("latin-1"))] if cookie else []),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
    ]
    await send({"type": "http.response.start", "status": 303, "headers": answered})
    await send({"type": "http.response.body", "body": b""})


def _wants_page(headers: dict[str, str]) -> bool:
    return "text/html" in headers.get("accept", "")


async def _refuse(
    problem: ProblemError, headers: dict[str, str], scope: Scope, receive: Receive, send: Send
) -> None:
    import orjson
    from starlette.responses import Response

    content, kind = orjson.dumps(problem.body()), "application/json"
    if _wants_page(headers):
        content, kind = PAGE.format(html.escape(problem.message)).encode(), "text/html"
    answered = problem.headers() | {
        "connection": "close",
        "content-security-policy": "default-src 'none'",
        "x-content-type-options": "nosniff",
    }
    response = Response(content, problem.status, answered, kind)
    await response(scope, receive, send)


def _with_origin(send: Send, origin: str | None, allowed: Sequence[str]) -> Send:
    """Return a sender that lets the scripts of an allowed page read the answer."""
    if origin is None or origin not in allowed:
        return send

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(b"access-control-allow-origin", origin.encode()), (b"vary", b"Origin")]
            message["headers"] = [*message.get("headers", []), *added]
        await send(message)

    return answer


async def _preflight(send: Send) -> None:
    headers = [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", ALLOWED),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers; of one that is given twice, the values with a comma."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _name(host: str) -> str:
    """Return the name in a Host header, without its port.

    >>> _name("localhost:7480"), _name("[::1]:7480"), _name("127.0.0.1")
    ('localhost', '[::1]', '127.0.0.1')
    """
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
