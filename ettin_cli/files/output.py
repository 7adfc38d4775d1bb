"""Output files, moved into place only when complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from ettin_cli.errors import OutputError
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
