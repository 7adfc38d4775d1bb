"""The intact parts of a damaged index: files by their checksums, texts by their hashes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import IndexDamagedError
from ettin_cli.index.contents import VECTORS, known_vectors, vectors_file
from ettin_cli.index.joined import shard_manifest
from ettin_cli.index.known_vectors import as_hashes, text_hash
from ettin_cli.index.manifest import (
    GENERATIONS,
    MANIFEST,
    SHARDS,
    Manifest,
    read_manifest,
    whole_of,
)
from ettin_cli.index.mapping import mapped_file
from ettin_cli.index.passages import ADDED, PASSAGES, Passages, content_of, is_schema
from ettin_cli.index.source_files import FILES, FileEntry, Files
from ettin_cli.index.token_codes import TokenCodec
from ettin_cli.index.token_vectors import TOKEN_CODES, TOKEN_TEXTS, StoredTokens, TokenParts
from ettin_cli.index.vectors import exact_vectors, mapped, open_index
from ettin_cli.storage import checksum

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.vectors import Stored

# Arrow's file format is its stream format after a magic number, followed by a footer.
ARROW_MAGIC = 8
COLUMNS = ["title", "text", "hash"]


def damaged_files(folder: Path) -> list[str]:
    """Return the files of the current generation that are missing or do not match their checksum.

    The files of the shards of an index are among them.

    Raises:
        IndexNotFoundError: The folder contains no index.
        IndexDamagedError: The manifest is damaged.
    """
    manifest = read_manifest(folder)
    while bad := _all_damaged(folder, manifest):
        newer = read_manifest(folder)
        if newer.generation == manifest.generation:
            break
        # A writer has since replaced this generation and removed its files.
        manifest = newer
    return list(map(str, bad))


def _all_damaged(folder: Path, manifest: Manifest) -> list[Path]:
    """Return the damaged files of a generation, and those of its shards."""
    generation = folder / GENERATIONS / manifest.generation
    bad = [generation / name for name in _damaged(folder, manifest)]
    for shard in manifest.shards:
        place = folder / SHARDS / shard.name
        try:
            bad += _all_damaged(place, shard_manifest(folder, shard))
        except IndexDamagedError:
            bad.append(place / MANIFEST)
    return bad


def _damaged(folder: Path, manifest: Manifest) -> list[str]:
    generation = folder / GENERATIONS / manifest.generation
    return [
        name
        for name, record in manifest.files.items()
        if not _is_intact(generation / name, record.bytes, record.checksum)
    ]


def _is_intact(path: Path, size: int, expected: str) -> bool:
    try:
        return path.stat().st_size == size and checksum(path) == expected
    except (FileNotFoundError, IsADirectoryError):
        return False


def require_intact(folder: Path, *, shards: bool = True) -> None:
    """Check that no file is damaged before building on it, since new checksums would hide damage.

    Args:
        shards: Whether to check the files of its shards too.

    Raises:
        IndexDamagedError: A file of the current generation does not match its checksum.
    """
    manifest = read_manifest(folder)
    own = folder / GENERATIONS / manifest.generation
    bad = damaged_files(folder) if shards else [own / name for name in _damaged(folder, manifest)]
    if bad:
        path = Path(bad[0])
        raise IndexDamagedError(f"{path} is damaged", folder=whole_of(folder), path=path)


class IntactParts:
    """The intact parts of an index's current generation.

    Args:
        folder: The index's folder, held for writing.

    Raises:
        IndexDamagedError: The manifest is damaged, so nothing can be verified.
    """

    def __init__(self, folder: Path) -> None:
        self.manifest = read_manifest(folder)
        self.generation = folder / GENERATIONS / self.manifest.generation
        self.damaged = _damaged(folder, self.manifest)

    def _has(self, name: str) -> bool:
        return name in self.manifest.files and name not in self.damaged

    @property
    def knows_files(self) -> bool:
        """Whether the list of files is intact."""
        return self._has(FILES)

    @cached_property
    def files(self) -> list[FileEntry]:
        """Every source file; if their list is damaged, at most standard input."""
        if not self.knows_files:
            return self._standard_input()
        expected = self.manifest.files[FILES].checksum
        path = self.generation / FILES
        return list(Files(mapped_file(path), path, expected))

    def _standard_input(self) -> list[FileEntry]:
        """Return the entry of standard input if its rows are known: if it is the first source."""
        first = next(iter(self.manifest.sources), None)
        if self.passages is None or first is None or first.location != "-":
            return []
        files = self.passages.table.column("file").to_pylist()
        rows = files.count(0)
        documents = set(self.passages.table.column("doc_id").to_pylist()[:rows])
        truncated = self.manifest.counts.truncated if len(self.manifest.sources) == 1 else 0
        entry = FileEntry(0, "-", "", 0, 0, "", passages=rows, truncated=truncated)
        return [replace(entry, documents=len(documents))]

    @cached_property
    def passages(self) -> Passages | None:
        """The passages; None if their file is damaged."""
        if not self._has(PASSAGES):
            return None
        return Passages(self.generation / PASSAGES, self.manifest.counts.passages)

    @cached_property
    def vectors(self) -> Stored | None:
        """The vector of every row; None if their file is damaged."""
        rows, dimension = self.manifest.counts.passages, self.manifest.embedder.dimension
        stored, dtype = vectors_file(self.manifest)
        if self._has(stored):
            return mapped(self.generation / stored, rows, dimension, dtype)
        if not self._has(VECTORS):
            return None
        exact = exact_vectors(open_index(self.generation / VECTORS, {}))
        return exact if exact is not None and exact.shape == (rows, dimension) else None

    def known_vectors(self) -> Iterator[tuple[Hashes, Stored]]:
        """Yield the intact vectors with the hashes of their texts, in pieces."""
        if self.vectors is None:
            return
        if self.passages is not None:
            yield from known_vectors(self.passages, self.vectors)
        elif (self.generation / PASSAGES).is_file():
            for rows, hashes in intact_texts(self.generation / PASSAGES):
                below = rows < len(self.vectors)
                yield hashes[below], self.vectors[rows[below]]

    def known_tokens(self, codec: TokenCodec) -> TokenParts | None:
        """Return the intact token vectors; None if there are none, or compressed otherwise."""
        made = self.manifest.tokens
        if made is None or made.codec != codec:
            return None
        if not self._has(TOKEN_TEXTS) or not (self.generation / TOKEN_CODES).is_file():
            return None
        size = self.manifest.files[TOKEN_CODES].bytes
        if (self.generation / TOKEN_CODES).stat().st_size != size:
            return None
        stored = StoredTokens(self.generation, self.manifest)
        return stored.parts(stored.intact())


def intact_texts(path: Path) -> Iterator[tuple[NDArray[np.int64], Hashes]]:
    """Yield the rows of a damaged passages.arrow whose texts match their hashes, and the hashes.

    The file is read sequentially as far as possible. The offsets in its footer may be damaged and
    could assign a row to the vector of another.
    """
    import pyarrow as pa

    content = mapped_file(path)
    try:
        batches = pa.ipc.open_stream(content[ARROW_MAGIC:])
        if not is_schema(batches.schema):
            return
        begin = 0
        names = [*COLUMNS, *(one for one in ADDED if one in batches.schema.names)]
        for batch in batches:
            if not _is_as_long_as_it_says(batch):
                return
            for first, piece in _sound(batch.select(names), begin):
                yield _intact(piece, first)
            begin += len(batch)
    except (pa.ArrowException, OSError, MemoryError):
        return


def _is_as_long_as_it_says(batch: pa.RecordBatch) -> bool:
    """Return whether a batch has all its hashes, since later rows depend on its length."""
    hashes = batch.column("hash").buffers()[1]
    return hashes is not None and int(hashes.size) == 16 * len(batch)


def _sound(batch: pa.RecordBatch, begin: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the readable parts of a batch, each with its first row."""
    import pyarrow as pa

    try:
        batch.validate(full=True)
        yield begin, batch
    except pa.ArrowException:
        if len(batch) > 1:
            half = len(batch) // 2
            yield from _sound(batch.slice(0, half), begin)
            yield from _sound(batch.slice(half), begin + half)


def _intact(batch: pa.RecordBatch, begin: int) -> tuple[NDArray[np.int64], Hashes]:
    import numpy as np

    positions = [at for at, row in enumerate(batch.to_pylist()) if _matches(row)]
    hashes = batch.column("hash")
    intact = as_hashes(b"".join(hashes[at].as_py() for at in positions))
    return np.array(positions, np.int64) + begin, intact


def _matches(row: dict[str, Any]) -> bool:
    if None in row.values():
        return False
    return text_hash(content_of(row)) == bytes(row["hash"])
