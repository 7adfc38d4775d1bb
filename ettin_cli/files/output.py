"""Output files, moved into place only when complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

from ettin_cli.errors import OutputError
from ettin_cli.platforms import is_folder
from ettin_cli.storage import replacing


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Open an output file that is moved into place only when complete.

    A device or a pipe, such as /dev/null, is written to directly and never replaced.

    Raises:
        OutputError: The file cannot be written; an existing file is left unchanged.
    """
    with output_errors(path):
        special = path.exists() and not path.is_file()
        with nullcontext(path) if special else replacing(path) as draft, draft.open("wb") as file:
            yield file


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn write errors into one line, except for a closed pipe.

    Raises:
        OutputError: A write in the block failed.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", path=path) from error


def check_folder_of(path: Path) -> None:
    """Check that there is a folder for an output.

    Raises:
        OutputError: There is none, or it cannot be looked into.
    """
    with output_errors(path):
        if not is_folder(path.parent):
            raise OutputError(
                f"cannot write {path}: no such folder: {path.parent}",
                code="folder-not-found",
                folder=path.parent,
            )


@contextmanager
def only_writer(target: Path) -> Iterator[None]:
    """Hold the lock of an output in the block.

    Raises:
        OutputError: Another process is writing the output, or its folder does not exist.
    """
    import filelock

    # The lock would create the folder, whose name may be a typo.
    check_folder_of(target)
    lock = filelock.FileLock(target.with_name(f"{target.name}.partial.lock"))
    with output_errors(target):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise OutputError(
                f"another process is writing {target}", code="output-busy", path=target
            ) from None
    try:
        yield
    finally:
        try:
            with suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)
        finally:
            lock.release()
