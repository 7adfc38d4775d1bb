"""One writer at a time; readers need no lock, since generations never change."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.errors import EttinError, IndexBusyError, InvalidArgumentError
from ettin_cli.index.manifest import GENERATIONS, MANIFEST, SHARD_NAME, SHARDS, WORK
from ettin_cli.records import Reporter
from ettin_cli.settings import cache_folder
from ettin_cli.storage import make_folder, private_folder

if TYPE_CHECKING:
    import filelock

LOCK = "lock"
HOLDER = "lock-holder"


@contextmanager
def writing(folder: Path, *, wait: bool, reporter: Reporter) -> Iterator[None]:
    """Hold the index for writing; its folder is created if absent.

    The operating system releases the lock of a dead process; the holder's name is informational.

    Raises:
        IndexBusyError: Another process holds it and `wait` is False.
        InvalidArgumentError: The folder contains files that are not an index's.
    """
    import filelock

    made = _make(folder)
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        holder = _holder(folder)
        if not wait:
            raise IndexBusyError(
                f"{folder} is being written by {holder}", folder=folder, holder=holder
            ) from None
        reporter.notice(f"waiting for {holder} to finish writing {folder}")
        _wait(lock, folder)
    except OSError as error:
        raise _unwritable("write to", folder, error) from error
    try:
        with suppress(OSError):
            (folder / HOLDER).write_text(_myself(), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            (folder / HOLDER).unlink(missing_ok=True)
        if made:
            _remove_if_empty(folder)
        lock.release()


def _wait(lock: filelock.BaseFileLock, folder: Path) -> None:
    """Wait for the lock; its holder may fail and remove the folder that it created."""
    while not lock.is_locked:
        with suppress(FileNotFoundError):
            make_folder(folder)
            lock.acquire()


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder that this run created and left empty, while the lock is still held."""
    with suppress(OSError):
        (folder / GENERATIONS).rmdir()
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()


def _make(folder: Path) -> bool:
    """Make the folder of an index; return whether it was new."""
    made = not folder.exists()
    try:
        if not (folder / MANIFEST).exists() and (foreign := _foreign(folder)):
            raise InvalidArgumentError(
                f"{folder} is not an index and contains other files, such as {foreign}",
                code="not-an-index",
                folder=folder,
            )
        if cache_folder() in folder.parents:
            private_folder(folder)
        make_folder(folder)
    except FileExistsError:
        raise EttinError(
            f"{folder} is a file, not the folder of an index", code="not-an-index", folder=folder
        ) from None
    except OSError as error:
        raise _unwritable("make", folder, error) from error
    return made


def _unwritable(what: str, folder: Path, error: OSError) -> EttinError:
    problem = f"cannot {what} {folder}: {error.strerror}"
    return EttinError(problem, code="index-unwritable", folder=folder)


def _foreign(folder: Path) -> str | None:
    """Return the name of a file that is not from an interrupted first run, or None."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    ours = {LOCK, HOLDER, GENERATIONS, SHARDS, WORK}
    if (folder / SHARDS).is_dir():
        names += [
            f"{SHARDS}/{path.name}"
            for path in (folder / SHARDS).iterdir()
            if not SHARD_NAME.fullmatch(path.name)
        ]
    return next((n for n in names if n not in ours and not n.startswith(f".{MANIFEST}.")), None)


def _myself() -> str:
    # Of a user without a name.
    with suppress(OSError, KeyError, ImportError):
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        return (
            f"process {os.getpid()} of {getpass.getuser()} on {socket.gethostname()}, since {since}"
        )
    return f"process {os.getpid()}"


def _holder(folder: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return (folder / HOLDER).read_text(encoding="utf-8") or "another process"
    return "another process"
