"""The process that bridges share: which indexes it keeps open, and when it tries one again."""

import asyncio
import gc
import math
import shutil
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

import ettin_cli
from ettin_cli.records import Silence
from ettin_cli.serving import Policy
from ettin_cli.serving.mcp import host, prefix_of
from ettin_cli.serving.mcp.host import Host
from ettin_cli.serving.mcp.routes import within
from tests import models


class Notices(Silence):
    """Keeps notices."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def notice(self, message: str) -> None:
        """Keep a notice."""
        self.said.append(message)


@pytest.fixture
def folders(library: Path, tmp_path: Path) -> list[Path]:
    """Three indexes of the same documents."""
    return [Path(shutil.copytree(library / ".ettin", tmp_path / name)) for name in "abc"]


def test_the_index_that_was_used_last_stays_open(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "KEPT", 2)
    reporter = Notices()

    def opened(folder: Path) -> int:
        return sum(f" is open: {folder}, " in message for message in reporter.said)

    async def run() -> None:
        with ettin_cli.Session(offline=True) as session:
            shared = Host(session.models, "none", reporter)
            app: Any = shared.asgi(Policy())

            async def ask(folder: Path) -> None:
                async with within(app, prefix_of(folder)) as client:
                    answer = await client.get("/v1/search", params={"q": "ferry"})
                    assert answer.status_code == 200, answer.text

            first, second, third = folders
            await ask(first)
            await ask(second)
            ended = ref(next(iter(reversed(shared.applications.values())))[0])
            for folder in (first, third, first):
                await ask(folder)
            assert list(map(opened, folders)) == [1, 1, 1]
            assert len(shared.applications) == 2
            gc.collect()
            assert ended() is None
            await ask(second)
            assert list(map(opened, folders)) == [1, 2, 1]

    asyncio.run(run())


def test_a_model_that_does_not_load_is_tried_again_later(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.ettin(tmp_path / "model", hidden=32, layers=2, heads=2)
    monkeypatch.setattr(host, "RETRY_S", math.inf)
    reporter = Notices()

    async def run() -> None:
        with ettin_cli.Session(offline=True) as session:
            app: Any = Host(session.models, str(model), reporter).asgi(Policy())
            weights = model / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:-8])
            async with within(app, prefix_of(folders[0])) as client:

                async def tries() -> int:
                    for _ in range(3):
                        answer = await client.get("/v1/search", params={"q": "ferry"})
                        assert answer.status_code == 503, answer.text
                        assert (await client.get("/ready")).status_code == 503
                    return sum("cannot be loaded" in message for message in reporter.said)

                assert await tries() == 1
                monkeypatch.setattr(host, "RETRY_S", 0.0)
                assert await tries() > 2

    asyncio.run(run())


def test_the_end_of_the_server_ends_every_application(folders: list[Path]) -> None:
    async def run() -> None:
        with ettin_cli.Session(offline=True) as session:
            shared = Host(session.models, "none", Silence())
            app: Any = shared.asgi(Policy())
            received, sent = asyncio.Queue[dict[str, Any]](), asyncio.Queue[dict[str, Any]]()
            lifespan = asyncio.create_task(
                app({"type": "lifespan", "asgi": {}, "state": {}}, received.get, sent.put)
            )
            received.put_nowait({"type": "lifespan.startup"})
            assert (await sent.get())["type"] == "lifespan.startup.complete"
            ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            headers = {"accept": "application/json, text/event-stream"}
            async with within(app, prefix_of(folders[0])) as client:
                answer = await client.post("/mcp", json=ping, headers=headers)
                assert answer.json()["result"] == {}
            received.put_nowait({"type": "lifespan.shutdown"})
            assert (await sent.get())["type"] == "lifespan.shutdown.complete"
            await lifespan
            assert not shared.applications
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
