"""A search as a stream of events: retrieved, reranked, done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from typing import Any

from ettin_cli.serving.exchange import Exchange, read_outcome

Stage = tuple[str, dict[str, Any]]
Send = Callable[[str, dict[str, Any]], None]


class SearchStream:
    """The stages of a search, as they are reached.

    Args:
        start: Starts the search in a thread; it calls its argument with each stage.
    """

    def __init__(self, start: Callable[[Send], Future[None]], exchange: Exchange) -> None:
        self.exchange = exchange
        self.begin = time.monotonic()
        # None: the search has ended.
        self._stages: asyncio.Queue[Stage | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.future = start(self._send)
        self._ended = asyncio.wrap_future(self.future)
        self._ended.add_done_callback(read_outcome)
        self._ended.add_done_callback(lambda _: self._stages.put_nowait(None))

    def _send(self, name: str, data: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._stages.put_nowait, (name, data))

    async def stages(self) -> AsyncIterator[Stage]:
        """Yield the stages, and at the end the seconds that they took.

        Raises:
            ProblemError: They take too long.
        """
        until = self.begin + self.exchange.limits.timeout
        while True:
            try:
                left = max(0.0, until - time.monotonic())
                stage = await asyncio.wait_for(self._stages.get(), left)
            except TimeoutError:
                raise self.exchange.too_slow() from None
            if stage is None:
                break
            yield stage
        self._ended.result()
        seconds = round(time.monotonic() - self.begin, 4)
        yield "done", {"seconds": seconds, "warnings": list(self.exchange.warnings)}


def event(name: str, data: Mapping[str, Any]) -> bytes:
    """Return an event as it is sent."""
    import orjson

    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))
