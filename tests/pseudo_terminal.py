"""A real terminal of a given width in place of this process's stdout and stderr."""

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ROWS = 50


@contextmanager
def on_terminal(width: int) -> Iterator[Callable[[], str]]:
    """Yield a function that returns the output once the block has ended."""
    inner, outer = pty.openpty()
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, width, 0, 0))
    written = bytearray()
    reader = threading.Thread(target=_drain, args=(inner, written))
    reader.start()
    saved = os.dup(1), os.dup(2)
    streams = sys.stdout, sys.stderr
    try:
        for number in (1, 2):
            os.dup2(outer, number)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        yield lambda: written.decode().replace("\r\n", "\n")
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = streams
        for number, old in zip((1, 2), saved, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(outer)
        reader.join()
        os.close(inner)


def _drain(inner: int, written: bytearray) -> None:
    """Read until the last writer has closed the terminal."""
    while True:
        try:
            content = os.read(inner, 4096)
        except OSError:
            return
        if not content:
            return
        written.extend(content)
