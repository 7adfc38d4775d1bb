"""Rows in proportion: of several parts, of the shards of a table, and of windows of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.collections import Shard, Table
from ettin_cli.corpus import Row, batch_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# More rows cannot be drawn in proportion (numpy's limit).
MOST_ROWS = 1_000_000_000


def shares(total: int, sizes: Sequence[int]) -> list[int]:
    """Return how much of a total each part gets, in proportion to the sizes.

    >>> shares(10, [60, 30, 15])
    [6, 3, 1]
    >>> shares(2, [1, 1, 1])
    [1, 1, 0]
    """
    every = sum(sizes)
    found = [total * size // every for size in sizes]
    remainders = [(-(total * size % every), at) for at, size in enumerate(sizes)]
    for _, at in sorted(remainders)[: total - sum(found)]:
        found[at] += 1
    return found


def name_key(name: str) -> int:
    """Return a number for a name, to seed what is chosen of it."""
    import xxhash

    return xxhash.xxh3_64_intdigest(name.encode())


@dataclass(frozen=True, slots=True)
class ShardRows:
    """The rows of a shard that are trained on.

    Args:
        numbers: Their numbers from 0, in ascending order; None: all.
    """

    shard: Shard
    numbers: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self.shard.rows if self.numbers is None else len(self.numbers)

    def read(self, path: Path, skipped: int) -> Iterator[Row]:
        """Yield the rows after the first `skipped`.

        Raises:
            UnreadableError: The file is not valid.
        """
        if self.numbers is None:
            yield from batch_rows(path, skipped, self.shard.rows)
            return
        wanted = (int(number) for number in self.numbers[skipped:])
        number = next(wanted, None)
        if number is None:
            return
        for row in batch_rows(path, number, int(self.numbers[-1]) + 1):
            if row[2] == number + 1:
                yield row
                number = next(wanted, -1)


def chosen_rows(table: Table, count: int, seed: int) -> list[ShardRows]:
    """Return a random sample of a table's rows, from as few shards as hold that many.

    The shards are chosen at random, then the rows among all of theirs.
    """
    import numpy as np

    if count == table.rows:
        return [ShardRows(shard) for shard in table.shards]
    rng = np.random.default_rng([seed, name_key(table.name)])
    shards: list[Shard] = []
    held = 0
    for at in rng.permutation(len(table.shards)):
        shards.append(table.shards[at])
        held += shards[-1].rows
        if held >= count:
            break
    numbers = np.sort(rng.choice(held, count, replace=False))
    begins = np.cumsum([0, *(shard.rows for shard in shards)])
    bounds = np.searchsorted(numbers, begins)
    found = [
        ShardRows(shard, numbers[bounds[at] : bounds[at + 1]] - begins[at])
        for at, shard in enumerate(shards)
    ]
    return [one for one in found if len(one)]


class Shares:
    """How many rows each part has in each window of an epoch: as if all rows were shuffled.

    They are drawn one window after another, so that memory holds one number for each part.

    Args:
        sizes: The rows of each part.
        window: The rows of a window.
    """

    def __init__(self, sizes: Sequence[int], window: int, seed: int, epoch: int) -> None:
        self.made_of = sizes, window, seed, epoch
        self._begin()

    def _begin(self) -> None:
        import numpy as np

        sizes, _, seed, epoch = self.made_of
        self._rng = np.random.default_rng([seed, epoch])
        self._left = np.array(sizes, np.int64)
        self._counts = np.zeros(len(sizes), np.int64)
        self._number = -1

    def of(self, number: int) -> list[tuple[int, int]]:
        """Return where the rows of a window begin and end in each part."""
        if number < self._number:
            self._begin()
        sizes, window, _, _ = self.made_of
        while self._number < number:
            due = min(window, int(self._left.sum()))
            self._counts = self._rng.multivariate_hypergeometric(self._left, due)
            self._left -= self._counts
            self._number += 1
        return [
            (size - int(left) - int(count), size - int(left))
            for size, left, count in zip(sizes, self._left, self._counts, strict=True)
        ]

    def order(self, number: int) -> list[int]:
        """Return the part of each row of a window, in the order of the epoch."""
        import numpy as np

        counts = [end - begin for begin, end in self.of(number)]
        parts = list(chain.from_iterable([at] * count for at, count in enumerate(counts)))
        _, _, seed, epoch = self.made_of
        order: list[int] = np.random.default_rng([seed, epoch, number]).permutation(parts).tolist()
        return order
