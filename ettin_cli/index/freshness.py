"""Has a file changed since it was indexed? Its content decides; size and time only save reading."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from ettin_cli.index.source_files import FileEntry
from ettin_cli.storage import checksum

# A file modified this shortly before it was read may change again without a new mtime.
RACY_NS = 2_000_000_000


def entry_for(path: Path, source: int, name: str, recorded_path: str) -> FileEntry:
    """Return the entry of a file in its current state; reads all of it for the hash.

    Raises:
        OSError: The file cannot be read.
    """
    status = path.stat()
    recent = time.time_ns() - status.st_mtime_ns < RACY_NS
    return FileEntry(
        source=source,
        name=name,
        path=recorded_path,
        size=status.st_size,
        mtime_ns=0 if recent else status.st_mtime_ns,
        digest=checksum(path),
    )


def is_unchanged(entry: FileEntry, path: Path) -> bool:
    """Return whether a file's content is unchanged; a missing file has changed."""
    try:
        status = path.stat()
        if status.st_size != entry.size:
            return False
        return status.st_mtime_ns == entry.mtime_ns or checksum(path) == entry.digest
    except OSError:
        return False


def touched(entry: FileEntry, path: Path) -> FileEntry:
    """Return the entry of an unchanged file with its current mtime, to save hashing it again."""
    mtime_ns = path.stat().st_mtime_ns
    recent = time.time_ns() - mtime_ns < RACY_NS
    return replace(entry, mtime_ns=0 if recent else mtime_ns)


def portable(path: Path, base: Path) -> str:
    """Return a path relative to `base` if it is below it, so that both can be moved together."""
    try:
        return path.relative_to(base).as_posix()
    except ValueError:
        return os.fspath(path)
