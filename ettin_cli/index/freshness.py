"""Is a file still what was indexed? Its content decides; size and time only save reading it."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from ettin_cli.index.files import FileEntry
from ettin_cli.storage import checksum

# A file changed this shortly before it was read may change again without its time changing.
RACY_NS = 2_000_000_000


def entry_for(path: Path, source: int, name: str, recorded_path: str) -> FileEntry:
    """Return the entry of a file as it is now, read through once for its hash.

    Raises:
        OSError: It cannot be read.
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
    """Say whether a file's content is what it was; a file that is gone has changed."""
    try:
        status = path.stat()
        if status.st_size != entry.size:
            return False
        return status.st_mtime_ns == entry.mtime_ns or checksum(path) == entry.digest
    except OSError:
        return False


def touched(entry: FileEntry, path: Path) -> FileEntry:
    """Return the entry of an unchanged file with its present time, to save hashing it again."""
    mtime_ns = path.stat().st_mtime_ns
    recent = time.time_ns() - mtime_ns < RACY_NS
    return replace(entry, mtime_ns=0 if recent else mtime_ns)


def portable(path: Path, base: Path) -> str:
    """Return a path relative to `base` when it lies below it, so that both can move together."""
    try:
        return path.relative_to(base).as_posix()
    except ValueError:
        return os.fspath(path)
