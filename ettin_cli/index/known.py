"""Vectors that need not be computed again: the old generation's, and those of an interrupted run.

A vector is known by the hash of the text it was made from, so it is found again whatever
file, row or run the text turns up in.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.storage import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

    Hashes = NDArray[np.uint64]

SUFFIX = ".shard"
HASH_BYTES = 16


def text_hash(text: str) -> bytes:
    """Return the 16-byte hash that a text's vector is known by."""
    import xxhash

    return xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))


def as_hashes(digests: bytes) -> Hashes:
    """Return joined 16-byte digests as an array of shape (count, 2)."""
    import numpy as np

    return np.frombuffer(digests, np.uint64).reshape(-1, 2)


class KnownVectors:
    """Finds vectors by the hash of their text.

    Costs 24 bytes a vector beside the vectors, which stay on disk.
    """

    def __init__(self, groups: Sequence[tuple[Hashes, Floats]]) -> None:
        import numpy as np

        self.groups = []
        for hashes, vectors in groups:
            order = np.argsort(hashes[:, 0], kind="stable")
            self.groups.append((hashes[:, 0][order], order, hashes, vectors))

    def lookup(self, wanted: Hashes, into: Floats) -> NDArray[np.bool_]:
        """Copy the vectors that are known into their rows of `into`, and say which were."""
        import numpy as np

        found = np.zeros(len(wanted), np.bool_)
        for keys, order, hashes, vectors in self.groups:
            if not len(keys):
                continue
            places = order[np.minimum(np.searchsorted(keys, wanted[:, 0]), len(keys) - 1)]
            same = (hashes[places] == wanted).all(axis=1) & ~found
            into[same] = vectors[places[same]]
            found |= same
        return found


class Shards:
    """The vectors an unfinished run has computed so far, a file for each few hundred of them.

    Each file is written whole or not at all and carries its own checksum, so a run that was
    killed at any moment leaves nothing that the next one could take for good by mistake.

    Args:
        folder: Where they are kept; its name tells the embedder, so no other's are mixed in.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.next = 0

    def load(self, dimension: int) -> list[tuple[Hashes, Floats]]:
        """Return every whole shard; a damaged one is removed, its texts are embedded again."""
        groups = []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            self.next = max(self.next, int(path.stem) + 1)
            group = _read(path, dimension)
            if group is None:
                path.unlink()
            else:
                groups.append(group)
        return groups

    def add(self, hashes: Hashes, vectors: Floats) -> None:
        """Keep newly computed vectors against an interruption."""
        import xxhash

        self.folder.mkdir(parents=True, exist_ok=True)
        body = io.BytesIO()
        body.write(hashes.tobytes())
        body.write(vectors.tobytes())
        content = body.getvalue()
        with replacing(self.folder / f"{self.next:08}{SUFFIX}") as draft:
            draft.write_bytes(xxhash.xxh3_128_digest(content) + content)
        self.next += 1

    def clear(self) -> None:
        """Remove them all: their vectors are in the index now."""
        for path in self._files():
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def _files(self) -> Iterator[Path]:
        return self.folder.iterdir() if self.folder.is_dir() else iter(())


def _read(path: Path, dimension: int) -> tuple[Hashes, Floats] | None:
    import numpy as np
    import xxhash

    content = path.read_bytes()
    seal, body = content[:HASH_BYTES], content[HASH_BYTES:]
    count, rest = divmod(len(body), HASH_BYTES + 4 * dimension)
    if rest or not count or xxhash.xxh3_128_digest(body) != seal:
        return None
    split = count * HASH_BYTES
    return as_hashes(body[:split]), np.frombuffer(body[split:], np.float32).reshape(
        count, dimension
    )
