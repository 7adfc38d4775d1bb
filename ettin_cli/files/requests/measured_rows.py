"""Rows as they are read from a file, with the share read so far."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from ettin_cli.corpus import Row, table_reader_of
from ettin_cli.files.requests.rows import readable
from ettin_cli.storage import Stream, opened

BLOCK = 1 << 16


class MeasuredRows:
    """The rows of a file with the share read so far, by bytes for formats with lines.

    For Parquet the share is by rows. For JSON, which is read at once, and for streams, whose length
    is unknown, there is none.
    """

    def __init__(self, path: Path | Stream, rows: Iterator[Row]) -> None:
        self.rows, self.row = rows, 0
        self.ended = False
        self.lines, self.total = None, 0
        if isinstance(path, Stream):
            return
        reader = table_reader_of(path.name)
        self.lines = _Lines(path) if reader and reader.lines else None
        with readable(path):
            self.total = reader.count(path) if reader and reader.count else 0

    def __iter__(self) -> Iterator[Row]:
        for row in self.rows:
            _, line, number = row
            self.row = (line or 0) if self.lines else number
            yield row
        self.ended = True

    def share(self) -> float | None:
        """Return the share of the file read so far; None if unknown."""
        if self.lines is None and not self.total:
            return None
        if self.ended:
            return 1.0
        return self.lines.share(self.row) if self.lines else self.row / self.total


class _Lines:
    """The number of line ends up to each block of a file."""

    def __init__(self, path: Path) -> None:
        self.ends, self.bytes = array("q", [0]), 0
        with readable(path), opened(path) as file:
            while block := file.read(BLOCK):
                self.bytes += len(block)
                self.ends.append(self.ends[-1] + block.count(b"\n"))

    def share(self, line: int) -> float:
        """Return the share of the bytes up to the end of a line."""
        at = bisect_left(self.ends, line)
        if at == len(self.ends):
            return 1.0
        if at == 0:
            return 0.0
        before, within = self.ends[at - 1], self.ends[at]
        place = (at - 1 + (line - before) / (within - before)) * BLOCK
        return min(1.0, place / self.bytes)
