"""An exception of huggingface_hub -> what went wrong, and when to try again."""

from __future__ import annotations

import errno
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ettin_cli.errors import first_line

# The hub counts requests in windows of five minutes.
RATE_WINDOW_S = 300
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Trouble(StrEnum):
    """What went wrong."""

    GATED = "gated"
    MISSING = "missing"
    NO_REVISION = "no-revision"
    DENIED = "denied"
    TOKEN_REJECTED = "token-rejected"
    BUSY = "busy"
    BROKEN = "broken"
    UNREACHABLE = "unreachable"
    UNWRITABLE = "unwritable"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class HubProblem:
    """Why the hub, the network or the cache did not do what was asked.

    Args:
        reason: Without the name of the repository.
        retry_s: Seconds after which to try again, if that is known.
        file: The file that was requested, if it was one.
    """

    trouble: Trouble
    reason: str
    retry_s: float | None = None
    file: str | None = None

    @property
    def text(self) -> str:
        """The reason, and when to try again."""
        if self.trouble not in (Trouble.BUSY, Trouble.BROKEN):
            return self.reason
        when = "later" if self.retry_s is None else f"in {spoken(self.retry_s)}"
        return f"{self.reason}; try again {when}"


class FileError(Exception):
    """A file could not be downloaded.

    Args:
        file: Its path in the repository.
        error: What huggingface_hub raised.
    """

    def __init__(self, file: str, error: Exception) -> None:
        super().__init__(f"{file}: {error}")
        self.file, self.error = file, error


def hub_problem(error: Exception) -> HubProblem:
    """Return what went wrong, from an exception or those that it was raised from."""
    from huggingface_hub import constants, errors

    if isinstance(error, FileError):
        return replace(hub_problem(error.error), file=error.file)

    if isinstance(error, errors.HFValidationError):
        return HubProblem(Trouble.MISSING, "whose ids have other letters")
    causes = list(_causes(error))
    for cause in causes:
        response = getattr(cause, "response", None)
        if getattr(response, "status_code", None):
            return _answered(response)
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno and (cause.filename or cause.errno in FULL):
            return HubProblem(Trouble.UNWRITABLE, cause.strerror or str(cause))
    # Of httpx or httpx2, by the version of huggingface_hub.
    http_error: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    for cause in causes:
        if isinstance(cause, (http_error, ConnectionError, TimeoutError)):
            reason = f"{type(cause).__name__}: {first_line(cause)}{_by_proxy()}"
            return HubProblem(Trouble.UNREACHABLE, reason)
    if any(isinstance(cause, json.JSONDecodeError) for cause in causes):
        return HubProblem(Trouble.OTHER, f"what answers at {constants.ENDPOINT} is not the hub")
    return HubProblem(Trouble.OTHER, f"{type(error).__name__}: {first_line(error)}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, and those that led to it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _answered(response: Any) -> HubProblem:
    """Return what an answer with an error says."""
    status, code = response.status_code, response.headers.get("X-Error-Code", "")
    message = response.headers.get("X-Error-Message", "")
    named = status_name(status)
    with_token = "authorization" in response.request.headers
    if code == "GatedRepo":
        lacks = "the account of the token has no access" if with_token else "no token was sent"
        return HubProblem(Trouble.GATED, lacks)
    if status == 401 and "credentials" in message:
        return HubProblem(Trouble.TOKEN_REJECTED, f"the hub rejects the token ({named})")
    if code == "RevisionNotFound":
        return HubProblem(Trouble.NO_REVISION, message or named)
    if status == 401 or code == "RepoNotFound":
        # The hub hides private repositories from those who have no access.
        return HubProblem(Trouble.MISSING, "" if with_token else "or it is private")
    if status == 403:
        return HubProblem(Trouble.DENIED, message or named)
    if status == 429:
        wait = retry_after(response) or RATE_WINDOW_S
        return HubProblem(Trouble.BUSY, f"the hub limits requests from here ({named})", wait)
    if status >= 500:
        return HubProblem(Trouble.BROKEN, f"the hub failed ({named})", retry_after(response))
    return HubProblem(Trouble.OTHER, f"{named}: {message}" if message else named)


def status_name(status: int) -> str:
    """Return a status with its name.

    >>> status_name(429)
    '429 Too Many Requests'
    """
    from http.client import responses

    return f"{status} {responses.get(status, '')}".strip()


def retry_after(response: Any) -> int | None:
    """Return after how many seconds to try again, from the headers of an answer; None: unknown."""
    # RateLimit: "api";r=0;t=55
    if found := re.search(r"\br=0\s*;\s*t=(\d+)", response.headers.get("RateLimit", "")):
        return int(found[1])
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return int(value)
    return _seconds_until(value, response.headers.get("Date", ""))


def _seconds_until(date: str, now: str) -> int | None:
    """Return the seconds between two dates of HTTP, both by the hub's clock."""
    from email.utils import parsedate_to_datetime

    try:
        span = parsedate_to_datetime(date) - parsedate_to_datetime(now)
    except (ValueError, TypeError):
        return None
    return max(0, math.ceil(span.total_seconds()))


def spoken(seconds: float) -> str:
    """Return a time to wait, rounded up.

    >>> spoken(119.2), spoken(301)
    ('120 s', '6 min')
    """
    return f"{math.ceil(seconds)} s" if seconds <= 120 else f"{math.ceil(seconds / 60)} min"


def _by_proxy() -> str:
    """Name the proxy that requests to the hub go through, if there is one; not its password."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    from huggingface_hub import constants

    hub = urlsplit(constants.ENDPOINT)
    proxies = getproxies()
    proxy = urlsplit(proxies.get(hub.scheme) or proxies.get("all") or "")
    if not proxy.hostname or proxy_bypass(hub.hostname or ""):
        return ""
    return f", through the proxy {proxy.hostname}" + (f":{proxy.port}" if proxy.port else "")
