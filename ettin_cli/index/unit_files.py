"""Texts that were embedded in units: a file for each, which a worker writes and the driver reads.

    UNITS.parts/parts/part-000000-8f0c1d2e3a4b5c6d.unit

A file has the hashes and vectors of its texts and, if the index stores them, their token vectors.
Beside the units, and beside the files of a run without units, are the exact token vectors of the
few texts by which the error of the compressed ones is measured.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.index.known_vectors import (
    HASH_BYTES,
    packed,
    read_sealed,
    seal,
    unpacked,
    write_sealed,
)
from ettin_cli.index.token_writer import (
    CodedTexts,
    packed_tokens,
    read_bytes,
    unpacked_tokens,
)

if TYPE_CHECKING:
    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.token_codes import TokenCodec
    from ettin_cli.index.token_vectors import TokenParts
    from ettin_cli.records import Floats

# In the folder of the vectors of an unfinished run: what `clusters.UnitFolder` is named after.
UNITS, UNIT_SUFFIX = "units", ".unit"
SAMPLE_SUFFIX = ".sample"
# Before the vectors: their length in bytes.
LENGTH_BYTES = 8


def packed_unit(hashes: Hashes, vectors: Floats, coded: CodedTexts | None) -> bytes:
    """Return the file of a unit."""
    body = packed(hashes, vectors)
    tokens = packed_tokens(hashes, coded) if coded else b""
    body = len(body).to_bytes(LENGTH_BYTES, "little") + body + tokens
    return seal(body) + body


class UnitFile:
    """Reads the file of a unit; a damaged one has no content.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.body = read_sealed(path)
        self.end = LENGTH_BYTES + int.from_bytes(self.body[:LENGTH_BYTES], "little")

    def vectors(self, dimension: int) -> tuple[Hashes, Floats] | None:
        """Return the hashes and vectors of its texts; None if it is damaged."""
        return unpacked(self.body[LENGTH_BYTES : self.end], dimension)

    def tokens(self, codec: TokenCodec, *, later: bool) -> TokenParts | None:
        """Return the token vectors of its texts; None if it has none that are compressed like that.

        Args:
            later: Read them from the file again when they are needed.
        """
        body = self.body[self.end :]
        read = partial(read_bytes, self.path, HASH_BYTES + self.end)
        return unpacked_tokens(body, codec, read if later else lambda begin, end: body[begin:end])

    def coded(self, codec: TokenCodec) -> CodedTexts | None:
        """Return the token vectors of its texts, to be written into an index."""
        parts = self.tokens(codec, later=False)
        if parts is None:
            return None
        coded = CodedTexts(codec, len(parts.hashes), [])
        sizes = (parts.tokens.astype(int) * codec.width).tolist()
        for at, (begin, size) in enumerate(zip(parts.begins.tolist(), sizes, strict=True)):
            coded.codes[at] = parts.read(begin, begin + size).reshape(-1, codec.width)
        coded.truncated[:] = parts.truncated
        return coded


def unit_files(work: Path, dimension: int) -> Iterator[UnitFile]:
    """Yield the units that unfinished runs have left; damaged ones are removed.

    Args:
        work: The folder of the vectors of an unfinished run.
    """
    folder = work / f"{UNITS}.parts" / "parts"
    for path in sorted(folder.glob(f"*{UNIT_SUFFIX}")):
        file = UnitFile(path)
        if file.vectors(dimension) is None:
            path.unlink()
        else:
            yield file


class Samples:
    """The exact token vectors of the sampled texts of an unfinished run, a file for each.

    Args:
        folder: Their folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, text: Hashes, exact: Floats, kept: Floats) -> None:
        """Store all token vectors of a text, and those that are compressed."""
        import numpy as np

        body = io.BytesIO()
        for vectors in (exact, kept):
            np.save(body, vectors, allow_pickle=False)
        write_sealed(self._path(text), body.getvalue())

    def add_all(self, hashes: Hashes, coded: CodedTexts) -> None:
        """Store the sampled ones of some texts."""
        for at, (exact, kept) in coded.exact.items():
            self.add(hashes[at], exact, kept)

    def load(self, text: Hashes) -> tuple[Floats, Floats] | None:
        """Return the token vectors of a text; None if they are not there or damaged."""
        import numpy as np

        try:
            body = read_sealed(self._path(text))
        except FileNotFoundError:
            return None
        file = io.BytesIO(body)
        return (np.load(file), np.load(file)) if body else None

    def _path(self, text: Hashes) -> Path:
        return self.folder / f"{text.tobytes().hex()}{SAMPLE_SUFFIX}"
