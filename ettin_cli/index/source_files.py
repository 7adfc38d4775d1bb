"""The source files of a generation's passages, as an Arrow file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.index.manifest import damaged
from ettin_cli.platforms import composed
from ettin_cli.records import Rejection

if TYPE_CHECKING:
    import pyarrow as pa

FILES = "files.arrow"
# Rejection reason of a record without text under any of the usual field names.
NO_TEXT_FIELD = 'no "text" field'


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A source file as it was when it was indexed.

    Args:
        source: Number of its source in the manifest.
        name: Its path below the source, in composed Unicode.
        path: Its location: absolute, or relative to the folder that contains the index; "" if the
            records came from standard input.
        size: In bytes.
        mtime_ns: Modification time; 0 if too recent to detect later changes by it.
        digest: XXH3 128-bit hash of its content.
        first: The row of its first passage.
        passages: Number of its rows, which are consecutive.
        truncated: Number of those that exceed the embedder's token limit.
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


def joined_entry(parts: Sequence[FileEntry]) -> FileEntry:
    """Return the entry of a file from those of its consecutive parts."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        passages=sum(part.passages for part in parts),
        documents=sum(part.documents for part in parts),
        truncated=sum(part.truncated for part in parts),
        skipped=next((part.skipped for part in parts if part.skipped), ""),
        rejections=tuple(one for part in parts for one in part.rejections),
    )


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


class Files:
    """The entries of files.arrow in order, each created on access, since there may be many.

    Args:
        content: The mapped content of the file.
        expected: The checksum of its content.

    Raises:
        IndexDamagedError: The file is damaged.
    """

    def __init__(self, content: pa.Buffer, path: Path, expected: str) -> None:
        import pyarrow as pa
        import xxhash

        if xxhash.xxh3_128_hexdigest(content) != expected:
            raise damaged(path)
        self._table = pa.ipc.open_file(content).read_all()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, number: int) -> FileEntry:
        (row,) = self._table.slice(number, 1).to_pylist()
        return _entry(row)

    def __iter__(self) -> Iterator[FileEntry]:
        return map(_entry, self._table.to_pylist())

    def places(self, globs: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield the first row and the number of rows of each file whose name matches a glob."""
        import pathspec

        spec = pathspec.GitIgnoreSpec.from_lines(map(composed, globs))
        columns = (self._table.column(name).to_pylist() for name in ("name", "first", "passages"))
        for name, first, passages in zip(*columns, strict=True):
            # Earlier versions kept names as they were.
            if passages and spec.match_file(composed(name)):
                yield first, passages


FileKey = tuple[int, str]


def first_and_last(content: pa.Buffer, path: Path) -> tuple[int, list[FileKey]]:
    """Return the number of entries of files.arrow, and the source and name of the first and last.

    Only those are read; the checksum is not.

    Raises:
        IndexDamagedError: They are damaged.
    """
    import pyarrow as pa

    try:
        table = pa.ipc.open_file(content).read_all().select(["source", "name"])
        count = int(table.num_rows)
        ends = [table.slice(at, 1) for at in (0, count - 1)[: 2 * count]]
        for one in ends:
            one.validate(full=True)
        keys = [(row["source"], row["name"]) for one in ends for row in one.to_pylist()]
    except (pa.ArrowException, KeyError, UnicodeDecodeError) as error:
        raise damaged(path) from error
    return count, keys


def _entry(row: dict[str, Any]) -> FileEntry:
    import orjson

    rejections = tuple(_rejection(*rejection) for rejection in orjson.loads(row["rejections"]))
    return FileEntry(**{**row, "rejections": rejections})


def _rejection(path: str, reason: str, line: int | None) -> Rejection:
    """Return a rejection as stored; the missing field is kept only as part of the reason."""
    lacks_text = reason.startswith(NO_TEXT_FIELD)
    return Rejection(path, reason, line, "text" if lacks_text else None)


def _files_schema() -> pa.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    kinds = {"name": text, "path": text, "digest": text, "skipped": text, "rejections": text}
    return pa.schema([(name, kinds.get(name, number)) for name in FileEntry.__slots__])
