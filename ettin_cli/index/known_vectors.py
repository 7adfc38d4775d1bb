"""Reused vectors: those of the old generation and of an interrupted run.

A vector is identified by the hash of its text, so it is found again regardless of the file, row or
run in which the text occurs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.storage import make_folder, replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

    Hashes = NDArray[np.uint64]

SUFFIX = ".shard"
HASH_BYTES = 16


def text_hash(text: str) -> bytes:
    """Return the 16-byte hash that identifies a text's vector."""
    import xxhash

    return xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))


def text_hashes(texts: Iterable[str]) -> Hashes:
    """Return the hashes of texts, shape (texts, 2)."""
    return as_hashes(b"".join(map(text_hash, texts)))


def as_hashes(digests: bytes) -> Hashes:
    """Return concatenated 16-byte digests as an array of shape (count, 2)."""
    import numpy as np

    return np.frombuffer(digests, np.uint64).reshape(-1, 2)


def joined_hashes(parts: Iterable[Hashes]) -> Hashes:
    """Return the concatenation of several arrays of hashes."""
    import numpy as np

    return np.concatenate([as_hashes(b""), *parts])


class Distinct:
    """The distinct texts among the passages of a generation, by hash.

    Takes 40 bytes per passage.

    Args:
        hashes: One per row, shape (rows, 2).
    """

    def __init__(self, hashes: Hashes) -> None:
        import numpy as np

        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        ordered = hashes[order]
        begins = np.ones(len(order), np.bool_)
        begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        self.hashes = ordered[begins]
        self._keys = np.ascontiguousarray(self.hashes[:, 0])
        # The sort is stable, so the first row of each text comes first.
        self.rows: NDArray[np.int64] = order[begins]
        self.first_of = np.empty_like(order)
        self.first_of[order] = self.rows[np.cumsum(begins) - 1]

    def find(self, hashes: Hashes) -> NDArray[np.int64]:
        """Return the first row of the text with each hash; -1 if there is none."""
        import numpy as np

        if not len(self.rows):
            return np.full(len(hashes), -1, np.int64)
        positions = np.minimum(np.searchsorted(self._keys, hashes[:, 0]), len(self.rows) - 1)
        same = (self.hashes[positions] == hashes).all(axis=1)
        return np.where(same, self.rows[positions], -1)


class Shards:
    """The vectors computed so far by an unfinished run, in files of a few hundred each.

    Each file is written atomically and has its own checksum. A run that is killed at any moment
    leaves nothing that a later run could mistake for valid data.

    Args:
        folder: Their folder; its name identifies the embedder, so vectors of others never mix in.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.next = 0
        # Numbers of the files whose vectors are all in the generation.
        self._taken: set[str] = set()
        self._loaded = ""

    def load(self, dimension: int) -> Iterator[tuple[Hashes, Floats]]:
        """Yield every intact shard; damaged ones are removed and their texts embedded again."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            self.next = int(path.stem) + 1
            group = unpacked(read_sealed(path), dimension)
            if group is None:
                path.unlink()
            else:
                self._loaded = path.stem
                yield group

    def take(self) -> None:
        """Note that all vectors that `load` yielded last are in the generation."""
        self._taken.add(self._loaded)

    def add(self, hashes: Hashes, vectors: Floats) -> None:
        """Store newly computed vectors, so that an interruption does not lose them."""
        path = self.folder / f"{self.next:08}{SUFFIX}"
        write_sealed(path, packed(hashes, vectors))
        self._taken.add(path.stem)
        self.next += 1

    def clear(self, *, others: bool = True) -> None:
        """Remove what the folder has, once the vectors are in the index.

        Args:
            others: Also files with vectors that the generation does not have.
        """
        for path in self._files():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif others or path.stem in self._taken:
                with suppress(OSError):
                    path.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def _files(self) -> Iterator[Path]:
        return self.folder.iterdir() if self.folder.is_dir() else iter(())


def write_sealed(path: Path, body: bytes) -> None:
    """Write a file atomically, in a folder that is made if needed; a checksum precedes the body."""
    make_folder(path.parent)
    with replacing(path) as draft:
        draft.write_bytes(seal(body) + body)


def seal(body: bytes) -> bytes:
    """Return the checksum that precedes the body of a file."""
    import xxhash

    return xxhash.xxh3_128_digest(body)


def read_sealed(path: Path) -> bytes:
    """Return the body of a file written by `write_sealed`; nothing if it is damaged."""
    content = path.read_bytes()
    body = content[HASH_BYTES:]
    return body if seal(body) == content[:HASH_BYTES] else b""


def packed(hashes: Hashes, vectors: Floats) -> bytes:
    """Return the hashes of texts and their vectors, as they are stored."""
    return hashes.tobytes() + vectors.tobytes()


def unpacked(body: bytes, dimension: int) -> tuple[Hashes, Floats] | None:
    """Return hashes and vectors that were packed; None if they are not of that dimension."""
    import numpy as np

    count, rest = divmod(len(body), HASH_BYTES + 4 * dimension)
    if rest or not count:
        return None
    split = count * HASH_BYTES
    return as_hashes(body[:split]), np.frombuffer(body[split:], np.float32).reshape(
        count, dimension
    )
