"""The files of a generation, opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.index.field_values import VALUES, FieldValues, ScannedValues
from ettin_cli.index.lexicon import TERMS, Lexicon
from ettin_cli.index.manifest import GENERATIONS, FileRecord, Manifest, damaged
from ettin_cli.index.mapping import mapped_file, unreadable
from ettin_cli.index.nearest import Nearest, VectorPart
from ettin_cli.index.passages import PASSAGES, Passages
from ettin_cli.index.source_files import FILES, Files
from ettin_cli.index.token_codes import TokenCodec
from ettin_cli.index.token_lists import TOKEN_CENTROIDS, TOKEN_LISTS, TOKEN_ROWS, TokenLists
from ettin_cli.index.token_vectors import TOKEN_CODES, TOKEN_TEXTS, StoredTokens, TokenParts
from ettin_cli.index.vectors import EXACT, mapped, open_index

if TYPE_CHECKING:
    import pyarrow as pa

    from ettin_cli.index.field_values import Filter
    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.vectors import Rows, Stored

VECTORS = "vectors.faiss"
EMBEDDINGS = "embeddings.f16"
# The trained, empty index of FAISS that all shards are compressed by.
QUANTIZER = "quantizer.faiss"
# The clusters of token vectors that the lists of all shards have.
CLUSTERS = "clusters.npz"
# The vectors file of indexes of format 1.
SINGLE_PRECISION = "embeddings.f32"


@dataclass(frozen=True)
class Contents:
    """The files of a generation, all mapped, so that a writer may delete them.

    Args:
        generation: The folder that contains them.
    """

    generation: Path
    manifest: Manifest
    passages: Passages
    file_list: pa.Buffer
    vector_part: VectorPart
    vectors: Stored
    fields: FieldValues | ScannedValues
    lexicon: Lexicon | None
    tokens: StoredTokens | None
    token_lists: TokenLists | None

    @property
    def parts(self) -> Sequence[Contents]:
        """Itself, as an index without shards has one part."""
        return [self]

    @cached_property
    def files(self) -> Files:
        """The source files; their list is checked on first access."""
        path = self.generation / FILES
        return Files(self.file_list, path, self.manifest.files[FILES].checksum)

    @cached_property
    def nearest(self) -> Nearest:
        """Finds the rows whose vectors are nearest to a query's."""
        return Nearest([self.vector_part], self.manifest.factory, self.manifest.search)

    def select(self, filters: Sequence[Filter], paths: Sequence[str]) -> Rows:
        """Return the rows that pass every filter and whose path matches a glob.

        Args:
            paths: Without any, every path matches.
        """
        import numpy as np

        rows = self.fields.passing(filters) if filters else None
        if not paths:
            return np.arange(len(self.passages), dtype=np.int64) if rows is None else rows
        fits = np.zeros(len(self.passages), np.bool_)
        for first, count in self.files.places(paths):
            fits[first : first + count] = True
        if rows is None:
            return np.flatnonzero(fits).astype(np.int64, copy=False)
        return rows[fits[rows]]

    def known_vectors(self) -> Iterator[tuple[Hashes, Stored]]:
        """Yield the vectors of all passages with the hashes of their texts, in pieces."""
        return known_vectors(self.passages, self.vectors)

    def known_tokens(self, codec: TokenCodec) -> TokenParts | None:
        """Return the token vectors of all texts; None if they are compressed otherwise."""
        tokens = self.tokens
        return tokens.parts() if tokens is not None and tokens.codec == codec else None


def open_contents(
    folder: Path, manifest: Manifest, whole: Manifest | None = None, first: int = 0
) -> Contents:
    """Open the current generation of an index.

    Args:
        manifest: Its manifest.
        whole: That of the index of which it is a shard, whose search parameters count.
        first: Its first row in that.

    Raises:
        IndexDamagedError: A file is missing, of another size, or unreadable.
    """
    generation = folder / GENERATIONS / manifest.generation
    for name, record in manifest.files.items():
        _check_size(generation / name, record)
    rows, dimension = manifest.counts.passages, manifest.embedder.dimension
    stored, dtype = vectors_file(manifest)
    search = (whole or manifest).search if rows else {}
    faiss = open_index(generation / VECTORS, search, manifest.factory)
    if (faiss.ntotal, faiss.d) != (rows, dimension):
        raise damaged(generation / VECTORS, f"does not belong to {folder}")
    tokens = StoredTokens(generation, manifest) if manifest.tokens else None
    lists = None
    if tokens is not None and TOKEN_LISTS in manifest.files:
        lists = TokenLists(generation, manifest)
    passages = Passages(generation / PASSAGES, rows, later=whole is not None)
    return Contents(
        generation,
        manifest,
        passages,
        mapped_file(generation / FILES),
        VectorPart(first, faiss, generation / VECTORS),
        mapped(generation / stored, rows, dimension, dtype),
        FieldValues(generation, rows, manifest.files)
        if VALUES in manifest.files
        else ScannedValues(passages),
        Lexicon(generation, rows, manifest.files) if TERMS in manifest.files else None,
        tokens,
        lists,
    )


def known_vectors(passages: Passages, vectors: Stored) -> Iterator[tuple[Hashes, Stored]]:
    """Yield vectors with the hashes of their texts, in pieces."""
    begin = 0
    for hashes in passages.hashes():
        yield hashes, vectors[begin : begin + len(hashes)]
        begin += len(hashes)


def vectors_file(manifest: Manifest) -> tuple[str, str]:
    """Return the name of the file that ends with the stored vectors, and their dtype."""
    if manifest.factory in EXACT:
        return VECTORS, EXACT[manifest.factory]
    if SINGLE_PRECISION in manifest.files:
        return SINGLE_PRECISION, "float32"
    return EMBEDDINGS, "float16"


def bytes_a_vector(parts: Sequence[Manifest]) -> int:
    """Return the bytes per vector on disk: in FAISS's file and, if separate, in the stored copy."""
    names = [(part, {VECTORS, vectors_file(part)[0]}) for part in parts]
    total = sum(part.files[name].bytes for part, own in names for name in own)
    return round(total / max(1, sum(part.counts.passages for part in parts)))


def bytes_of_tokens(parts: Sequence[Manifest]) -> int:
    """Return the bytes of token vectors per passage on disk."""
    names = {TOKEN_TEXTS, TOKEN_CODES, TOKEN_CENTROIDS, TOKEN_LISTS, TOKEN_ROWS}
    total = sum(f.bytes for part in parts for name, f in part.files.items() if name in names)
    return round(total / max(1, sum(part.counts.passages for part in parts)))


def _check_size(path: Path, record: FileRecord) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error
    if size != record.bytes:
        raise damaged(path, f"has {size} bytes instead of {record.bytes}")
