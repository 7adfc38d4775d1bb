"""The files that a generation's passages came from, as an Arrow file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.index.manifest import damaged
from ettin_cli.records import Rejection

if TYPE_CHECKING:
    import pyarrow as pa

FILES = "files.arrow"


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


def read_files(source: pa.NativeFile, path: Path, expected: str) -> list[FileEntry]:
    """Read files.arrow from its open file.

    Args:
        expected: The checksum of its content.

    Raises:
        IndexDamagedError: It is not whole.
    """
    import orjson
    import pyarrow as pa
    import xxhash

    content = source.read_buffer()
    if xxhash.xxh3_128_hexdigest(content) != expected:
        raise damaged(path)
    return [
        replace(
            FileEntry(**row),
            rejections=tuple(Rejection(*entry) for entry in orjson.loads(row["rejections"])),
        )
        for row in pa.ipc.open_file(content).read_all().to_pylist()
    ]


def _files_schema() -> pa.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    kinds = {"name": text, "path": text, "digest": text, "skipped": text, "rejections": text}
    return pa.schema([(name, kinds.get(name, number)) for name in FileEntry.__slots__])
