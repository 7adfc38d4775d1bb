"""Vectors that need not be computed again: the old generation's, and those of an interrupted run.

A vector is known by the hash of the text it was made from, so it is found again whatever
file, row or run the text turns up in.
"""

from __future__ import annotations

import io
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
    """Return the 16-byte hash that a text's vector is known by."""
    import xxhash

    return xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))


def as_hashes(digests: bytes) -> Hashes:
    """Return joined 16-byte digests as an array of shape (count, 2)."""
    import numpy as np

    return np.frombuffer(digests, np.uint64).reshape(-1, 2)


def joined(parts: Iterable[Hashes]) -> Hashes:
    """Return hashes that come in pieces as one array."""
    import numpy as np

    return np.concatenate([as_hashes(b""), *parts])


class Distinct:
    """The distinct texts among the passages of a generation, by their hashes.

    Costs 40 bytes a passage.

    Args:
        hashes: One a row, shape (rows, 2).
    """

    def __init__(self, hashes: Hashes) -> None:
        import numpy as np

        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        ordered = hashes[order]
        begins = np.ones(len(order), np.bool_)
        begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        self.hashes = ordered[begins]
        self._keys = np.ascontiguousarray(self.hashes[:, 0])
        # The sort is stable, so the first row of a text comes first.
        self.rows: NDArray[np.int64] = order[begins]
        self.first_of = np.empty_like(order)
        self.first_of[order] = self.rows[np.cumsum(begins) - 1]

    def find(self, hashes: Hashes) -> NDArray[np.int64]:
        """Return the first row of the text that each hash stands for; -1 where there is none."""
        import numpy as np

        if not len(self.rows):
            return np.full(len(hashes), -1, np.int64)
        places = np.minimum(np.searchsorted(self._keys, hashes[:, 0]), len(self.rows) - 1)
        same = (self.hashes[places] == hashes).all(axis=1)
        return np.where(same, self.rows[places], -1)


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

    def load(self, dimension: int) -> Iterator[tuple[Hashes, Floats]]:
        """Yield every whole shard; a damaged one is removed, its texts are embedded again."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            self.next = int(path.stem) + 1
            group = _read(path, dimension)
            if group is None:
                path.unlink()
            else:
                yield group

    def add(self, hashes: Hashes, vectors: Floats) -> None:
        """Keep newly computed vectors against an interruption."""
        import xxhash

        make_folder(self.folder)
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
