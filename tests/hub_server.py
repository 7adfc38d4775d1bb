"""A stand-in of the Hugging Face hub on a loopback port, for huggingface_hub as it is.

    repositories = {"models/some/reranker": {"config.json": b"{}", "model.safetensors": weights}}
    with Hub(repositories) as hub:
        hub.serve(monkeypatch, tmp_path)          # in this process
        subprocess.run(command, env=hub.environment(tmp_path))
        assert hub.asked("GET") == [...]

It answers what huggingface_hub asks of models and datasets: the description of a repository, its
tree, and its files. A small file is at another path of the hub, and a large one, or one in a binary
format, on another host, where no token may be sent. Every request is recorded.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

TOKEN = "hf_standIn"
# Files that the hub keeps in its large file storage, whatever their size.
LARGE = (".safetensors", ".bin", ".onnx", ".parquet", ".gz", ".h5", ".model", ".zip")
LARGE_BYTES = 10 * 2**20
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Sparse:
    """A large file of which only the beginning is written; the rest is zeros."""

    size: int
    begins: bytes = b""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        return self.begins[start:stop].ljust(stop - start, b"\0")

    @property
    def sha256(self) -> str:
        """A name for the content; not its hash, which would take long."""
        return hashlib.sha256(b"%d" % self.size + self.begins).hexdigest()


Content = bytes | Sparse


@dataclass
class Repository:
    """A model or dataset.

    Args:
        files: Contents by path.
        commit: The commit that `main` refers to; by default, a hash of the files.
        private: It is shown only to those who send a token.
        gated: Its files are sent only to those who have access.
        disabled: The hub has taken it down.
        card: The metadata of its README.
        portal: Sent in place of its description, as by a network that wants a login first.
    """

    files: Mapping[str, Content]
    commit: str = ""
    private: bool = False
    gated: bool = False
    disabled: bool = False
    card: Mapping[str, Any] = field(default_factory=dict)
    portal: bytes = b""

    def __post_init__(self) -> None:
        if not self.commit:
            names = [f"{path} {etag(path, content)}" for path, content in self.files.items()]
            self.commit = hashlib.sha1("\n".join(sorted(names)).encode()).hexdigest()
        self.revisions: dict[str, Repository] = {}

    def at(self, revision: str) -> Repository | None:
        """Return the repository at a commit or branch."""
        known = {"main": self, self.commit: self, **self.revisions}
        return known.get(revision)

    def sent_as(self, path: str) -> str:
        """Return the end of the path at which a file's content is requested."""
        mark = etag(path, self.files[path])
        return f"/repos/{mark}" if is_large(path, self.files[path]) else f"/{self.commit}/{path}"

    def move(self, files: Mapping[str, Content]) -> str:
        """Make a new commit, which `main` refers to from now on; return it."""
        before = Repository(self.files, self.commit)
        self.revisions[before.commit] = before
        self.files, self.commit = files, Repository(files).commit
        return self.commit


def is_large(path: str, content: Content) -> bool:
    """Return whether a file is in the large file storage."""
    return path.endswith(LARGE) or len(content) >= LARGE_BYTES


def etag(path: str, content: Content) -> str:
    """Return a file's ETag: the hash of its content, or of its Git blob if it is small."""
    if isinstance(content, Sparse):
        return content.sha256
    if is_large(path, content):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Asked:
    """A request.

    Args:
        host: "hub", or "cdn" for the other host.
        path: Decoded, without the query.
        proxied: It came in the form in which a proxy gets it.
    """

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    proxied: bool

    @property
    def token(self) -> str | None:
        """The token that was sent."""
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None

    def __str__(self) -> str:
        return f"{self.method} {'' if self.host == 'hub' else self.host}{self.path}"


@dataclass
class Fault:
    """What goes wrong with the requests that match, instead of or on the way to their answer.

    Args:
        matching: A regular expression, searched in "GET /path" or "GET cdn/path".
        status: Answer with this status.
        headers: Sent with the status.
        message: The hub's own words, sent with the status.
        cut: Close the connection after this many bytes of the body.
        hold: Answer only once this is set.
        drop: Close the connection without an answer.
        times: How many requests; None: all.
    """

    matching: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    cut: int | None = None
    hold: threading.Event | None = None
    drop: bool = False
    times: int | None = None


class Hub:
    """The server; it runs in a thread of this process while the `with` block lasts.

    Args:
        repositories: By "models/OWNER/NAME" or "datasets/OWNER/NAME": files, or a `Repository`.

    Attributes:
        url: For HF_ENDPOINT. It is also a proxy to itself, for HTTP_PROXY.
        cdn: The other host, with the large files.
        requests: All requests, in the order in which they came.
        faults: What goes wrong; the first that matches.
        renamed: Former names and the present ones, as those of `repositories`.
        members: The tokens that have access to gated repositories; `TOKEN` is valid without it.
        waits: The seconds for which huggingface_hub would have slept, in this process.
    """

    def __init__(self, repositories: Mapping[str, Mapping[str, Content] | Repository]) -> None:
        self.repositories = {
            name: one if isinstance(one, Repository) else Repository(one)
            for name, one in repositories.items()
        }
        self.requests: list[Asked] = []
        self.faults: list[Fault] = []
        self.renamed: dict[str, str] = {}
        self.members: set[str] = set()
        self.waits: list[float] = []
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        from tests.hub_answers import HubServer

        self._servers = [HubServer(self, is_cdn=is_cdn) for is_cdn in (False, True)]
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.01,)) for server in self._servers
        ]
        for thread in self._threads:
            thread.start()
        # Some versions of huggingface_hub tell hosts by their names alone, without the port.
        self.url, self.cdn = (
            f"http://{name}:{one.server_port}"
            for name, one in zip(("127.0.0.1", "localhost"), self._servers, strict=True)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for fault in self.faults:
            if fault.hold:
                fault.hold.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    def serve(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        """Let huggingface_hub in this process ask this hub, and cache in `folder`/hf/hub.

        It does not sleep between its attempts: `waits` has the seconds.
        """
        from huggingface_hub import close_session, constants, hf_api

        for name, value in self.environment(folder).items():
            patch.setenv(name, value)
        for name in UNSET:
            patch.delenv(name, raising=False)
        patch.setattr(constants, "ENDPOINT", self.url)
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hf" / "hub"))
        patch.setattr(constants, "HF_TOKEN_PATH", str(folder / "hf" / "token"))
        patch.setattr(hf_api.api, "endpoint", self.url)
        # Nothing but what is asked for; see the tests of commands for what else would be.
        patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        clock = _Clock(self.waits.append)
        for module in ("utils._http", "file_download"):
            patch.setattr(f"huggingface_hub.{module}.time", clock)
        # The client keeps the proxies that it was made with.
        close_session()

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the environment of a process that is to ask this hub, and cache in `folder`."""
        environment = {name: value for name, value in os.environ.items() if name not in UNSET}
        return environment | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1,localhost",
            "ETTIN_CACHE_DIR": str(folder / "cache"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }

    def asked(self, method: str = "") -> list[str]:
        """Return the requests as "GET /path" or "GET cdn/path": those of a method, or all."""
        with self._changed:
            return [str(one) for one in self.requests if method in ("", one.method)]

    def until_asked(self, matching: str, times: int = 1) -> None:
        """Wait until so many requests match a regular expression."""

        def enough() -> bool:
            found = [one for one in self.requests if re.search(matching, str(one))]
            return len(found) >= times

        with self._changed:
            assert self._changed.wait_for(enough, PATIENCE_S), [str(one) for one in self.requests]

    def record(self, request: Asked) -> Fault | None:
        """Record a request, and return what goes wrong with it."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            for fault in self.faults:
                if fault.times != 0 and re.search(fault.matching, str(request)):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None


UNSET = {
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    *(f"{name}_PROXY" for name in ("HTTP", "HTTPS", "ALL")),
    *(f"{name}_proxy" for name in ("http", "https", "all", "no")),
}


@dataclass(frozen=True)
class _Clock:
    """The module `time`, but for `sleep`."""

    sleep: Callable[[float], None]

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)
