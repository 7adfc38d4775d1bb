"""A server in a process of its own, and requests to it over loopback."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WAIT = 120.0
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Reply:
    """The answer to a request."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """Return the body."""
        return json.loads(self.content)


class Server:
    """`ettin serve` with some options, on a free port."""

    def __init__(self, folder: Path, *options: str) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETTIN_")}
        environment |= {"ETTIN_CACHE_DIR": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "ettin_cli", "serve", "--port", "0", "--device", "cpu"]
        self.process = subprocess.Popen(
            [*command, *options], env=environment, stderr=subprocess.PIPE, text=True, cwd=folder
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.port = int(self.until(r"serving on http://\S+:(\d+)"))

    def _listen(self) -> None:
        assert self.process.stderr
        with self.process.stderr as stderr:
            for line in stderr:
                with self._said:
                    self.lines.append(line)
                    self._said.notify_all()
        with self._said:
            self.lines.append("the server has ended\n")
            self._said.notify_all()

    def until(self, pattern: str) -> str:
        """Wait for a line on stderr, and return what it has in its first group."""
        with self._said:
            found = self._said.wait_for(
                lambda: self._match(pattern) or self._match("the server has ended"), WAIT
            )
            match = self._match(pattern)
        assert found and match, "".join(self.lines)
        return match[1] if match.groups() else match[0]

    def said(self, pattern: str) -> bool:
        """Return whether a line on stderr matches."""
        with self._said:
            return self._match(pattern) is not None

    def _match(self, pattern: str) -> re.Match[str] | None:
        return next((match for line in self.lines if (match := re.search(pattern, line))), None)

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)

    def ask(
        self,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        method: str = "",
    ) -> Reply:
        """Send a request: a POST of JSON if it has a body."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = self.connection()
        sent = {**(JSON if content is not None else {}), **(headers or {})}
        connection.request(method or ("GET" if content is None else "POST"), path, content, sent)
        response = connection.getresponse()
        reply = Reply(response.status, dict(response.headers.items()), response.read())
        connection.close()
        return reply

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT)

    def kill(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.wait(WAIT)
        self._listener.join(WAIT)


def scores_of(reply: Reply, name: str = "relevance_score") -> list[float]:
    """Return the scores in the order of the documents."""
    body = reply.json()
    results: Sequence[Any] = body["results"] if isinstance(body, dict) else body
    return [row[name] for row in sorted(results, key=lambda row: row["index"])]
