"""The token vectors of an index: compressed, found by the hash of a text.

tokens.texts lists every distinct text, sorted by hash: first all keys, then an entry each.
tokens.codes holds the compressed vectors of one text after another. Both are memory-mapped, so a
query reads only the texts that it scores, and each text is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import IndexDamagedError
from ettin_cli.index.manifest import Manifest, damaged
from ettin_cli.index.mapping import mapped_numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.token_codes import Bytes
    from ettin_cli.index.vectors import Rows
    from ettin_cli.records import Floats

TOKEN_TEXTS = "tokens.texts"
TOKEN_CODES = "tokens.codes"
KEY_BYTES = 8
# The values of an entry, in the order of its columns.
Entry = tuple[int, int, int, int, int, int]
# Texts decoded at once: few enough for the processor's cache.
BLOCK_TEXTS = 8


def entry_kind() -> np.dtype[Any]:
    """Return the columns of tokens.texts after the keys.

    rest: the other half of the hash; begin: the offset of its codes; tokens: their number; row: the
    first passage with the text; truncated: whether the text exceeded the token limit; seal: a
    checksum of all that.
    """
    import numpy as np

    columns = [("rest", "<u8"), ("begin", "<u8"), ("tokens", "<u4"), ("row", "<u4")]
    return np.dtype([*columns, ("truncated", "<u4"), ("seal", "<u8")])


def seal_of(key: int, entry: Entry, codes: Bytes) -> int:
    """Return the checksum of a text's entry and codes."""
    import xxhash

    rest, begin, _, row, truncated, _ = entry
    # Odd factors, so that changing a single bit always changes the seed.
    seed = key + 3 * rest + 5 * begin + 7 * row + 11 * truncated
    return xxhash.xxh3_64_intdigest(codes.data, seed=seed % 2**64)


@dataclass(frozen=True)
class TokenParts:
    """The compressed token vectors of some texts.

    Args:
        hashes: The hash of each text, shape (texts, 2).
        begins: The offset of the compressed vectors of each.
        tokens: The number of token vectors of each.
        truncated: Whether each text exceeded the token limit.
        read: Returns the compressed vectors between two offsets, as bytes.
    """

    hashes: Hashes
    begins: NDArray[np.uint64]
    tokens: NDArray[np.uint32]
    truncated: NDArray[np.uint32]
    read: Callable[[int, int], Bytes]


@dataclass(frozen=True)
class TextTokenCodes:
    """What is stored of a text.

    Args:
        row: The first passage with this text.
        vectors: Decoded token vectors, in the space of the codec, shape (tokens, columns).
        truncated: Whether the text exceeded the token limit.
    """

    row: int
    vectors: Floats
    truncated: bool


class StoredTokens:
    """The token vectors of a generation; safe to use from any thread.

    Args:
        generation: The folder that contains the files.
        manifest: Its manifest.

    Raises:
        IndexDamagedError: A file has another size than its contents need; every method may raise
            this too.
    """

    def __init__(self, generation: Path, manifest: Manifest) -> None:
        import numpy as np

        made = manifest.tokens
        assert made is not None
        self.codec = made.codec
        self.folder, self.passages = generation, manifest.counts.passages
        path, kind = generation / TOKEN_TEXTS, entry_kind()
        size = manifest.files[TOKEN_TEXTS].bytes
        count, rest = divmod(size, KEY_BYTES + kind.itemsize)
        if rest:
            raise damaged(path)
        self.keys = mapped_numbers(path, np.dtype("<u8"), 0, count)
        self.entries = mapped_numbers(path, kind, KEY_BYTES * count, count)
        codes = manifest.files[TOKEN_CODES].bytes
        self.codes: Bytes = mapped_numbers(generation / TOKEN_CODES, np.dtype("u1"), 0, codes)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def distinct(self) -> Rows:
        """The position of each distinct text, ascending."""
        import numpy as np

        return np.arange(len(self))

    def first_rows(self, positions: Rows) -> Rows:
        """Return the first passage with each of the texts at some positions.

        Raises:
            IndexDamagedError: One is not a passage of the index.
        """
        import numpy as np

        rows = self.entries["row"][positions].astype(np.int64)
        if len(rows) and int(rows.max()) >= self.passages:
            raise self.damage()
        return rows

    def find(self, hashes: Hashes) -> Rows:
        """Return the position of each text by its hash; -1 if it is not stored."""
        import numpy as np

        if not len(self.keys):
            return np.full(len(hashes), -1, np.int64)
        at = np.minimum(np.searchsorted(self.keys, hashes[:, 0]), len(self.keys) - 1)
        same = (self.keys[at] == hashes[:, 0]) & (self.entries["rest"][at] == hashes[:, 1])
        return np.where(same, at, -1).astype(np.int64)

    def find_all(self, hashes: Hashes) -> Rows:
        """Return the position of each text of the index by its hash.

        Raises:
            IndexDamagedError: One is not stored.
        """
        positions = self.find(hashes)
        if (positions < 0).any():
            raise self.damage()
        return positions

    def damage(self) -> IndexDamagedError:
        """Return the error for a damaged list of texts."""
        return damaged(self.folder / TOKEN_TEXTS)

    def read(self, positions: Sequence[int]) -> Iterator[TextTokenCodes]:
        """Yield the token vectors of the texts at some positions.

        Raises:
            IndexDamagedError: They do not match their checksum.
        """
        import numpy as np

        for begin in range(0, len(positions), BLOCK_TEXTS):
            block = positions[begin : begin + BLOCK_TEXTS]
            entries: list[Entry] = self.entries[block].tolist()
            codes = list(map(self._checked, self.keys[block].tolist(), entries))
            decoded = self.codec.decoded(np.concatenate(codes).reshape(-1, self.codec.width))
            end = 0
            for _, _, tokens, row, truncated, _ in entries:
                start, end = end, end + tokens
                yield TextTokenCodes(row, decoded[start:end], bool(truncated))

    def _checked(self, key: int, entry: Entry) -> Bytes:
        _, begin, tokens, _, _, seal = entry
        size = tokens * self.codec.width
        codes = self.codes[begin : begin + size]
        if len(codes) != size or seal_of(key, entry, codes) != seal:
            raise damaged(self.folder / TOKEN_CODES)
        return codes

    def intact(self) -> NDArray[np.bool_]:
        """Return which texts match their checksums; reads everything."""
        import numpy as np

        ends = self.entries["begin"] + self.entries["tokens"].astype(np.uint64) * self.codec.width
        fits = ends <= len(self.codes)
        for position in np.flatnonzero(fits).tolist():
            entry: Entry = self.entries[position].item()
            codes = self.codes[entry[1] : int(ends[position])]
            fits[position] = seal_of(int(self.keys[position]), entry, codes) == entry[-1]
        return fits

    def parts(self, chosen: NDArray[np.bool_] | None = None) -> TokenParts:
        """Return the stored texts, or those chosen by position."""
        import numpy as np

        keys, entries = np.asarray(self.keys), np.asarray(self.entries)
        if chosen is not None:
            keys, entries = keys[chosen], entries[chosen]
        hashes = np.stack([keys, entries["rest"]], axis=1)
        return TokenParts(
            hashes,
            entries["begin"],
            entries["tokens"],
            entries["truncated"],
            lambda begin, end: self.codes[begin:end],
        )
