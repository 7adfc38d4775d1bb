"""How the answers of a unit are written, and an output file is made from the parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from ettin_cli.clusters import Made
from ettin_cli.files import json_rows
from ettin_cli.files.writers import HIT_LINES, BinaryWriter, Layout, TextWriter, writer_of
from ettin_cli.records import Answer


@dataclass(frozen=True, slots=True)
class PartFormat:
    """How the answers of a unit are written.

    Args:
        complete: Whether a part is a file of its own, rather than put together with others.
    """

    format: str
    layout: Layout
    complete: bool

    @property
    def suffix(self) -> str:
        """The suffix of a part."""
        suffixes = writer_of(self.format).suffixes
        return suffixes[0] if suffixes else ".txt"

    @property
    def begin(self) -> bytes:
        """What comes before the first part of a file."""
        return self._lines().begin(self.layout)

    @property
    def end(self) -> bytes:
        """What comes after the last part of a file."""
        return self._lines().end(self.layout)

    @property
    def made(self) -> Made | None:
        """Makes a file from parts that are put together; None: it has their bytes."""
        return self._make if isinstance(writer_of(self.format), BinaryWriter) else None

    def _lines(self) -> TextWriter:
        writer = writer_of(self.format)
        return HIT_LINES if isinstance(writer, BinaryWriter) else writer

    def _make(self, parts: Sequence[Path], file: BinaryIO) -> None:
        writer = writer_of(self.format)
        assert isinstance(writer, BinaryWriter)
        writer.write(chain.from_iterable(map(json_rows, parts)), file, self.layout)

    def write(self, answers: Iterable[Answer], file: BinaryIO, *, first: bool = False) -> None:
        """Write a part, as the answers arrive.

        Args:
            first: Whether no answer of another part comes before them.
        """
        writer = writer_of(self.format)
        if self.complete and isinstance(writer, BinaryWriter):
            rows = (row for answer in answers for row in answer.rows(text=self.layout.text))
            writer.write(rows, file, self.layout)
            return
        lines = self._lines()
        if self.complete:
            file.write(lines.begin(self.layout))
        for number, answer in enumerate(answers):
            leads = number == 0 and (first or self.complete)
            file.write(lines.answer(answer, self.layout, first=leads))
        if self.complete:
            file.write(lines.end(self.layout))
