"""The pages recognised by an unfinished run, in a file, so that an interruption does not lose them.

A page is identified by the content of its file and what recognised it, so it is found again under
any name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from ettin_cli.corpus.page_pixels import DPI
from ettin_cli.storage import BLOCK, make_folder, opened


def content_key(path: Path) -> str:
    """Return a key for everything that the recognised text of a file depends on.

    Raises:
        UnreadableError: It cannot be read.
    """
    import xxhash

    digest = xxhash.xxh3_128(f"{version('rapidocr')} {DPI} ".encode())
    with opened(path) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


class RecognizedPages:
    """Pages in a file of JSON lines: key, page and text. A line cut off by a crash is ignored.

    Args:
        path: The file; created when there is a page.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[tuple[str, int], int] | None = None
        self._file: BinaryIO | None = None

    def pages(self, key: str, wanted: Sequence[int] | None) -> dict[int, str]:
        """Return the known texts of a file by page; with 0, if all are wanted, their number."""
        offsets = self._read()
        if not offsets:
            return {}
        if wanted is None:
            if (key, 0) not in offsets:
                return {}
            total = int(self._text(key, 0))
            wanted = range(total + 1)
        return {one: self._text(key, one) for one in wanted if (key, one) in offsets}

    def add(self, key: str, number: int, text: str) -> None:
        """Keep the text of a page."""
        offsets, file = self._read(), self._open()
        offsets[key, number] = file.seek(0, os.SEEK_END)
        file.write(json.dumps([key, number, text]).encode() + b"\n")
        file.flush()

    def clear(self) -> None:
        """Remove all pages, once their text is in the index."""
        self.close()
        self._offsets = None
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.parent.rmdir()

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _text(self, key: str, number: int) -> str:
        file = self._open()
        file.seek(self._read()[key, number])
        return str(json.loads(file.readline())[2])

    def _read(self) -> dict[tuple[str, int], int]:
        """Return where the line of each page begins, after removing a line that was cut off."""
        if self._offsets is None:
            self._offsets = {}
            if self.path.exists():
                file, at = self._open(), 0
                for line in file:
                    with suppress(ValueError, TypeError):
                        key, number, _ = json.loads(line)
                        self._offsets[key, number] = at
                    at += len(line)
                    end = line
                if at and not end.endswith(b"\n"):
                    file.write(b"\n")
        return self._offsets

    def _open(self) -> BinaryIO:
        if self._file is None:
            make_folder(self.path.parent)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            self._file = os.fdopen(os.open(self.path, flags, 0o600), "r+b")
        return self._file
