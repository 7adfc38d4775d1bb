"""The answers of the stand-in hub: a request -> a status, headers and a body, as the hub sends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from tests.hub_server import TOKEN, Asked, Content, Fault, Repository, etag, is_large

if TYPE_CHECKING:
    from tests.hub_server import Hub

PAGE = 1000
BLOCK = 1 << 20
INFO = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/revision/(.+))?")
TREE = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)/tree/([^/]+)(?:/(.+))?")
FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
KEPT = re.compile(r"/api/resolve-cache/(models|datasets)/([^/]+/[^/]+)/([^/]+)/(.+)")
STORED = re.compile(r"/repos/([0-9a-f]{64})")


@dataclass(frozen=True)
class Answer:
    """A status, headers, and a body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Content = b""


def said(status: int, message: str, code: str = "", **headers: str) -> Answer:
    """Return an error as the hub sends it: a code and a message in headers, and JSON."""
    more = {"X-Error-Code": code} if code else {}
    return as_json({"error": message}, status, {"X-Error-Message": message, **more, **headers})


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a JSON body."""
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(status, {**kind, **(headers or {})}, json.dumps(value).encode())


class Refused(Exception):  # noqa: N818
    """The request is answered with an error or a redirect."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def answer(hub: Hub, asked: Asked, path: str) -> Answer:
    """Return the answer to a request, by its path before decoding."""
    try:
        if asked.host == "cdn":
            return _stored(hub, asked)
        if asked.token not in (None, TOKEN, *hub.members):
            return said(401, "Invalid credentials in Authorization header")
        if found := TREE.fullmatch(path):
            kind, name, revision, below = found.groups()
            repository = _repository(hub, asked, f"{kind}/{name}", unquote(revision))
            return _tree(hub, asked, repository, unquote(below or ""))
        if found := KEPT.fullmatch(path):
            kind, name, revision, file = found.groups()
            repository = _repository(hub, asked, f"{kind}/{name}", revision)
            return _ranged(asked, unquote(file), repository.files[unquote(file)], repository)
        if found := INFO.fullmatch(path):
            kind, name, revision = found.groups()
            repository = _repository(hub, asked, f"{kind}/{name}", unquote(revision or "main"))
            return _described(asked, name, repository)
        if found := FILE.fullmatch(path):
            kind, name, revision, file = found.groups()
            name = f"{'datasets' if kind else 'models'}/{name}"
            repository = _repository(hub, asked, name, unquote(revision))
            return _file(hub, asked, name, repository, unquote(file))
    except Refused as refused:
        return refused.answer
    return said(404, "Sorry, we can't find the page you are looking for.")


def _repository(hub: Hub, asked: Asked, name: str, revision: str) -> Repository:
    if new := hub.renamed.get(name):
        location = asked.path.replace(name.removeprefix("models/"), new.removeprefix("models/"))
        query = f"?{urlencode(asked.query)}" if asked.query else ""
        raise Refused(Answer(307, {"Location": quote(location) + query}))
    repository = hub.repositories.get(name)
    if repository is None or (repository.private and asked.token not in hub.members):
        if asked.token is None:
            raise Refused(said(401, "Invalid username or password."))
        raise Refused(said(404, "Repository not found", "RepoNotFound"))
    if repository.disabled:
        raise Refused(said(403, "Access to this resource is disabled."))
    found = repository.at(revision)
    if found is None:
        raise Refused(said(404, f"Invalid rev id: {revision}", "RevisionNotFound"))
    found.gated = repository.gated
    return found


def _described(asked: Asked, name: str, repository: Repository) -> Answer:
    """Describe a repository, which the hub does for gated ones too."""
    if repository.portal:
        return Answer(200, {"Content-Type": "text/html"}, repository.portal)
    siblings: list[dict[str, object]] = []
    for path, content in repository.files.items():
        entry: dict[str, object] = {"rfilename": path}
        if asked.query.get("blobs") == "true":
            entry |= {"size": len(content), "blobId": etag(path, content)[:40]}
            if is_large(path, content):
                sha256 = etag(path, content)
                entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
        siblings.append(entry)
    described = {
        "_id": repository.commit[:24],
        "id": name,
        "modelId": name,
        "author": name.partition("/")[0],
        "sha": repository.commit,
        "private": repository.private,
        "gated": "manual" if repository.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "cardData": dict(repository.card),
        "lastModified": "2026-05-19T12:00:00.000Z",
        "createdAt": "2026-05-19T12:00:00.000Z",
        "siblings": siblings,
    }
    return as_json(described)


def _tree(hub: Hub, asked: Asked, repository: Repository, below: str) -> Answer:
    entries = list(_entries(repository, below, asked.query.get("recursive") == "true"))
    if below and not entries:
        return said(404, f"{below} does not exist", "EntryNotFound")
    start = int(asked.query.get("cursor", 0))
    headers = {}
    if len(entries) > start + PAGE:
        following = f"{hub.url}{quote(asked.path)}?recursive=true&cursor={start + PAGE}"
        headers["Link"] = f'<{following}>; rel="next"'
    return as_json(entries[start : start + PAGE], headers=headers)


def _entries(repository: Repository, below: str, recursive: bool) -> Iterator[dict[str, object]]:
    prefix = f"{below}/" if below else ""
    folders: set[str] = set()
    for path, content in sorted(repository.files.items()):
        if not path.startswith(prefix):
            continue
        parts = path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts)):
            folder = prefix + "/".join(parts[:depth])
            if folder not in folders and (recursive or depth == 1):
                folders.add(folder)
                yield {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
        if recursive or len(parts) == 1:
            yield _entry(path, content)


def _entry(path: str, content: Content) -> dict[str, object]:
    name, size = etag(path, content), len(content)
    entry: dict[str, object] = {"type": "file", "oid": name[:40], "size": size, "path": path}
    if is_large(path, content):
        entry["lfs"] = {"oid": name, "size": size, "pointerSize": 134}
    return entry


def _file(hub: Hub, asked: Asked, name: str, repository: Repository, path: str) -> Answer:
    """Send a request for a file on: to another path if it is small, to another host if not."""
    if repository.gated and asked.token not in hub.members:
        status, why = (401, "restricted") if asked.token is None else (403, "not yours yet")
        message = f"Access to {name.partition('/')[2]} is {why}. You must be authenticated and have"
        return said(status, message + " access to it.", "GatedRepo")
    commit = {"X-Repo-Commit": repository.commit}
    content = repository.files.get(path)
    if content is None:
        return said(404, "Entry not found", "EntryNotFound", **commit)
    mark = etag(path, content)
    linked = {"X-Linked-Etag": f'"{mark}"', "X-Linked-Size": str(len(content)), **commit}
    if is_large(path, content):
        return Answer(302, {"Location": f"{hub.cdn}/repos/{mark}?Signature=x", **linked})
    kind, _, rest = name.partition("/")
    kept = f"/api/resolve-cache/{kind}/{rest}/{repository.commit}/{quote(path)}"
    return Answer(307, {"Location": kept, **linked})


def _stored(hub: Hub, asked: Asked) -> Answer:
    """Send a file of the large file storage, which knows no tokens but signed addresses."""
    if "authorization" in asked.headers:
        return Answer(400, {"Content-Type": "text/plain"}, b"Only one auth mechanism allowed")
    found = STORED.fullmatch(asked.path)
    for repository in hub.repositories.values():
        for known in (repository, *repository.revisions.values()):
            for path, content in known.files.items():
                if found and is_large(path, content) and etag(path, content) == found[1]:
                    return _ranged(asked, path, content)
    return Answer(404)


def _ranged(
    asked: Asked, path: str, content: Content, repository: Repository | None = None
) -> Answer:
    """Send a file, or the part of it that was asked for."""
    headers = {
        "Content-Type": "application/octet-stream",
        "ETag": f'"{etag(path, content)}"',
        "Accept-Ranges": "bytes",
        **({"X-Repo-Commit": repository.commit} if repository else {}),
    }
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", ""))
    if not wanted:
        return Answer(200, headers, content)
    size, start = len(content), int(wanted[1])
    stop = min(int(wanted[2]) + 1 if wanted[2] else size, size)
    if start >= stop:
        return Answer(416, {**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Answer(206, headers, content[start:stop])


class Handler(BaseHTTPRequestHandler):
    """Reads a request to one of the hub's hosts, and sends the answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, HubServer)
        url = urlsplit(self.path)
        # A proxy gets whole URLs.
        is_cdn = url.netloc == urlsplit(server.hub.cdn).netloc if url.netloc else server.is_cdn
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(url.query))
        host = "cdn" if is_cdn else "hub"
        asked = Asked(self.command, host, unquote(url.path), query, headers, bool(url.netloc))
        fault = server.hub.record(asked) or Fault("")
        if fault.hold:
            fault.hold.wait()
        self.close_connection = True
        if fault.status:
            self._send(said(fault.status, fault.message, "", **fault.headers))
        elif not fault.drop:
            self._send(answer(server.hub, asked, url.path), fault.cut)

    do_HEAD = do_GET  # noqa: N815

    def _send(self, reply: Answer, cut: int | None = None) -> None:
        self.send_response_only(reply.status)
        headers = {"Date": self.date_time_string(), "Content-Length": str(len(reply.body))}
        headers |= {**reply.headers, "Connection": "close"}
        for name, value in headers.items():
            self.send_header(name, value)
        size = len(reply.body) if cut is None else min(cut, len(reply.body))
        # A client that was killed or has enough does not listen any more.
        with suppress(ConnectionError):
            self.end_headers()
            for start in range(0, size if self.command == "GET" else 0, BLOCK):
                self.wfile.write(reply.body[start : min(start + BLOCK, size)])

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


class HubServer(ThreadingHTTPServer):
    """One of the two hosts of a hub, on a free port."""

    def __init__(self, hub: Hub, *, is_cdn: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub, self.is_cdn = hub, is_cdn
