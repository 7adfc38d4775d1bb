"""Update an index for an agent, by the command that a user would run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ettin_cli.index import read_manifest
from ettin_cli.serving.index_process import run_index
from ettin_cli.serving.mcp.routes import RouteError
from ettin_cli.storage import STREAM

# Lines of the report of an update.
MOST_LINES = 50


async def update_index(folder: Path, paths: list[str]) -> dict[str, Any]:
    """Index what is new or has changed in the sources of an index, and return the report.

    Args:
        paths: Files that must be below a source.

    Raises:
        RouteError: A path is below no source, or the update fails.
    """
    _check_inside(folder, paths)
    words = (sys.executable, "-m", "ettin_cli", "index", "-i", str(folder), "--color", "never")
    succeeded, lines = await run_index(words)
    if not succeeded:
        raise RouteError(500, f"the update failed: {' '.join(lines[-MOST_LINES:])}", {})
    left_out = len(lines) - MOST_LINES
    note = {"note": f"the first {left_out:,} lines are left out"} if left_out > 0 else {}
    return {"index": str(folder), "report": lines[-MOST_LINES:], **note}


def _check_inside(folder: Path, paths: list[str]) -> None:
    base = folder.resolve().parent
    sources = [
        (base / source.location).resolve()
        for source in read_manifest(folder).sources
        if source.location != STREAM
    ]
    for path in paths:
        given = Path(path).resolve()
        if not any(given.is_relative_to(source) for source in sources):
            named = ", ".join(map(str, sources)) or "standard input"
            raise RouteError(400, f"{path} is below no source of the index: {named}", {})
