"""Write the token vectors of a generation, and keep those of an unfinished run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.index.known_vectors import (
    HASH_BYTES,
    Distinct,
    as_hashes,
    read_sealed,
    write_sealed,
)
from ettin_cli.index.token_codes import TokenCodec
from ettin_cli.index.token_vectors import (
    TOKEN_CODES,
    TOKEN_TEXTS,
    TokenParts,
    entry_kind,
    seal_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.token_codes import Bytes
    from ettin_cli.records import Floats, TextTokens

SUFFIX = ".tokens"
# The texts whose exact vectors are kept to measure the error of the codes, and the token vectors of
# each that stand for a query.
SAMPLE, QUERY_TOKENS = 32, 16


class CodedTexts:
    """The compressed token vectors of a batch of texts that are being embedded.

    Args:
        sampled: Positions in the batch whose exact vectors are kept.
    """

    def __init__(self, codec: TokenCodec, texts: int, sampled: Sequence[int]) -> None:
        import numpy as np

        self.codec, self.sampled = codec, set(sampled)
        self.exact: dict[int, tuple[Floats, Floats]] = {}
        self.codes: list[Bytes] = [np.empty((0, codec.width), np.uint8)] * texts
        self.truncated = np.zeros(texts, np.uint32)

    def add(self, at: int, text: TextTokens) -> None:
        """Compress the token vectors of a text."""
        kept = text.vectors if text.kept is None else text.vectors[text.kept]
        self.codes[at] = self.codec.encoded(kept)
        if at in self.sampled:
            self.exact[at] = text.vectors, kept

    @property
    def tokens(self) -> NDArray[np.uint32]:
        """The number of token vectors of each text."""
        import numpy as np

        return np.array([len(codes) for codes in self.codes], np.uint32)


class TokenWriter:
    """Writes the token vectors of a generation, each text once, in the order of the passages.

    Args:
        folder: The folder of the generation.
        distinct: Its texts.
    """

    def __init__(self, folder: Path, codec: TokenCodec, distinct: Distinct) -> None:
        import numpy as np

        self.codec, self.distinct, self.folder = codec, distinct, folder
        self.order = np.argsort(distinct.rows)
        self.rows = distinct.rows[self.order]
        self.done = 0
        self.source = np.full(len(self.order), -1, np.int32)
        self.begins = np.zeros(len(self.order), np.uint64)
        self.entries = np.zeros(len(self.order), entry_kind())
        self.entries["rest"], self.entries["row"] = distinct.hashes[:, 1], distinct.rows
        self.parts: list[TokenParts] = []
        self.indexed = np.zeros(len(self.order), np.bool_)
        # By row.
        self.samples: dict[int, tuple[Floats, Floats]] = {}
        self.file = (folder / TOKEN_CODES).open("wb")

    def add_known(self, parts: TokenParts, *, in_index: bool = False) -> None:
        """Use the token vectors that earlier work has for texts of this generation.

        Args:
            in_index: Whether this is an index, rather than an interrupted run.
        """
        import numpy as np

        rows = self.distinct.find(parts.hashes)
        found = np.flatnonzero(rows >= 0)
        at = self._positions(rows[found])
        self.source[at] = len(self.parts)
        self.indexed[at] |= in_index
        self.begins[at] = parts.begins[found]
        self.entries["tokens"][at] = parts.tokens[found]
        self.entries["truncated"][at] = parts.truncated[found]
        self.parts.append(parts)

    def _positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the position in `distinct` of the text that begins at each row."""
        import numpy as np

        positions: NDArray[np.int64] = self.order[np.searchsorted(self.rows, rows)]
        return positions

    def known_rows(self, *, in_indexes: bool = False) -> NDArray[np.int64]:
        """Return the first rows of the texts taken from earlier work.

        Args:
            in_indexes: Only those taken from indexes.
        """
        rows: NDArray[np.int64] = self.distinct.rows[
            self.indexed if in_indexes else self.source >= 0
        ]
        return rows

    def add(self, rows: NDArray[np.int64], coded: CodedTexts) -> None:
        """Write the texts that begin at these rows, ascending, and known ones before them."""
        positions = self._positions(rows).tolist()
        self.entries["tokens"][positions] = coded.tokens
        self.entries["truncated"][positions] = coded.truncated
        for position, codes in zip(positions, coded.codes, strict=True):
            self._copy_before(int(self.distinct.rows[position]))
            self._write(position, codes.reshape(-1))
            self.done += 1
        self.samples |= {int(rows[at]): exact for at, exact in coded.exact.items()}

    def _copy_before(self, row: int | None) -> None:
        """Write the known texts that begin before a row; None: all that are left."""
        while self.done < len(self.order):
            position = int(self.order[self.done])
            if row is not None and self.distinct.rows[position] >= row:
                break
            parts, begin = self.parts[self.source[position]], int(self.begins[position])
            size = int(self.entries["tokens"][position]) * self.codec.width
            self._write(position, parts.read(begin, begin + size))
            self.done += 1

    def _write(self, position: int, codes: Bytes) -> None:
        entry = self.entries[position : position + 1]
        entry["begin"] = self.file.tell()
        entry["seal"] = seal_of(int(self.distinct.hashes[position, 0]), entry[0].item(), codes)
        self.file.write(codes.tobytes())

    def finish(self) -> None:
        """Write the remaining texts and the list of all."""
        self._copy_before(None)
        self.close()
        with (self.folder / TOKEN_TEXTS).open("wb") as file:
            file.write(self.distinct.hashes[:, 0].tobytes())
            file.write(self.entries.tobytes())

    def close(self) -> None:
        """Close the files; what is not finished is lost."""
        self.file.close()
        self.parts.clear()

    def error(self) -> float | None:
        """Return the mean difference that compression makes to MaxSim; None if it is unknown.

        Over pairs of sampled texts: the first token vectors of one, as a query of equal weights,
        with the other.
        """
        import numpy as np

        if len(self.samples) < 2:
            return None
        samples = [self.samples[row] for row in sorted(self.samples)]
        stored = [self.codec.decoded(self.codec.encoded(kept)) for _, kept in samples]
        differences = []
        for at, (_, kept) in enumerate(samples):
            query = kept[:QUERY_TOKENS]
            turned = self.codec.rotated(query)
            for other, (exact, _) in enumerate(samples):
                if other != at and min(len(query), len(exact), len(stored[other])):
                    best = (query @ exact.T).max(axis=1).mean()
                    coded = (turned @ stored[other].T).max(axis=1).mean()
                    differences.append(abs(float(best - coded)))
        return round(float(np.mean(differences)), 4) if differences else None


class TokenShards:
    """The token vectors computed so far by an unfinished run, in files beside those of its vectors.

    Each file is written atomically and has its own checksum.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.next = 0

    def load(self, codec: TokenCodec) -> Iterator[TokenParts]:
        """Yield every intact file; the texts of others are embedded again."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            self.next = int(path.stem) + 1
            parts = unpacked_tokens(read_sealed(path), codec, partial(read_bytes, path, HASH_BYTES))
            if parts is None:
                path.unlink()
            else:
                yield parts

    def add(self, hashes: Hashes, coded: CodedTexts) -> None:
        """Store newly compressed texts."""
        body = packed_tokens(hashes, coded)
        write_sealed(self.folder / f"{self.next:08}{SUFFIX}", body)
        self.next += 1


def packed_tokens(hashes: Hashes, coded: CodedTexts) -> bytes:
    """Return the hashes of texts and their token vectors, as they are stored."""
    import numpy as np

    codes = b"".join(one.tobytes() for one in coded.codes)
    count = np.array([len(hashes)], "<u8").tobytes()
    numbers = coded.tokens.astype("<u4").tobytes() + coded.truncated.astype("<u4").tobytes()
    return b"".join([count, hashes.tobytes(), numbers, codes])


def read_bytes(path: Path, offset: int, begin: int, end: int) -> bytes:
    """Return bytes of a file, counted from an offset.

    The file is not kept open: a long run leaves more files than a process may open.
    """
    with path.open("rb") as file:
        file.seek(offset + begin)
        return file.read(end - begin)


def unpacked_tokens(
    body: bytes, codec: TokenCodec, read: Callable[[int, int], bytes]
) -> TokenParts | None:
    """Return token vectors that were packed; None if they are not compressed like that.

    Args:
        read: Reads the body again from one position to another.
    """
    import numpy as np

    if len(body) < 8:
        return None
    count = int(np.frombuffer(body, "<u8", 1)[0])
    split = 8 + count * HASH_BYTES
    codes = split + 8 * count
    if codes > len(body):
        return None
    tokens, truncated = np.frombuffer(body[split:codes], "<u4").reshape(2, count)
    sizes = tokens.astype(np.uint64) * codec.width
    if int(sizes.sum()) != len(body) - codes:
        return None
    begins = (np.cumsum(sizes) - sizes).astype(np.uint64)

    def read_codes(begin: int, end: int) -> Bytes:
        return np.frombuffer(read(codes + begin, codes + end), np.uint8)

    return TokenParts(as_hashes(body[8:split]), begins, tokens, truncated, read_codes)
