"""The tools over stdin and stdout: a bridge to a server that holds the models."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import INTERRUPTED, TERMINATED
from ettin_cli.serving.mcp.protocol import protocol_server
from ettin_cli.serving.mcp.tools import Tools

if TYPE_CHECKING:
    from ettin_cli.serving.mcp.connection import Connection


def claim_streams() -> tuple[int, int]:
    """Keep stdin and stdout for the protocol, and return descriptors of them.

    From here on, what a library prints goes to stderr, and what reads stdin reads nothing.
    """
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return reading, writing


def bridge(streams: tuple[int, int], connection: Connection, tools: Tools, told: str) -> int:
    """Answer the messages of a client until it closes stdin; return the exit code.

    Args:
        streams: Descriptors of stdin and stdout.
        connection: Finds or starts the server, which the tools use.
        told: The instructions.
    """
    # Importing the protocol makes many objects and little garbage.
    gc.disable()
    import anyio

    server = protocol_server(tools, told, connection.begin)
    gc.freeze()
    gc.enable()
    return anyio.run(_until_end, server, connection, streams)


async def _until_end(server: Any, connection: Connection, streams: tuple[int, int]) -> int:
    """Run the server until stdin ends or a signal comes, and return the exit code."""
    running = asyncio.create_task(_run(server, streams))
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        running.cancel()

    loop = asyncio.get_running_loop()
    for number, code in ((signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, end, code)
    try:
        await running
    except asyncio.CancelledError:
        if not codes:
            raise
    finally:
        await connection.close()
    return codes[0] if codes else 0


async def _run(server: Any, streams: tuple[int, int]) -> None:
    import anyio
    from mcp.server.stdio import stdio_server

    reading, writing = streams
    wire = io.TextIOWrapper(os.fdopen(writing, "wb", closefd=False), encoding="utf-8")
    async with stdio_server(_lines(reading), anyio.wrap_file(wire)) as (read, write):  # type: ignore[arg-type]
        await server.run(read, write, server.create_initialization_options())


async def _lines(descriptor: int) -> AsyncIterator[str]:
    """Yield the lines of a descriptor.

    They are read by a thread that does not keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def put(line: str | None) -> None:
        # The loop may have ended.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        with os.fdopen(descriptor, encoding="utf-8", errors="replace", newline="\n") as wire:
            for line in wire:
                put(line)
        put(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line
