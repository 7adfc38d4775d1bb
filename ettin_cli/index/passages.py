"""The Arrow files of a generation: passages, and the files they came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import IndexDamagedError
from ettin_cli.index.known import as_hashes, text_hash
from ettin_cli.records import Passage, Rejection

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ettin_cli.index.known import Hashes

    Rows = Sequence[int] | NDArray[np.int64]

PASSAGES = "passages.arrow"
FILES = "files.arrow"
BATCH_ROWS = 1024


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a source as it was when it was indexed.

    Args:
        source: Which of the manifest's sources it belongs to.
        name: Its path below the source.
        path: Where it is: absolute, or relative to the folder that holds the index; "" if the
            records came from standard input.
        size: In bytes.
        mtime_ns: Time of its last change; 0 if that is too recent to tell a later change by.
        digest: XXH3 128-bit hash of its content.
        first: The row of its first passage.
        passages: How many rows from there on are its own.
        truncated: How many of them are longer than the embedder reads.
        skipped: Why nothing of it is indexed; "" if something is.
    """

    source: int
    name: str
    path: str
    size: int
    mtime_ns: int
    digest: str
    first: int = 0
    passages: int = 0
    documents: int = 0
    truncated: int = 0
    skipped: str = ""
    rejections: tuple[Rejection, ...] = ()


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
        ]
    )


class PassageWriter:
    """Streams passages into passages.arrow, a batch at a time."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.rows = 0
        self._schema = passage_schema()
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, self._schema)
        self._batch: list[dict[str, Any]] = []

    def add(self, passage: Passage, file: int) -> None:
        """Append a passage of the file with this number."""
        self._batch.append(_row(passage, file))
        self.rows += 1
        if len(self._batch) >= BATCH_ROWS:
            self._flush()

    def copy(self, table: pa.Table, file: int) -> None:
        """Append rows of an older generation, which now belong to the file of this number."""
        import pyarrow as pa

        self._flush()
        at = self._schema.get_field_index("file")
        numbers = pa.array([file] * table.num_rows, pa.int32())
        self._writer.write_table(table.set_column(at, self._schema.field(at), numbers))
        self.rows += table.num_rows

    def close(self) -> None:
        """Write what is left, and the footer that makes the file readable."""
        self._flush()
        self._writer.close()
        self._sink.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._batch:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._batch, self._schema))
            self._batch.clear()


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
    }


class Passages:
    """Reads passages.arrow, memory-mapped: only the rows asked for are touched."""

    def __init__(self, path: Path, expected: int) -> None:
        import pyarrow as pa

        self.path = path
        try:
            self.table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(path) from error
        if self.table.schema != passage_schema() or self.table.num_rows != expected:
            raise _damaged(path)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def hashes(self, start: int = 0, count: int | None = None) -> Hashes:
        """Return the hashes of rows as an array of shape (count, 2)."""
        import numpy as np

        chunks = self.table.column("hash").slice(start, count).chunks
        parts = [as_hashes(b"".join(chunk.to_pylist())) for chunk in chunks if len(chunk)]
        return np.concatenate(parts) if parts else as_hashes(b"")

    def contents(self, rows: Rows) -> list[str]:
        """Return what the embedder reads of these rows."""
        picked = self.table.select(["title", "text"]).take(rows).to_pylist()
        return [Passage("", row["text"], row["title"]).content for row in picked]

    def column(self, name: str, rows: Rows | None = None) -> list[Any]:
        """Return one column, of these rows or of all."""
        column = self.table.column(name)
        values: list[Any] = (column if rows is None else column.take(rows)).to_pylist()
        return values

    def read(self, rows: Rows) -> list[tuple[Passage, int]]:
        """Return these passages, each with the number of its file.

        Raises:
            IndexDamagedError: The text of one is not what was written.
        """
        return [self._passage(row) for row in self.table.take(rows).to_pylist()]

    def _passage(self, row: dict[str, Any]) -> tuple[Passage, int]:
        import orjson

        try:
            metadata = orjson.loads(row["metadata"]) if row["metadata"] else {}
        except orjson.JSONDecodeError as error:
            raise _damaged(self.path) from error
        passage = Passage(
            doc_id=row["doc_id"],
            text=row["text"],
            title=row["title"],
            start_line=row["start_line"],
            end_line=row["end_line"],
            page=row["page"],
            metadata=metadata,
        )
        if text_hash(passage.content) != row["hash"]:
            raise _damaged(self.path)
        return passage, row["file"]


def write_files(path: Path, entries: Iterable[FileEntry]) -> None:
    """Write files.arrow."""
    import orjson
    import pyarrow as pa

    rows = [
        {
            **{name: getattr(entry, name) for name in FileEntry.__slots__},
            "rejections": orjson.dumps(
                [[r.path, r.reason, r.line] for r in entry.rejections]
            ).decode(),
        }
        for entry in entries
    ]
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _files_schema()) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, _files_schema()))


def read_files(source: pa.NativeFile, path: Path) -> list[FileEntry]:
    """Read files.arrow from its open file.

    Raises:
        IndexDamagedError: It is not whole.
    """
    import orjson
    import pyarrow as pa

    try:
        rows = pa.ipc.open_file(source).read_all().to_pylist()
        return [
            replace(
                FileEntry(**row),
                rejections=tuple(Rejection(*entry) for entry in orjson.loads(row["rejections"])),
            )
            for row in rows
        ]
    except (
        pa.ArrowInvalid,
        OSError,
        TypeError,
        orjson.JSONDecodeError,
        UnicodeDecodeError,
    ) as error:
        raise _damaged(path) from error


def _files_schema() -> pa.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    kinds = {"name": text, "path": text, "digest": text, "skipped": text, "rejections": text}
    return pa.schema([(name, kinds.get(name, number)) for name in FileEntry.__slots__])


def _damaged(path: Path) -> IndexDamagedError:
    return IndexDamagedError(f"{path} is damaged", hint=f"ettin verify -i {path.parents[2]}")
