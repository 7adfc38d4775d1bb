"""The token that opens the indexes of a server: made once, kept in a file of its owner."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from ettin_cli.errors import EttinError, OutputError
from ettin_cli.storage import private_folder, replacing

TOKEN = "serve-token"
COOKIE = "ettin"


def token_of(folder: Path) -> str:
    """Return the token in a folder, which is made if there is none.

    Raises:
        OutputError: It cannot be written.
        EttinError: It cannot be read, or others can read it.
    """
    path = folder / TOKEN
    try:
        if path.exists():
            if os.name == "posix" and path.stat().st_mode & 0o077:
                problem = f"{path} can be read by other users; delete it to get a new one"
                raise EttinError(problem, path=path)
            token = path.read_text(encoding="ascii").strip()
            if token:
                return token
        private_folder(folder)
        token = secrets.token_urlsafe(32)
        path.touch(0o600)
        with replacing(path) as draft:
            draft.write_text(token + "\n", encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"cannot keep the token in {path}: {error}", path=path) from error
    return token


class Access:
    """Who may read the indexes: those who send the secret, or come from a link with a code.

    Args:
        secret: The token, or the API key if there is one.
    """

    def __init__(self, secret: str) -> None:
        self.secret = secret
        # Used once by the browser that opens the link, and then worth nothing.
        self.code = secrets.token_urlsafe(16)
        # Browsers send cookies to every port of a host, so it is worth nothing after this run.
        self._cookie = secrets.token_urlsafe(32)

    def accepts(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request has the secret, or the cookie of a browser that had it."""
        given = headers.get("x-api-key") or headers.get("authorization", "")
        scheme, _, rest = given.partition(" ")
        given = rest.strip() if scheme.lower() == "bearer" else given
        if given:
            return _equal(given, self.secret)
        cookies = (one.strip() for one in headers.get("cookie", "").split(";"))
        name = self._cookie_name(headers)
        return any(_equal(one, f"{name}={self._cookie}") for one in cookies)

    def cookie_for(self, given: str, headers: Mapping[str, str]) -> str | None:
        """Return the cookie of a browser that sent a code or the secret; None if it is wrong."""
        if self.code and _equal(given, self.code):
            self.code = ""
        elif not _equal(given, self.secret):
            return None
        name = self._cookie_name(headers)
        return f"{name}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"

    def _cookie_name(self, headers: Mapping[str, str]) -> str:
        """Return a name of its own for each port, so that servers do not replace each other's."""
        return f"{COOKIE}-{headers.get('host', '').rpartition(':')[2]}"


def _equal(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())
