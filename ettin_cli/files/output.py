"""A file of results, which appears under its name only when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from ettin_cli.errors import OutputError
from ettin_cli.storage import replacing


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when it is complete.

    A device or a pipe, such as /dev/null, is written to as it is and never replaced.

    Raises:
        OutputError: It cannot be written; whatever was there before is still there.
    """
    with output_errors(path):
        special = path.exists() and not path.is_file()
        with nullcontext(path) if special else replacing(path) as draft, draft.open("wb") as file:
            yield file


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn a failure to write into one line; a closed pipe is none.

    Raises:
        OutputError: Something in the block cannot be written.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", path=path) from error
