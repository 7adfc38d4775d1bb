"""The page's responses: their headers, and the style sheet and script with their ETags."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ettin_cli.text import Markup

# Nothing from elsewhere, nothing inline, and no frame around the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
TYPES = {"page.css": "text/css", "page.js": "text/javascript"}


def page_response(page: Markup, status: int = 200, *, refresh: int | None = None) -> Response:
    """Return a page as a response that no cache keeps.

    Args:
        refresh: Seconds after which the browser asks again.
    """
    from starlette.responses import HTMLResponse

    headers = {**HEADERS, "cache-control": "no-store", "vary": "accept"}
    if refresh is not None:
        headers |= {"refresh": str(refresh), "retry-after": str(refresh)}
    return HTMLResponse(page, status, headers)


def asset_response(name: str, request: Request) -> Response:
    """Return the style sheet or the script; without content if the browser has it."""
    from starlette.responses import Response

    content, tag = asset(name)
    headers = {**HEADERS, "etag": tag, "cache-control": "no-cache"}
    known = (one.strip().removeprefix("W/") for one in _known(request).split(","))
    if tag in known:
        return Response(status_code=304, headers=headers)
    return Response(content, 200, headers, TYPES[name])


@cache
def asset(name: str) -> tuple[bytes, str]:
    """Return the content of a file of the page, and its ETag."""
    content = files(__package__).joinpath(name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _known(request: Request) -> str:
    return str(request.headers.get("if-none-match", ""))
