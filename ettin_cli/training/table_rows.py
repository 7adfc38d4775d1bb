"""A table of a dataset -> the rows that are trained on, read shard by shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from ettin_cli.collections import Table
from ettin_cli.corpus import Row
from ettin_cli.errors import CorpusError
from ettin_cli.files.requests import readable
from ettin_cli.records import Reporter
from ettin_cli.settings import PROBED_ROWS
from ettin_cli.training.rows import ROWS
from ettin_cli.training.sampling import ShardRows, name_key


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """A row, and the file that it is in."""

    file: str
    row: Row

    @property
    def place(self) -> str:
        """The file and the number of the row, for messages."""
        return f"{self.file}, row {self.row[2]}"


class Refusals:
    """The rows of a table that hold no example, reported once another row holds one.

    Args:
        name: Of the table.
    """

    def __init__(self, name: str, reporter: Reporter) -> None:
        self.name, self.reporter = name, reporter
        self._held: list[str] | None = []

    def add(self, line: str) -> None:
        """Report a row, or hold it back while no row has been an example.

        Raises:
            CorpusError: It is the last of the first PROBED_ROWS, and none was an example.
        """
        if self._held is None:
            self.reporter.notice(f"rejected {line}")
            return
        self._held.append(line)
        if len(self._held) == PROBED_ROWS:
            raise CorpusError(
                f"none of the first {PROBED_ROWS} rows read of {self.name} is an example; "
                f"the first is {self._held[0]}",
                code="invalid-examples",
                expected=ROWS,
            )

    def tell(self) -> None:
        """Report the rows that were held back, and later ones at once."""
        for line in self._held or ():
            self.reporter.notice(f"rejected {line}")
        self._held = None


class TableRows:
    """The rows of a table that are trained on.

    Each epoch has the shards in an order of its own, and the rows of a shard in that of its file.
    Memory holds a batch of rows.

    Args:
        scored: Whether the rows have scores, rather than positives and negatives.
    """

    def __init__(self, table: Table, chosen: Sequence[ShardRows], *, scored: bool) -> None:
        self.table, self.chosen, self.scored = table, chosen, scored
        self._key = name_key(table.name)
        self._rows: Iterator[PlacedRow] = iter(())
        self._next = (0, -1, -1)

    def __len__(self) -> int:
        return sum(map(len, self.chosen))

    def order(self, seed: int, epoch: int) -> list[ShardRows]:
        """Return the shards in the order of an epoch."""
        import numpy as np

        order = np.random.default_rng([seed, epoch, self._key]).permutation(len(self.chosen))
        return [self.chosen[at] for at in order]

    def spans(self, seed: int, epoch: int) -> Iterator[tuple[int, int, str]]:
        """Yield where the rows of each shard begin and end in an epoch, and the shard's name."""
        begin = 0
        for one in self.order(seed, epoch):
            yield begin, begin + len(one), one.shard.name
            begin += len(one)

    def needed(self, begin: int, end: int, seed: int, epoch: int) -> list[str]:
        """Return the names of the shards with the rows from one place to another."""
        return [
            name
            for first, last, name in self.spans(seed, epoch)
            if first < end and begin < last and begin < end
        ]

    def read(self, begin: int, end: int, seed: int, epoch: int) -> list[PlacedRow]:
        """Return the rows from one place of an epoch to another, going on from the last call.

        Raises:
            CorpusError: A shard cannot be downloaded or read.
        """
        if self._next != (begin, seed, epoch):
            self._rows = self._from(begin, seed, epoch)
        self._next = (-1, -1, -1)
        rows = list(islice(self._rows, end - begin))
        self._next = (end, seed, epoch)
        return rows

    def _from(self, begin: int, seed: int, epoch: int) -> Iterator[PlacedRow]:
        files = self.table.files
        for one in self.order(seed, epoch):
            if begin >= len(one):
                begin -= len(one)
                continue
            [path] = files.paths([one.shard.name])
            with readable(path):
                for row in one.read(path, begin):
                    yield PlacedRow(f"{files.repository}/{one.shard.name}", row)
            begin = 0
