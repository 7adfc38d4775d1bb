"""Rows as they are read from a file, and which share of its work that is."""

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
    """The rows of a file; the share that was read is by bytes where rows have lines.

    Of a Parquet file it is by rows. Of JSON and of a stream it is not known: the one is read at
    once, and nobody knows how long the other is.
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
        """Return the share of the file that was read, None where that cannot be told."""
        if self.lines is None and not self.total:
            return None
        if self.ended:
            return 1.0
        return self.lines.share(self.row) if self.lines else self.row / self.total


class _Lines:
    """Where the lines of a file end, to within a block: a number for each of these."""

    def __init__(self, path: Path) -> None:
        self.ends, self.bytes = array("q", [0]), 0
        with readable(path), opened(path) as file:
            while block := file.read(BLOCK):
                self.bytes += len(block)
                self.ends.append(self.ends[-1] + block.count(b"\n"))

    def share(self, line: int) -> float:
        """Return the share of the bytes that end with a line."""
        at = bisect_left(self.ends, line)
        if at == len(self.ends):
            return 1.0
        if at == 0:
            return 0.0
        before, within = self.ends[at - 1], self.ends[at]
        place = (at - 1 + (line - before) / (within - before)) * BLOCK
        return min(1.0, place / self.bytes)
