"""Writing to standard output and error: any encoding, terminal or pipe, open or closed."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext, suppress
from typing import TextIO

from ettin_cli.text import inert


def write_line(text: str, stream: TextIO | None = None) -> None:
    """Write a line, to stderr by default; characters that the encoding lacks are escaped."""
    stream = stream or sys.stderr
    encoding = stream.encoding or "utf-8"
    # A closed stderr, or one on a full disk, must not stop results on stdout, or a server.
    with suppress(OSError) if stream is sys.stderr else nullcontext():
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()


class EscapedStdout:
    """Standard output on a terminal; control characters are escaped, as `ls` does."""

    def write(self, content: bytes) -> int:
        """Write text, given as UTF-8."""
        cells = content.decode("utf-8", "surrogateescape").split("\t")
        text = "\t".join(inert(cell) for cell in cells)
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.buffer.write(text.encode(encoding, "backslashreplace"))
        return len(content)

    def flush(self) -> None:
        """Flush standard output."""
        sys.stdout.flush()


def quietly_closed() -> None:
    """Let the interpreter exit without an error after the reader of a pipe has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
