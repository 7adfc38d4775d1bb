"""Files of a commit of the hub -> huggingface_hub's cache, several at a time.

The threads are daemons, so that Ctrl-C ends a process whose hub does not answer.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from ettin_cli.models.hub_problems import FileError
from ettin_cli.records import Advance, Reporter

T = TypeVar("T")

MB = 1_000_000
THREADS = 8
# The name of the threads that request answers.
REQUESTING = "ettin request"
# For files that are being written to be removed, after an error or Ctrl-C.
GRACE_S = 2.0


class _Stopped(Exception):  # noqa: N818
    """The download of the other files has ended."""


def transfer(
    hub_id: str,
    commit: str,
    paths: Sequence[str],
    size: int,
    reporter: Reporter,
    repo_type: str | None = None,
) -> None:
    """Download files; those that are in the cache need no request.

    Args:
        paths: The first is downloaded before the others, since a refusal comes with it.
        size: Of all, in bytes.
        repo_type: "dataset"; None: a model.

    Raises:
        FileError: Of the first file that fails.
    """
    from huggingface_hub import hf_hub_download

    waiting: SimpleQueue[str] = SimpleQueue()
    for path in paths:
        waiting.put(path)
    events: SimpleQueue[int | FileError | None] = SimpleQueue()
    stop = threading.Event()
    bars = _bars_to(events.put, stop)

    def work() -> None:
        with suppress(Empty):
            while not stop.is_set():
                path = waiting.get_nowait()
                try:
                    hf_hub_download(
                        hub_id, path, repo_type=repo_type, revision=commit, tqdm_class=bars
                    )
                except Exception as error:
                    events.put(FileError(path, error))
                    return
                events.put(None)

    threads: list[threading.Thread] = []
    done = 0
    try:
        with reporter.track("downloading", math.ceil(size / MB), "MB") as advance:
            count = _Megabytes(advance)
            while done < len(paths):
                wanted = min(THREADS, len(paths) - 1) if done else 1
                for _ in range(wanted - len(threads)):
                    threads.append(threading.Thread(target=work, daemon=True))
                    threads[-1].start()
                event = events.get()
                if isinstance(event, FileError):
                    raise event from event.error
                if event is None:
                    done += 1
                else:
                    count(event)
    finally:
        stop.set()
        until = time.monotonic() + GRACE_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


def each_requested(
    request: Callable[[str], T], names: Sequence[str]
) -> Generator[tuple[str, T], None, None]:
    """Yield each name with what is requested for it, several at a time.

    The first is requested before the others, since a refusal comes with it. After an error no
    other request is begun.

    Raises:
        Exception: What `request` raises for the first name that fails.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    for at in range(len(names)):
        waiting.put(at)
    events: SimpleQueue[tuple[int, T | None, Exception | None]] = SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        with suppress(Empty):
            while not stop.is_set():
                at = waiting.get_nowait()
                try:
                    events.put((at, request(names[at]), None))
                except Exception as error:
                    stop.set()
                    events.put((at, None, error))

    done: dict[int, tuple[Any, Exception | None]] = {}
    try:
        for at, name in enumerate(names):
            for _ in range(1 if at == 0 else min(THREADS, len(names)) - 1 if at == 1 else 0):
                threading.Thread(target=work, name=REQUESTING, daemon=True).start()
            while at not in done:
                number, value, error = events.get()
                done[number] = value, error
            value, error = done.pop(at)
            if error:
                raise error
            yield name, value
    finally:
        stop.set()


class _Megabytes:
    """Counts bytes, and advances by whole megabytes; bytes that are taken back advance nothing."""

    def __init__(self, advance: Advance) -> None:
        self.advance = advance
        self.counted = self.shown = 0

    def __call__(self, count: int) -> None:
        self.counted += count
        more = self.counted // MB - self.shown
        if more > 0:
            self.shown += more
            self.advance(more)


def _bars_to(count: Callable[[int], object], stop: threading.Event) -> type[Any]:
    """Return a class for huggingface_hub's progress bars, which counts bytes and shows nothing."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Bar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            if stop.is_set():
                raise _Stopped
            count(int(n or 0))

        def update_transfer(self, n: float | None = 1) -> None:
            """Ignore bytes on the network, of which files may be made more than once."""

        def set_transfer_postfix_str(self, *_arguments: Any, **_options: Any) -> None:
            """Show nothing."""

    return Bar
