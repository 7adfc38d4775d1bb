"""What a client is told when a request fails: one body that the readers of every dialect show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Kinds of errors, by status, in the words of text-embeddings-inference and of OpenAI.
_KINDS = {
    400: ("Validation", "invalid_request_error"),
    401: ("Validation", "authentication_error"),
    403: ("Validation", "permission_error"),
    404: ("Validation", "not_found_error"),
    413: ("Validation", "invalid_request_error"),
    429: ("Overloaded", "rate_limit_error"),
    500: ("Backend", "api_error"),
    503: ("Unhealthy", "api_error"),
    504: ("Backend", "timeout_error"),
}
_OTHER = ("Validation", "invalid_request_error")


class ProblemError(Exception):
    """A request that is refused or fails.

    Args:
        status: The HTTP status.
        message: What is wrong, where, and what to do.
        param: The field of the request.
        retry_after: Seconds after which to try again.
        extra: Further fields of the body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.retry_after, self.extra = retry_after, extra or {}

    def body(self, *, tei: bool = False) -> dict[str, Any]:
        """Return the JSON body.

        Args:
            tei: Whether the client speaks to text-embeddings-inference, where `error` is a string.
        """
        tei_kind, kind = _KINDS.get(self.status, _OTHER)
        error: Any = {
            "message": self.message,
            "type": kind,
            "param": self.param,
            "code": self.status,
        }
        if tei:
            error = self.message
        return {
            "error": error,
            "error_type": tei_kind,
            "message": self.message,
            "detail": self.message,
            **self.extra,
        }

    def headers(self) -> dict[str, str]:
        """Return the headers of the response."""
        return {"retry-after": str(self.retry_after)} if self.retry_after else {}


def invalid(message: str, param: str | None = None) -> ProblemError:
    """Return the problem of a request that cannot be understood."""
    return ProblemError(400, message, param=param)
