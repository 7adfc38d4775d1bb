"""Send to a file what libraries and child processes write to stdout and stderr."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, cast


@contextmanager
def captured(path: Path) -> Iterator[TextIO]:
    """Send descriptors 1 and 2 to a file, which is yielded; `sys.stderr` goes where it went."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    stderr = sys.stderr
    with path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
        try:
            if _descriptor(stderr) == 2:
                raw = io.FileIO(os.dup(saved[1]), "wb")
                sys.stderr = io.TextIOWrapper(
                    cast(io.BufferedWriter, raw),
                    encoding=stderr.encoding,
                    errors=stderr.errors,
                    write_through=True,
                )
            for number in (1, 2):
                os.dup2(log.fileno(), number)
            yield log
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            for number, descriptor in enumerate(saved, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            if sys.stderr is not stderr:
                sys.stderr.close()
                sys.stderr = stderr


@contextmanager
def logged_to(name: str, log: TextIO) -> Iterator[None]:
    """Send what a library logs to a file, from all of its loggers that write to a stream."""
    logger = logging.getLogger(name)
    # Without a handler, warnings would go to stderr.
    handler = logging.StreamHandler(log)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    for one in _handlers(name):
        one.setStream(log)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
        # Also of those that were made in the meantime, for the next use in this process.
        for one in _handlers(name):
            if sys.__stderr__:
                one.setStream(sys.__stderr__)


def _handlers(name: str) -> Iterator[logging.StreamHandler[TextIO]]:
    for known in [name, *logging.root.manager.loggerDict]:
        if known == name or known.startswith(f"{name}."):
            for handler in logging.getLogger(known).handlers:
                to_file = isinstance(handler, logging.FileHandler)
                if isinstance(handler, logging.StreamHandler) and not to_file:
                    yield handler


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None
