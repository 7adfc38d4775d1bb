"""Read an index: open it in milliseconds, retrieve rows, read passages, verify checksums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.errors import ClosedError, IndexDamagedError, IndexMismatchError
from ettin_cli.index.contents import Contents, open_contents
from ettin_cli.index.field_values import Filter
from ettin_cli.index.joined import JoinedContents, open_shards
from ettin_cli.index.manifest import GENERATIONS, Manifest, damaged, read_manifest, whole_of
from ettin_cli.index.passages import PASSAGES
from ettin_cli.index.source_files import FileEntry
from ettin_cli.index.token_codes import TokenCodec
from ettin_cli.index.vectors import best_among, nearest_among
from ettin_cli.platforms import on_disk
from ettin_cli.records import Passage
from ettin_cli.runtime import Closing
from ettin_cli.text.lexical import ENGLISH

if TYPE_CHECKING:
    from ettin_cli.index.joined_lexicon import JoinedLexicon
    from ettin_cli.index.joined_passages import JoinedFiles, JoinedPassages, JoinedVectors
    from ettin_cli.index.joined_tokens import JoinedTokenLists, JoinedTokens
    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.lexicon import Lexicon
    from ettin_cli.index.nearest import VectorPart
    from ettin_cli.index.passages import Passages
    from ettin_cli.index.source_files import Files
    from ettin_cli.index.token_lists import TokenLists
    from ettin_cli.index.token_vectors import StoredTokens, TokenParts
    from ettin_cli.index.vectors import Rows, Stored
    from ettin_cli.records import Floats


class Index(Closing):
    """One generation of an index, unaffected by later writers; safe to use from any thread.

    The shards of an index are read as one.

    Args:
        folder: The folder written by `ettin index`.

    Raises:
        IndexNotFoundError: The folder contains no index.
        IndexMismatchError: It was written by a newer version.
        IndexDamagedError: A file is missing, of another size, or unreadable.
        ClosedError: The index was closed; raised when passages, vectors or terms are read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest, opened = _open_generation(folder)
        self._opened: Contents | JoinedContents | None = opened
        self.generation = folder / GENERATIONS / self.manifest.generation
        self._base = whole_of(folder.resolve()).parent

    def close(self) -> None:
        """Release the files and their memory maps.

        Data that another thread is reading or was given stays mapped as long as that thread holds
        it. An index without references is closed automatically.
        """
        self._opened = None

    def is_outdated(self) -> bool:
        """Return whether a newer generation is current; reads only the manifest.

        This generation stays readable; `Index(folder)` opens the newer one.

        Raises:
            IndexNotFoundError: The index no longer exists.
            IndexMismatchError: The manifest was written by a newer version.
            IndexDamagedError: The manifest is damaged.
        """
        return read_manifest(self.folder).generation != self.manifest.generation

    @property
    def parts(self) -> list[Manifest]:
        """The manifests of the shards, or that of an index without any."""
        return [part.manifest for part in self._contents.parts]

    @property
    def _contents(self) -> Contents | JoinedContents:
        contents = self._opened
        if contents is None:
            raise ClosedError(f"the index in {self.folder} is closed", folder=self.folder)
        return contents

    @property
    def passages(self) -> Passages | JoinedPassages:
        """Every passage, in row order."""
        return self._contents.passages

    @property
    def files(self) -> Files | JoinedFiles:
        """Every source file, in the order of their passages."""
        return self._contents.files

    @property
    def lexicon(self) -> Lexicon | JoinedLexicon:
        """The terms of the passages.

        Raises:
            IndexMismatchError: The index was built by a version that stored no terms.
        """
        lexicon = self._contents.lexicon
        if lexicon is None:
            raise IndexMismatchError(
                f"{self.folder} has no BM25 terms, only vectors",
                code="index-without-words",
                folder=self.folder,
            )
        return lexicon

    @property
    def language(self) -> str:
        """Language of the lexicon's stemmer."""
        return self.manifest.language or ENGLISH

    @property
    def vectors(self) -> Stored | JoinedVectors:
        """Every passage's vector, mapped from disk: shape (passages, dimension)."""
        return self._contents.vectors

    @property
    def vector_parts(self) -> Sequence[VectorPart]:
        """FAISS's index of each shard, or the only one."""
        return [part.vector_part for part in self._contents.parts]

    @property
    def tokens(self) -> StoredTokens | JoinedTokens | None:
        """The token vectors of the passages; None if the index has none."""
        return self._contents.tokens

    @property
    def token_lists(self) -> TokenLists | JoinedTokenLists | None:
        """The inverted lists of the token vectors; None if the index has none."""
        return self._contents.token_lists

    def retrieve(
        self, queries: Floats, depth: int, among: Rows | None = None
    ) -> list[tuple[Rows, Floats]]:
        """Return the best rows and inner products of each query, best first.

        Rows of equal score are in corpus order.

        Args:
            queries: Unit vectors, shape (count, dimension).
            among: Rows to compare exhaustively; None: search the entire index.

        Raises:
            IndexDamagedError: The vectors lead to rows that do not exist.
        """
        if among is None:
            near = self._contents.nearest
            retrieved = [near.candidates(query, depth) for query in queries]
        else:
            retrieved = nearest_among(self.vectors, among, queries, depth)
        return [
            best_among(self.vectors, rows, query, depth)
            for query, rows in zip(queries, retrieved, strict=True)
        ]

    def read(self, rows: Rows | Sequence[int]) -> list[Passage]:
        """Return passages by row, with the absolute paths of their files."""
        passages = self.passages.read(rows)
        paths = {file: self.path_of(self._file(file)) for file in {file for _, file in passages}}
        return [replace(passage, path=paths[file]) for passage, file in passages]

    def doc_ids(self) -> Iterator[str]:
        """Yield the document id of each passage, in row order."""
        for (block,) in self.passages.blocks("doc_id"):
            yield from block.to_pylist()

    def path_of(self, entry: FileEntry) -> str | None:
        """Return the current path of a file, or None if its records came from standard input."""
        return str(on_disk(self._base / entry.path)) if entry.path else None

    def file_of(self, row: int) -> FileEntry:
        """Return the source file of a passage."""
        return self._file(self.passages.column("file", [row])[0])

    def _file(self, number: int) -> FileEntry:
        if not 0 <= number < len(self.files):
            raise damaged(self.generation / PASSAGES)
        return self.files[number]

    def select(self, filters: Sequence[Filter], paths: Sequence[str]) -> Rows:
        """Return the rows that pass every filter and whose path matches a glob.

        A list field matches by any of its elements, and of several values one must match. Globs
        have the syntax of .gitignore files and are matched below each source.
        """
        return self._rows_of([part.select(filters, paths) for part in self._contents.parts])

    def holding(self, field: str, fits: Callable[[str], bool]) -> Rows:
        """Return the rows with a value that fits in the title or in the metadata field `field`.

        A list field matches by any of its elements.
        """
        import numpy as np

        if field == "title":
            return np.flatnonzero(list(self._titles_fitting(fits))).astype(np.int64)
        return self._rows_of([one.fields.matching(field, fits) for one in self._contents.parts])

    def _rows_of(self, found: Sequence[Rows]) -> Rows:
        """Return the rows of the whole from those found in each part."""
        import numpy as np

        if len(found) == 1:
            return found[0]
        firsts = [part.vector_part.first for part in self._contents.parts]
        return np.concatenate([rows + at for rows, at in zip(found, firsts, strict=True)])

    def _titles_fitting(self, fits: Callable[[str], bool]) -> Iterator[bool]:
        """Yield for each row whether its title fits."""
        titles = chain.from_iterable(
            block.to_pylist() for (block,) in self.passages.blocks("title")
        )
        for title, same in groupby(titles):
            fitting = fits(title)
            yield from (fitting for _ in same)

    def has_field(self, field: str) -> bool:
        """Return whether any document has this metadata field; every one has a title."""
        return field == "title" or any(part.fields.has(field) for part in self._contents.parts)

    def known_vectors(self) -> Iterator[tuple[Hashes, Stored]]:
        """Yield the vectors of all passages with the hashes of their texts, in pieces."""
        return self._contents.known_vectors()

    def known_tokens(self, codec: TokenCodec) -> TokenParts | None:
        """Return the token vectors of all texts; None if they are compressed otherwise."""
        return self._contents.known_tokens(codec)


def _open_generation(folder: Path) -> tuple[Manifest, Contents | JoinedContents]:
    """Open the current generation; retry once if a writer replaced it in between."""
    manifest = read_manifest(folder)
    while True:
        try:
            if manifest.shards:
                return manifest, open_shards(folder, manifest)
            return manifest, open_contents(folder, manifest)
        except (IndexDamagedError, OSError):
            newer = read_manifest(folder)
            if newer.generation == manifest.generation:
                raise
            manifest = newer
