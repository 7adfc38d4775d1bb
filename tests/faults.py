"""A disk on which the nth operation of a writer fails, or at which the writer dies."""

import errno
import gc
import io
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

CHANGES = ("mkdir", "rmdir", "unlink", "chmod")
CALLS = ("fsync", "replace", *CHANGES)


class DiedError(BaseException):
    """The process has died: from now on it changes nothing on the disk."""


class Disk:
    """Counts disk operations, and fails at one of them.

    Args:
        fail_at: The number of the operation that fails, from 1; 0: none.
        fault: The name of an error, "short" for a write that is cut short by a full
            disk, or "dies" for a process that is killed.
        below: Only operations below this folder count.
    """

    def __init__(self, below: Path, fail_at: int = 0, fault: str = "EIO") -> None:
        self.below, self.fail_at, self.fault = below, fail_at, fault
        self.done = 0
        self.failed: str | None = None

    def check(self, what: str, path: object) -> None:
        """Count an operation that is about to happen, and fail if it is the chosen one."""
        if self.failed and self.fault == "dies":
            raise DiedError(self.failed)
        if isinstance(path, (str, os.PathLike)) and self.below not in self._places(path):
            return
        self.done += 1
        if self.done != self.fail_at:
            return
        self.failed = what
        if self.fault == "dies":
            raise DiedError(what)
        number = getattr(errno, "ENOSPC" if self.fault == "short" else self.fault)
        raise OSError(number, os.strerror(number))

    def _places(self, path: str | os.PathLike[str]) -> set[Path]:
        absolute = Path.cwd() / path
        return {absolute, *absolute.parents}


class _File(io.FileIO):
    """A file on a disk that may fail."""

    def __init__(self, disk: Disk, path: Any, mode: str) -> None:
        disk.check("open", path)
        super().__init__(path, mode)
        self.disk = disk

    def write(self, data: Any, /) -> int:
        """Write; if the disk fails, write half or nothing."""
        try:
            self.disk.check("write", self.name)
        except OSError:
            if self.disk.fault == "short":
                super().write(memoryview(data)[: len(data) // 2])
            raise
        return super().write(data)


@contextmanager
def on(disk: Disk) -> Iterator[Disk]:
    """Send all writes of Python and Arrow in the block through a disk that may fail."""
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, _checked(disk, name, getattr(os, name)))
        patch.setattr(os, "open", _opening(disk, os.open))
        patch.setattr(io, "open", _python_files(disk, io.open))
        patch.setattr(pa, "OSFile", _arrow_files(disk, pa.OSFile))
        # What was there before is not searched for garbage, which would take most of the time.
        gc.freeze()
        try:
            yield disk
        except DiedError as error:
            _forget(error)
            raise
        finally:
            gc.unfreeze()


def _forget(error: BaseException | None) -> None:
    """Let go of what the functions that an error ended referred to, as locks of a dead process."""
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
    gc.collect()


def _checked(disk: Disk, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, *arguments: Any, **options: Any) -> Any:
        disk.check(name, path)
        return original(path, *arguments, **options)

    return call


def _opening(disk: Disk, original: Callable[..., int]) -> Callable[..., int]:
    def call(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            disk.check("open", path)
        return original(path, flags, *arguments, **options)

    return call


def _python_files(disk: Disk, original: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not set(mode) & set("wax+"):
            return original(path, mode, *arguments, **options)
        raw = _File(disk, path, mode.replace("b", "").replace("t", ""))
        file: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return file if "b" in mode else io.TextIOWrapper(file, encoding="utf-8")

    return call


def _arrow_files(disk: Disk, original: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: str, mode: str = "r") -> Any:
        return (
            pa.PythonFile(io.BufferedWriter(_File(disk, path, "w")))
            if "w" in mode
            else original(path, mode)
        )

    return call
