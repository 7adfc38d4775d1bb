"""Passages -> the values of their metadata fields, in the format that field_values.py reads.

Values are sorted in memory up to a limit; what exceeds it is sorted in pieces on disk, which are
merged. So memory holds as much as the limit and the rows of a single value, but not all values.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.index.field_values import (
    VALUE_BLOCKS,
    VALUES,
    Block,
    block_schema,
    directory_schema,
    keys_of,
    parsed,
    read_block,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ettin_cli.index.passages import Passages

# Bytes after which a block ends, counted as bytes of rows, characters of keys and offsets.
BLOCK_BYTES = 1 << 18
BYTES_A_ROW, BYTES_A_KEY = 4, 12
# Characters of keys, and occurrences of values, that are sorted in memory.
MOST_CHARACTERS, MOST_OCCURRENCES = 1 << 25, 1 << 21


def write_field_values(folder: Path, passages: Passages) -> None:
    """Write the values of the metadata fields of a generation."""
    import pyarrow as pa

    pieces: list[_Piece] = []
    occurrences, row = _Occurrences(), 0
    for record, run in groupby(_records(passages)):
        size = sum(1 for _ in run)
        if record:
            occurrences.add(keys_of(parsed(record, passages.path)), row, size)
        row += size
        if occurrences.are_many:
            pieces.append(_Piece(folder, len(pieces), occurrences.blocks()))
            occurrences = _Occurrences()
    if pieces:
        pieces.append(_Piece(folder, len(pieces), occurrences.blocks()))
        del occurrences
        blocks = _merged(piece.entries() for piece in pieces)
    else:
        blocks = occurrences.blocks()
    directory = _written(folder / VALUE_BLOCKS, blocks)
    for piece in pieces:
        piece.path.unlink()
    path, schema = str(folder / VALUES), directory.schema
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema) as file:
        file.write_batch(directory)


def _records(passages: Passages) -> Iterator[str]:
    for (metadata,) in passages.blocks("metadata"):
        yield from metadata.to_pylist()


class _Occurrences:
    """Values, each with runs of rows that have it, in memory."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._characters = 0
        self._values, self._firsts, self._sizes = array("I"), array("I"), array("I")

    @property
    def are_many(self) -> bool:
        return self._characters >= MOST_CHARACTERS or len(self._values) >= MOST_OCCURRENCES

    def add(self, keys: Iterable[str], first: int, size: int) -> None:
        """Add values of `size` rows from `first`, which follow those added before."""
        numbers = self._numbers
        for key in keys:
            number = numbers.setdefault(key, known := len(numbers))
            if number == known:
                self._characters += len(key)
            self._values.append(number)
            self._firsts.append(first)
            self._sizes.append(size)

    def blocks(self) -> Iterator[Block]:
        """Yield the values in order, with their rows."""
        import numpy as np

        keys = sorted(self._numbers)
        places = np.empty(len(keys), np.int64)
        places[[self._numbers[key] for key in keys]] = np.arange(len(keys))
        values = places[np.asarray(self._values, np.int64)]
        order = np.argsort(values, kind="stable")
        firsts = np.asarray(self._firsts, np.int64)[order]
        sizes = np.asarray(self._sizes, np.int64)[order]
        # Where the runs of each value end, and where its rows do.
        runs = np.cumsum(np.bincount(values, minlength=len(keys)))
        ends = np.cumsum(sizes)[runs - 1]
        weights = BYTES_A_ROW * np.diff(ends, prepend=0) + BYTES_A_KEY
        weights += np.fromiter(map(len, keys), np.int64, len(keys))
        numbers = (np.cumsum(weights) - weights) // BLOCK_BYTES
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(keys)]
        for begin, end in pairwise(cuts):
            if begin < end:
                own = slice(runs[begin - 1] if begin else 0, runs[end - 1])
                before = ends[begin - 1] if begin else 0
                rows = _rows(firsts[own], sizes[own])
                yield Block(keys[begin:end], ends[begin:end] - before, rows)


def _rows(firsts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the rows of runs: [3, 8] and [2, 1] give [3, 4, 8]."""
    import numpy as np

    ends = np.cumsum(sizes)
    return (np.repeat(firsts - ends + sizes, sizes) + np.arange(ends[-1])).astype(np.uint32)


Entry = tuple[str, "NDArray[np.uint32]"]


class _Piece:
    """Sorted values on disk, until they are merged with others."""

    def __init__(self, folder: Path, number: int, blocks: Iterable[Block]) -> None:
        self.path = folder / f"values-{number}.tmp"
        self._sizes = _written(self.path, blocks).column("size").to_pylist()

    def entries(self) -> Iterator[Entry]:
        """Yield each value with its rows, in order."""
        import pyarrow as pa

        with self.path.open("rb") as file:
            for size in self._sizes:
                block = read_block(pa.py_buffer(file.read(size)))
                yield from ((key, block.of(at)) for at, key in enumerate(block.keys))


def _merged(pieces: Iterable[Iterator[Entry]]) -> Iterator[Block]:
    """Yield the values of all pieces, as blocks that are cut as those of one piece.

    Args:
        pieces: Each has later rows than the one before.
    """
    keys: list[str] = []
    found: list[list[NDArray[np.uint32]]] = []
    total = number = 0
    for key, entries in groupby(merge(*pieces, key=itemgetter(0)), itemgetter(0)):
        if total // BLOCK_BYTES > number:
            yield _joined(keys, found)
            keys, found, number = [], [], total // BLOCK_BYTES
        keys.append(key)
        found.append([rows for _, rows in entries])
        total += BYTES_A_ROW * sum(map(len, found[-1])) + BYTES_A_KEY + len(key)
    if keys:
        yield _joined(keys, found)


def _joined(keys: list[str], found: list[list[NDArray[np.uint32]]]) -> Block:
    import numpy as np

    ends = np.cumsum([sum(map(len, rows)) for rows in found], dtype=np.int64)
    return Block(keys, ends, np.concatenate([one for rows in found for one in rows]))


def _written(path: Path, blocks: Iterable[Block]) -> pa.RecordBatch:
    """Write blocks to a file, and return the directory of them."""
    import numpy as np
    import pyarrow as pa
    import xxhash

    places: list[tuple[str, int, int, int]] = []
    begin, schema = 0, block_schema()
    with path.open("wb") as file:
        for block in blocks:
            ends = np.concatenate([np.zeros(1, np.int64), block.ends])
            rows = pa.LargeListArray.from_arrays(ends, pa.array(block.rows, pa.uint32()))
            keys = pa.array(block.keys, pa.string())
            content = pa.record_batch([keys, rows], schema).serialize()
            file.write(content)
            places.append((block.keys[0], begin, content.size, xxhash.xxh3_64_intdigest(content)))
            begin += content.size
    columns = list(zip(*places, strict=True)) or [()] * len(directory_schema())
    kinds = directory_schema().types
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return pa.record_batch(arrays, directory_schema())
