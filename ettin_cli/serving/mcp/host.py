"""The process that several bridges share: it holds a reranker, and opens indexes for them.

It listens on a Unix socket that only its user can open, and ends when nobody has asked for
anything for a while. The first part of a path says which index is meant, so that an agent sees
that one only.
"""

from __future__ import annotations

import os
import threading
import time
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.errors import EttinError
from ettin_cli.index import index_name, read_manifest
from ettin_cli.serving.app import Application
from ettin_cli.serving.exchange import json_response
from ettin_cli.serving.guard import Policy
from ettin_cli.serving.mcp.places import NO_INDEX
from ettin_cli.serving.problems import ProblemError
from ettin_cli.serving.scheduled_models import ScheduledModels
from ettin_cli.serving.served import Readiness, Served
from ettin_cli.serving.served_index import ServedIndex
from ettin_cli.serving.served_models import ServedReranker
from ettin_cli.settings import TRUNCATE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ettin_cli.records import Reporter
    from ettin_cli.searching import Models

# Without requests for so long, the process ends.
KEEP_ALIVE_S = 600.0
LOOK_S = 5.0
BACKLOG = 128
READING = ("v1/search", "v1/documents")
# Applications that are kept, each with its index open.
KEPT = 8
# An index that did not load is tried again after so long.
RETRY_S = 1.0


class Host(Application):
    """An application for each index, over the same models.

    Args:
        models: Of the session.
        reranker: Name of the reranker, or "none".
        reporter: Receives what happens to the models, and failures.
    """

    def __init__(self, models: Models, reranker: str, reporter: Reporter) -> None:
        rerankers = {}
        if reranker != "none":
            resolved = models.find_reranker(reranker)
            rerankers[resolved.name] = ServedReranker(models, resolved, TRUNCATE)
        super().__init__(Served(rerankers, {}), reporter, _unlogged)
        self.scheduled = ScheduledModels(models, rerankers.values())
        # The one that was used last is the last.
        self.applications: OrderedDict[str, tuple[Application, ASGIApp]] = OrderedDict()
        self.busy, self.last = 0, time.monotonic()

    def asgi(self, policy: Policy) -> ASGIApp:
        """Return the application that finds the one of a request."""
        # Loads the reranker.
        own = super().asgi(policy)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await own(scope, receive, send)
                return
            key, _, rest = scope["path"].removeprefix("/").partition("/")
            self.busy += rest != "ready"
            try:
                if key == NO_INDEX and rest.startswith(READING):
                    raise ProblemError(404, "there is no index here; make one: ettin index FOLDER")
                app = await self._application(key, policy)
                await app({**scope, "path": f"/{rest}"}, receive, send)
            except ProblemError as problem:
                await json_response(problem.body(), problem.status, {})(scope, receive, send)
            finally:
                if rest != "ready":
                    self.busy -= 1
                    self.last = time.monotonic()

        return answer

    async def _application(self, key: str, policy: Policy) -> ASGIApp:
        """Return the application of an index, which is made again if the index did not load."""
        known = self.applications.get(key)
        ended = []
        if known is None or _is_to_try_again(known[0].readiness):
            app = Application(self._served(key), self.reporter, _unlogged)
            self.applications[key] = app, app.asgi(policy)
            app.readiness.start()
            ended += [known[0]] if known else []
        self.applications.move_to_end(key)
        found = self.applications[key][1]
        while len(self.applications) > KEPT:
            ended.append(self.applications.popitem(last=False)[1][0])
        for one in ended:
            # Requests to its routes are answered still, and hold its index open until then.
            await _end(one)
        return found

    def _served(self, key: str) -> Served:
        """Return what the application of an index offers.

        Raises:
            ProblemError: There is no index.
        """
        indexes = {}
        if key != NO_INDEX:
            folder = Path(os.fsdecode(urlsafe_b64decode(key)))
            try:
                read_manifest(folder)
            except EttinError as error:
                raise ProblemError(404, error.problem) from error
            name = index_name(folder)
            indexes[name] = ServedIndex(name, folder, self.scheduled)
        return Served(self.served.rerankers, {}, indexes)

    @asynccontextmanager
    async def _lifespan(self, app: object) -> AsyncIterator[None]:
        async with super()._lifespan(app):
            yield
            while self.applications:
                _, (ended, _) = self.applications.popitem()
                ended.readiness.end()
                await _end(ended)

    def end_when_idle(self, seconds: float, end: Callable[[], None]) -> None:
        """Call a function, from another thread, after so long without requests."""

        def look() -> None:
            while self.busy or time.monotonic() - self.last < seconds:
                time.sleep(min(LOOK_S, seconds))
            end()

        threading.Thread(target=look, daemon=True).start()


def _is_to_try_again(readiness: Readiness) -> bool:
    failed = readiness.failed_at
    return failed is not None and time.monotonic() - failed >= RETRY_S


async def _end(app: Application) -> None:
    """End the tasks of an application; its models are those of the others too."""
    if app.mcp is not None:
        await app.mcp.end()


def _unlogged(_: str) -> None:
    return
