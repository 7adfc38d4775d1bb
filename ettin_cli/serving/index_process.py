"""Run `ettin index` in a process of its own, which ends with the task that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

# An exit code: done, but some inputs were rejected.
REJECTED = 3


async def run_index(command: Sequence[str]) -> tuple[bool, list[str]]:
    """Return whether a command succeeded, and the lines that it wrote to stderr."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, told = await process.communicate()
    except asyncio.CancelledError:
        # What it has done is kept, and used by the next update.
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    lines = [line for line in told.decode("utf-8", "replace").splitlines() if line.strip()]
    if process.returncode in (0, REJECTED):
        return True, lines
    return False, lines or [f"exit code {process.returncode}"]
