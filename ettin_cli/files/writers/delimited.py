"""CSV and TSV: a row per hit."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Any

from ettin_cli.files.writers.writer import Layout, RowWriter
from ettin_cli.records import Answer, columns


class Delimited(RowWriter):
    """Rows under a header, with a delimiter between cells."""

    def __init__(self, name: str, delimiter: str) -> None:
        self.name, self.delimiter, self.suffixes = name, delimiter, (f".{name}",)

    def begin(self, layout: Layout) -> bytes:
        """Return the header."""
        return self.lines([columns(text=layout.text)])

    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return a row per hit."""
        rows = answer.rows(text=layout.text)
        return self.lines(list(row.values()) for row in rows)

    def rows(
        self, names: Sequence[str], rows: Iterable[Sequence[Any]], left: Collection[str] = ()
    ) -> bytes:
        """Return a header and a line per row."""
        return self.lines(chain([names], rows))

    def lines(self, rows: Iterable[Sequence[Any]]) -> bytes:
        """Return a line per row."""
        lines = []
        for row in rows:
            text = io.StringIO(newline="")
            # With this terminator cells with CR or LF are quoted: readers end lines at either.
            writer = csv.writer(text, delimiter=self.delimiter, lineterminator="\r\n")
            writer.writerow(row)
            lines.append(text.getvalue().removesuffix("\r\n") + "\n")
        return "".join(lines).encode("utf-8", "surrogatepass")


CSV, TSV = Delimited("csv", ","), Delimited("tsv", "\t")
