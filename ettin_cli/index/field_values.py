"""The values of metadata fields, and the rows that have each, so that a filter reads no passage.

A value is a key, made of its field and its text. The sorted keys are cut into blocks, each an
Arrow record batch of keys with their rows. values.arrow has the first key, the place and the seal
of each block, so that a filter reads and checks only the blocks of its own values.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ettin_cli.index.manifest import FileRecord, damaged
from ettin_cli.index.mapping import integers, mapped_file

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ettin_cli.index.passages import Passages
    from ettin_cli.index.vectors import Rows

    Lists = Sequence[NDArray[np.uint32]]

VALUES = "values.arrow"
VALUE_BLOCKS = "values.blocks"
# Rows that are marked in one step.
PIECE_ROWS = 1 << 16
# A row is looked up among so many others in the time in which these are marked.
FEW = 30

# A metadata field, and the value that it must have, or several of which it must have one.
Filter = tuple[str, str | tuple[str, ...]]


class Block(NamedTuple):
    """Sorted keys and their rows.

    Args:
        ends: Where the rows of each key end.
        rows: Those of each key, ascending, one key after the other.
    """

    keys: Sequence[str]
    ends: NDArray[np.int64]
    rows: NDArray[np.uint32]

    def of(self, at: int) -> NDArray[np.uint32]:
        """Return the rows of the key at a position."""
        return self.rows[self.ends[at - 1] if at else 0 : self.ends[at]]


class FieldValues:
    """The values of the metadata fields of a generation.

    Args:
        generation: The folder that contains the files.
        rows: Number of passages.
        files: Size and checksum of each file.

    Raises:
        IndexDamagedError: A file is damaged; every other method may raise this too.
    """

    def __init__(self, generation: Path, rows: int, files: Mapping[str, FileRecord]) -> None:
        self._folder, self._rows, self._files = generation, rows, files
        self._directory = mapped_file(generation / VALUES)
        self._content = mapped_file(generation / VALUE_BLOCKS)

    def passing(self, filters: Sequence[Filter]) -> Rows:
        """Return the rows that pass every filter: that have the value, or one of several."""
        import numpy as np

        rows: Rows | None = None
        for found in sorted(map(self._having, filters), key=_total):
            rows = self._merged(found) if rows is None else rows[self._are_in(rows, found)]
        return np.arange(self._rows, dtype=np.int64) if rows is None else rows

    def matching(self, field: str, fits: Callable[[str], bool]) -> Rows:
        """Return the rows with a value of a field that fits."""
        begin = len(_key(field, ""))
        found = [
            block.of(at)
            for block, some in self._of_field(field)
            for at in some
            if fits(block.keys[at][begin:])
        ]
        return self._merged(found)

    def has(self, field: str) -> bool:
        """Return whether any row has a value of a field."""
        return any(some for _, some in self._of_field(field))

    def _merged(self, found: Lists) -> Rows:
        """Return the rows that are in any of the lists, ascending."""
        import numpy as np

        if len(found) == 1:
            return found[0].astype(np.int64)
        return np.flatnonzero(self._mask(found)).astype(np.int64, copy=False)

    def _mask(self, found: Lists) -> NDArray[np.bool_]:
        """Return for each row whether it is in any of the lists."""
        import numpy as np

        mask = np.zeros(self._rows, np.bool_)
        for rows in found:
            # In pieces, as numpy converts all indices first.
            for begin in range(0, len(rows), PIECE_ROWS):
                mask[rows[begin : begin + PIECE_ROWS]] = True
        return mask

    def _are_in(self, rows: Rows, found: Lists) -> NDArray[np.bool_]:
        """Return for each of some rows whether it is in any of the lists."""
        import numpy as np

        if FEW * len(rows) > _total(found):
            return self._mask(found)[rows]
        are_in, wanted = np.zeros(len(rows), np.bool_), rows.astype(np.uint32)
        for some in found:
            places = np.minimum(np.searchsorted(some, wanted), len(some) - 1)
            are_in |= some[places] == wanted
        return are_in

    def _having(self, wanted: Filter) -> Lists:
        """Return the rows of each value that passes a filter and occurs."""
        field, values = wanted
        found = []
        for key in sorted(_key(field, value) for value in _alternatives(values)):
            number = bisect_right(self._firsts, key) - 1
            if number < 0:
                continue
            block = self._block(number)
            at = bisect_left(block.keys, key)
            if block.keys[at : at + 1] == [key]:
                found.append(block.of(at))
        return found

    def _of_field(self, field: str) -> Iterator[tuple[Block, range]]:
        """Yield the blocks that may have values of a field, and their positions in each."""
        begin = _key(field, "")
        # The character after the colon.
        end = f"{begin[:-1]};"
        first = max(0, bisect_right(self._firsts, begin) - 1)
        for number in range(first, bisect_left(self._firsts, end)):
            block = self._block(number)
            yield block, range(bisect_left(block.keys, begin), bisect_left(block.keys, end))

    @cached_property
    def _table(self) -> pa.Table:
        import pyarrow as pa
        import xxhash

        path = self._folder / VALUES
        if xxhash.xxh3_128_hexdigest(self._directory) != self._files[VALUES].checksum:
            raise damaged(path)
        try:
            table = pa.ipc.open_file(self._directory).read_all()
            table.validate(full=True)
        except pa.ArrowException as error:
            raise damaged(path) from error
        if table.schema != directory_schema():
            raise damaged(path)
        return table

    @cached_property
    def _firsts(self) -> list[str]:
        """The first key of each block."""
        firsts: list[str] = self._table.column("first").to_pylist()
        return firsts

    def _block(self, number: int) -> Block:
        import xxhash

        row = self._table.slice(number, 1).to_pylist()[0]
        content = self._content.slice(row["begin"], row["size"])
        if xxhash.xxh3_64_intdigest(content) != row["seal"]:
            raise damaged(self._folder / VALUE_BLOCKS)
        return read_block(content)


class ScannedValues:
    """The values of metadata fields in an index of an earlier version, read from each passage.

    Args:
        passages: The passages.

    Raises:
        IndexDamagedError: A passage is damaged; raised by every method.
    """

    def __init__(self, passages: Passages) -> None:
        self._passages = passages

    def passing(self, filters: Sequence[Filter]) -> Rows:
        """Return the rows that pass every filter: that have the value, or one of several."""
        wanted = [(field, _alternatives(values)) for field, values in filters]
        return self._fitting(
            lambda metadata: all(
                not values.isdisjoint(_values(metadata, field)) for field, values in wanted
            )
        )

    def matching(self, field: str, fits: Callable[[str], bool]) -> Rows:
        """Return the rows with a value of a field that fits."""
        return self._fitting(lambda metadata: any(map(fits, _values(metadata, field))))

    def has(self, field: str) -> bool:
        """Return whether any row has a value of a field."""
        import orjson

        quoted = orjson.dumps(field).decode()
        return any(
            _values(parsed(record, self._passages.path), field)
            for record in self._records()
            if quoted in record
        )

    def _fitting(self, fits: Callable[[Mapping[str, Any]], bool]) -> Rows:
        import numpy as np

        path = self._passages.path
        found = [fits(parsed(record, path)) for record in self._records()]
        return np.flatnonzero(found).astype(np.int64)

    def _records(self) -> Iterator[str]:
        for (metadata,) in self._passages.blocks("metadata"):
            yield from metadata.to_pylist()


def directory_schema() -> pa.Schema:
    """Return the columns of values.arrow, which has a row for each block."""
    import pyarrow as pa

    columns = [("first", pa.string()), ("begin", pa.int64()), ("size", pa.int64())]
    return pa.schema([*columns, ("seal", pa.uint64())])


def block_schema() -> pa.Schema:
    """Return the columns of a block."""
    import pyarrow as pa

    return pa.schema([("key", pa.string()), ("rows", pa.large_list(pa.uint32()))])


def read_block(content: pa.Buffer) -> Block:
    """Return a block from its bytes, which must be intact."""
    import pyarrow as pa

    keys, rows = pa.ipc.read_record_batch(content, block_schema()).columns
    return Block(keys.to_pylist(), integers(rows.offsets)[1:], integers(rows.values))


def keys_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return the key of each value of each field, once.

    >>> keys_of({"tags": ["a", "b", "a"], "n": 1.5, "none": None})
    ['4:tags:a', '4:tags:b', '1:n:1.5']
    """
    return list(
        dict.fromkeys(
            _key(field, value) for field in metadata for value in _values(metadata, field)
        )
    )


def _key(field: str, value: str) -> str:
    """Return the key of a value; those of a field, and no others, begin with its length and name.

    >>> _key("port", "west")
    '4:port:west'
    """
    return f"{len(field)}:{field}:{value}"


def parsed(record: str, path: Path) -> dict[str, Any]:
    """Return stored metadata.

    Args:
        path: The file that it is from.

    Raises:
        IndexDamagedError: It is damaged.
    """
    import orjson

    try:
        metadata: dict[str, Any] = orjson.loads(record) if record else {}
        return metadata
    except orjson.JSONDecodeError as error:
        raise damaged(path) from error


def _values(metadata: Mapping[str, Any], field: str) -> list[str]:
    """Return the values of a field in the form a user would type."""
    value = metadata.get(field)
    values = value if isinstance(value, list) else [value]
    return [_as_typed(item) for item in values if item is not None]


def _total(lists: Lists) -> int:
    return sum(map(len, lists))


def _alternatives(wanted: str | tuple[str, ...]) -> set[str]:
    return {wanted} if isinstance(wanted, str) else set(wanted)


def _as_typed(value: object) -> str:
    """Return a JSON value in the form a user would type on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)
