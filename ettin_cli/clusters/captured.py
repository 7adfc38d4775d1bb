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
    """Send what a library logs to a file, from all of its loggers that would write to a stream.

    Some handlers look up `sys.stderr` as they write, so handlers are replaced, not redirected.
    """
    handler = logging.StreamHandler(log)
    top = logging.getLogger(name)
    known = [one for one in logging.root.manager.loggerDict if one.startswith(f"{name}.")]
    replaced = [(top, _console_handlers(top))]
    replaced += [
        (logger, found)
        for logger in map(logging.getLogger, known)
        if (found := _console_handlers(logger))
    ]
    propagate, top.propagate = top.propagate, False
    for logger, found in replaced:
        for one in found:
            logger.removeHandler(one)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, found in replaced:
            logger.removeHandler(handler)
            for one in found:
                logger.addHandler(one)
        top.propagate = propagate


def _console_handlers(logger: logging.Logger) -> list[logging.Handler]:
    return [
        one
        for one in logger.handlers
        if isinstance(one, logging.StreamHandler) and not isinstance(one, logging.FileHandler)
    ]


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None
