"""The passages of a generation, as a memory-mapped Arrow file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.index.known_vectors import as_hashes, text_hash
from ettin_cli.index.manifest import damaged
from ettin_cli.index.mapping import mapped_file
from ettin_cli.records import Passage

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ettin_cli.index.known_vectors import Hashes

    Rows = Sequence[int] | NDArray[np.int64]

PASSAGES = "passages.arrow"
# Columns that indexes before format 3 lack.
ADDED = ("headings", "names")
BATCH_ROWS = 1024


def passage_schema() -> pa.Schema:
    """Return the columns of passages.arrow; a row's number is its passage_id."""
    import pyarrow as pa

    return pa.schema(
        [
            ("doc_id", pa.string()),
            ("title", pa.string()),
            ("text", pa.string()),
            ("start_line", pa.int32()),
            ("end_line", pa.int32()),
            ("page", pa.int32()),
            ("metadata", pa.string()),
            ("file", pa.int32()),
            ("hash", pa.binary(16)),
            *((name, pa.string()) for name in ADDED),
        ]
    )


def is_schema(schema: pa.Schema) -> bool:
    """Return whether these are the columns of passages.arrow, in this or an earlier format."""
    known = passage_schema()
    return schema in (known, _earlier(known))


def _earlier(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([column for column in schema if column.name not in ADDED])


def _completed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return rows of an earlier format with the columns that it lacks."""
    import pyarrow as pa

    if batch.schema == schema:
        return batch
    empty = pa.repeat(pa.scalar("", pa.string()), len(batch))
    return pa.RecordBatch.from_arrays([*batch.columns, *(empty for _ in ADDED)], schema=schema)


class PassageWriter:
    """Writes passages to passages.arrow, in batches of equal size.

    So the same passages make the same file, whether they are added or copied.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.rows = 0
        self._schema = passage_schema()
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, self._schema)
        self._fresh: list[dict[str, Any]] = []
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0

    def add(self, passage: Passage, file: int) -> None:
        """Append a passage of the file with the given number."""
        self._fresh.append(_row(passage, file))
        self.rows += 1
        if self._waiting_rows + len(self._fresh) >= BATCH_ROWS:
            self._flush(BATCH_ROWS)

    def copy(self, table: pa.Table, file: int) -> None:
        """Append rows of an older generation, which now belong to the file with this number."""
        import pyarrow as pa

        self._gather()
        at = self._schema.get_field_index("file")
        for old in table.to_batches():
            batch = _completed(old, self._schema)
            numbers = pa.repeat(pa.scalar(file, pa.int32()), len(batch))
            self._waiting.append(batch.set_column(at, self._schema.field(at), numbers))
            self._waiting_rows += len(batch)
            self.rows += len(batch)
            if self._waiting_rows >= BATCH_ROWS:
                self._flush(BATCH_ROWS)

    def close(self) -> None:
        """Write the remaining rows, and the footer that makes the file readable."""
        self._flush()
        # Without rows, they would still hold the maps of older generations.
        self._waiting = []
        self._writer.close()
        self._sink.close()

    def _gather(self) -> None:
        import pyarrow as pa

        if self._fresh:
            self._waiting.append(pa.RecordBatch.from_pylist(self._fresh, self._schema))
            self._waiting_rows += len(self._fresh)
            self._fresh.clear()

    def _flush(self, least: int = 1) -> None:
        """Write the buffered rows in batches of at least so many rows; keep the rest."""
        import pyarrow as pa

        self._gather()
        table = pa.Table.from_batches(self._waiting, self._schema).combine_chunks()
        begin = 0
        while len(table) - begin >= least:
            batch = table.slice(begin, BATCH_ROWS)
            self._writer.write_table(batch)
            begin += len(batch)
        self._waiting = table.slice(begin).to_batches()
        self._waiting_rows = len(table) - begin


def _row(passage: Passage, file: int) -> dict[str, Any]:
    import orjson

    return {
        "doc_id": passage.doc_id,
        "title": passage.title,
        "text": passage.text,
        "start_line": passage.start_line,
        "end_line": passage.end_line,
        "page": passage.page,
        "metadata": orjson.dumps(passage.metadata).decode() if passage.metadata else "",
        "file": file,
        "hash": text_hash(passage.content),
        "headings": "\n".join(passage.headings),
        "names": passage.names,
    }


def content_of(row: Mapping[str, Any]) -> str:
    """Return the embedder's input for a stored row."""
    return Passage("", row["text"], row["title"], headings=_headings(row)).content


def _headings(row: Mapping[str, Any]) -> tuple[str, ...]:
    stored = row.get("headings")
    return tuple(stored.split("\n")) if stored else ()


class Passages:
    """Reads passages.arrow, memory-mapped: only the requested rows are accessed.

    Arrow trusts the offsets in its files, so every piece is checked before it is read.

    Args:
        expected: Number of passages.
        later: Read the places of the batches when a passage is first read, as there may be many.

    Raises:
        IndexDamagedError: The file is unreadable; `later`, every other method may raise this too.
    """

    def __init__(self, path: Path, expected: int, *, later: bool = False) -> None:
        self.path, self._rows = path, expected
        self._content = mapped_file(path)
        if not later:
            self._begins  # noqa: B018

    @cached_property
    def table(self) -> pa.Table:
        """The whole file, mapped."""
        import pyarrow as pa

        try:
            table = pa.ipc.open_file(self._content).read_all()
        except (pa.ArrowException, OSError) as error:
            raise damaged(self.path) from error
        if not is_schema(table.schema) or table.num_rows != self._rows:
            raise damaged(self.path)
        return table

    @cached_property
    def _batches(self) -> list[pa.RecordBatch]:
        batches: list[pa.RecordBatch] = self.table.to_batches()
        return batches

    @cached_property
    def _begins(self) -> list[int]:
        """The first row of each batch, and the number of rows."""
        return list(accumulate((len(batch) for batch in self._batches), initial=0))

    @property
    def _added(self) -> list[str]:
        return [name for name in ADDED if name in self.table.schema.names]

    @cached_property
    def _of_content(self) -> list[str]:
        return ["title", "text", *self._added]

    def __len__(self) -> int:
        return self._rows

    def hashes(self) -> Iterator[Hashes]:
        """Yield the hashes of all rows in order, in arrays of shape (count, 2)."""
        for (block,) in self.blocks("hash"):
            yield as_hashes(b"".join(block.to_pylist()))

    def term_hashes(self) -> Iterator[Hashes]:
        """Yield a hash of what gives each row its terms: of its content, and of its names."""
        for hashes, *added in self.blocks("hash", *self._added):
            digests = hashes.to_pylist()
            for at, names in enumerate(added[-1].to_pylist() if added else ()):
                if names:
                    digests[at] = text_hash(f"{digests[at].hex()} {names}")
            yield as_hashes(b"".join(digests))

    def contents(self, rows: Rows) -> list[str]:
        """Return the embedder's input for these rows."""
        return [content_of(self._row(row, self._of_content)) for row in rows]

    def term_texts(self, rows: Rows) -> list[str]:
        """Return what gives these rows their terms: their content, and then their names."""
        picked = (self._row(row, self._of_content) for row in rows)
        return ["\n".join(filter(None, (content_of(r), r.get("names")))) for r in picked]

    def blocks(self, *names: str) -> Iterator[list[pa.Array]]:
        """Yield some columns in order, in pieces."""
        for batch in self._batches:
            yield self._checked(batch.select(names)).columns

    def column(self, name: str, rows: Rows) -> list[Any]:
        """Return the values of one column for these rows."""
        import numpy as np

        batches, positions = self._located(np.asarray(rows, np.int64))
        values: list[Any] = [None] * len(positions)
        order = np.argsort(batches, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(batches[order])) + 1):
            if len(part):
                block = self._checked(self._batches[batches[part[0]]].column(name))
                # Arrow's own take would first load all of its functions, which takes longer.
                for at in part.tolist():
                    values[at] = block[int(positions[at])].as_py()
        return values

    def read(self, rows: Rows) -> list[tuple[Passage, int]]:
        """Return these passages, each with the number of its file.

        Raises:
            IndexDamagedError: The text of a passage does not match its hash.
        """
        return [self._passage(self._row(row)) for row in rows]

    def _located(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the batch of each row and the row's offset in it."""
        import numpy as np

        begins = np.array(self._begins, np.int64)
        batches = np.searchsorted(begins, rows, side="right") - 1
        return batches, rows - begins[batches]

    def _row(self, row: int, names: Sequence[str] | None = None) -> dict[str, Any]:
        number = bisect_right(self._begins, row) - 1
        batch = self._batches[number].slice(row - self._begins[number], 1)
        piece = self._checked(batch.select(names) if names else batch)
        row_values: dict[str, Any] = piece.to_pylist()[0]
        return row_values

    def _checked(self, piece: Any) -> Any:
        import pyarrow as pa

        try:
            piece.validate(full=True)
        except pa.ArrowException as error:
            raise damaged(self.path) from error
        return piece

    def _passage(self, row: dict[str, Any]) -> tuple[Passage, int]:
        import orjson

        try:
            metadata = orjson.loads(row["metadata"]) if row["metadata"] else {}
        except orjson.JSONDecodeError as error:
            raise damaged(self.path) from error
        passage = Passage(
            doc_id=row["doc_id"],
            text=row["text"],
            title=row["title"],
            start_line=row["start_line"],
            end_line=row["end_line"],
            page=row["page"],
            metadata=metadata,
            headings=_headings(row),
            names=row.get("names") or "",
        )
        if text_hash(passage.content) != row["hash"]:
            raise damaged(self.path)
        return passage, row["file"]
