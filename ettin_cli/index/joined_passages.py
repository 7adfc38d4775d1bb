"""The passages, source files and vectors of the shards of an index, as those of one index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ettin_cli.index.manifest import damaged
from ettin_cli.index.mapping import integers
from ettin_cli.index.places import Places
from ettin_cli.index.source_files import FILES, FileEntry, first_and_last, joined_entry

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ettin_cli.index.contents import Contents
    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.passages import Rows
    from ettin_cli.index.vectors import Stored
    from ettin_cli.records import Passage


class JoinedVectors:
    """The vectors of shards, read as an array of shape (passages, dimension) is.

    Args:
        parts: Those of each shard.
    """

    def __init__(self, parts: Sequence[Stored]) -> None:
        self.parts = parts
        self._places = Places([len(part) for part in parts])
        kept = next((part for part in parts if len(part)), parts[0])
        self.dtype, self.shape = kept.dtype, (len(self._places), kept.shape[1])

    def __len__(self) -> int:
        return len(self._places)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __iter__(self) -> Iterator[Stored]:
        for part in self.parts:
            yield from part

    def __getitem__(self, rows: Rows | NDArray[np.bool_] | int | np.integer | slice) -> Stored:
        import numpy as np

        wanted = self._numbers(rows)
        vectors: Stored = np.empty((wanted.size, self.shape[1]), self.dtype)
        for part, at, own in self._places.split(wanted.ravel()):
            vectors[at] = self.parts[part][own]
        return vectors.reshape(*wanted.shape, self.shape[1])

    def _numbers(self, rows: Any) -> NDArray[np.int64]:
        """Return the rows that an index of an array stands for, without its negative numbers."""
        import numpy as np

        if isinstance(rows, slice):
            return np.arange(*rows.indices(len(self)))
        numbers = np.asarray(rows)
        if numbers.dtype == np.bool_ and numbers.shape == (len(self),):
            return np.flatnonzero(numbers)
        if isinstance(rows, tuple) or (numbers.size and numbers.dtype.kind not in "iu"):
            raise IndexError(f"rows are a slice, numbers or a mask of {len(self)} values")
        numbers = numbers.astype(np.int64)
        return np.where(numbers < 0, numbers + len(self), numbers)


class _Listed(NamedTuple):
    """The source files of a shard.

    Args:
        first: The number of the first in the whole.
        size: How many.
    """

    first: int
    size: int


class JoinedFiles:
    """The source files of shards, in order; one whose passages are in several shards counts once.

    Args:
        parts: The shards.
    """

    def __init__(self, parts: Sequence[Contents]) -> None:
        self.parts = parts

    @cached_property
    def _listed(self) -> list[_Listed]:
        listed: list[_Listed] = []
        total, last = 0, None
        for part in self.parts:
            count, ends = first_and_last(part.file_list, part.generation / FILES)
            # The file at the end of the shard before continues in this one.
            listed.append(_Listed(total - 1 if count and ends[0] == last else total, count))
            if count:
                total, last = listed[-1].first + count, ends[-1]
        return listed

    def numbers(self, part: int, own: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the numbers of files from those in a shard.

        Raises:
            IndexDamagedError: The shard has no such file.
        """
        first, count = self._listed[part]
        if len(own) and not 0 <= own.min() <= own.max() < count:
            raise damaged(self.parts[part].passages.path)
        numbers: NDArray[np.int32] = own + first
        return numbers

    def __len__(self) -> int:
        return max((first + count for first, count in self._listed), default=0)

    def __getitem__(self, number: int) -> FileEntry:
        pieces = [
            self._moved(part, self.parts[part].files[number - first])
            for part, (first, count) in enumerate(self._listed)
            if first <= number < first + count
        ]
        if not pieces:
            raise IndexError(f"there are {len(self)} files, so none has the number {number}")
        return joined_entry(pieces)

    def __iter__(self) -> Iterator[FileEntry]:
        pieces: list[FileEntry] = []
        before = -1
        for part, contents in enumerate(self.parts):
            for number, entry in enumerate(contents.files, self._listed[part].first):
                if number != before and pieces:
                    yield joined_entry(pieces)
                    pieces = []
                pieces.append(self._moved(part, entry))
                before = number
        if pieces:
            yield joined_entry(pieces)

    def _moved(self, part: int, entry: FileEntry) -> FileEntry:
        return replace(entry, first=entry.first + self.parts[part].vector_part.first)


class JoinedPassages:
    """The passages of shards, read as those of one index are.

    Args:
        parts: The shards.
        files: Their source files.
    """

    def __init__(self, parts: Sequence[Contents], files: JoinedFiles) -> None:
        self._parts = [part.passages for part in parts]
        self._files = files
        self._places = Places([len(part) for part in self._parts])

    def __len__(self) -> int:
        return len(self._places)

    @property
    def table(self) -> pa.Table:
        """All rows, mapped; each has the number that its file has in its shard."""
        import pyarrow as pa

        return pa.concat_tables(
            [part.table for part in self._parts if len(part)] or [self._parts[0].table]
        )

    def hashes(self) -> Iterator[Hashes]:
        """Yield the hashes of all rows in order, in arrays of shape (count, 2)."""
        for part in self._parts:
            yield from part.hashes()

    def term_hashes(self) -> Iterator[Hashes]:
        """Yield a hash of what gives each row its terms: of its content, and of its names."""
        for part in self._parts:
            yield from part.term_hashes()

    def contents(self, rows: Rows) -> list[str]:
        """Return the embedder's input for these rows."""
        texts = [""] * len(rows)
        for part, at, own in self._places.split(rows):
            _put(texts, at.tolist(), self._parts[part].contents(own.tolist()))
        return texts

    def term_texts(self, rows: Rows) -> list[str]:
        """Return what gives these rows their terms: their content, and then their names."""
        texts = [""] * len(rows)
        for part, at, own in self._places.split(rows):
            _put(texts, at.tolist(), self._parts[part].term_texts(own.tolist()))
        return texts

    def blocks(self, *names: str) -> Iterator[list[pa.Array]]:
        """Yield some columns in order, in pieces."""
        import pyarrow as pa

        for number, part in enumerate(self._parts):
            for columns in part.blocks(*names):
                if "file" in names:
                    at = names.index("file")
                    numbers = self._files.numbers(number, integers(columns[at]))
                    columns[at] = pa.array(numbers, pa.int32())
                yield columns

    def column(self, name: str, rows: Rows) -> list[Any]:
        """Return the values of one column for these rows."""
        import numpy as np

        values: list[Any] = [None] * len(rows)
        for part, at, own in self._places.split(rows):
            found = self._parts[part].column(name, own)
            if name == "file":
                found = self._files.numbers(part, np.array(found, np.int32)).tolist()
            _put(values, at.tolist(), found)
        return values

    def read(self, rows: Rows) -> list[tuple[Passage, int]]:
        """Return these passages, each with the number of its file.

        Raises:
            IndexDamagedError: The text of a passage does not match its hash.
        """
        import numpy as np

        read: list[Any] = [None] * len(rows)
        for part, at, own in self._places.split(rows):
            passages, files = zip(*self._parts[part].read(own.tolist()), strict=True)
            numbers = self._files.numbers(part, np.array(files, np.int32)).tolist()
            _put(read, at.tolist(), list(zip(passages, numbers, strict=True)))
        return read


def _put(values: list[Any], at: Sequence[int], found: Sequence[Any]) -> None:
    for place, value in zip(at, found, strict=True):
        values[place] = value
