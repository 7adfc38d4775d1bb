"""Write a generation beside the current one, then switch to it atomically."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from ettin_cli import __version__
from ettin_cli.errors import EttinError, IndexNotFoundError
from ettin_cli.index.contents import CLUSTERS, EMBEDDINGS, VECTORS
from ettin_cli.index.factories import build
from ettin_cli.index.field_values_writer import write_field_values
from ettin_cli.index.known_vectors import Distinct, Shards, joined_hashes
from ettin_cli.index.lexicon_writer import known_words, write_lexicon
from ettin_cli.index.manifest import (
    GENERATIONS,
    MANIFEST,
    WORK,
    Counts,
    FileRecord,
    Manifest,
    RecordedSource,
    TokenVectors,
    read_manifest,
    with_files,
    write_manifest,
)
from ettin_cli.index.mapping import release
from ettin_cli.index.passages import PASSAGES, Passages, PassageWriter
from ettin_cli.index.reader import Index
from ettin_cli.index.source_files import FILES, FileEntry, write_files
from ettin_cli.index.token_codes import TokenCodec
from ettin_cli.index.token_lists import TOKEN_LISTS
from ettin_cli.index.token_lists_writer import ListedTexts, write_lists
from ettin_cli.index.token_writer import SAMPLE, CodedTexts, TokenShards, TokenWriter
from ettin_cli.index.unit_files import Samples, UnitFile, unit_files
from ettin_cli.index.vectors import EXACT, mapped
from ettin_cli.platforms import move
from ettin_cli.records import Advance, EmbedderCard, TokenSink, no_progress
from ettin_cli.runtime import counted, in_order
from ettin_cli.settings import READING
from ettin_cli.storage import allocate, checksum, make_folder, sync_file, sync_folder
from ettin_cli.text.lexical import ENGLISH, Terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.salvage import IntactParts
    from ettin_cli.index.vectors import Stored
    from ettin_cli.records import Flags, Floats

    Halves = NDArray[np.float16]

GENERATION_NAME = re.compile(r"\d{6,}-[0-9a-f]{8}")
SHARD_ROWS = 1024
LOOKUP_ROWS = 16_384

R = TypeVar("R")

Embed = Callable[["Sequence[str]", Advance], "Floats"]
EmbedTokens = Callable[["Sequence[str]", TokenSink, Advance], "tuple[Floats, Flags]"]


@dataclass(frozen=True, slots=True)
class BuildRecipe:
    """The build settings of an index, which must match before another run may continue it.

    Args:
        tokens: The compression of token vectors; None: none are stored.
        token_lists: Whether these are also what a query can be retrieved by.
    """

    embedder: EmbedderCard
    chunk_size: int | str | None
    chunk_overlap: int
    factory: str
    language: str = ENGLISH
    reading: int = READING
    tokens: TokenCodec | None = None
    token_lists: bool = False

    def makes(self, manifest: Manifest) -> bool:
        """Return whether an index was built with these settings."""
        return (
            (manifest.embedder, manifest.chunk_size, manifest.chunk_overlap, manifest.language)
            == (self.embedder, self.chunk_size, self.chunk_overlap, self.language)
            and self.factory in (manifest.asked, manifest.factory)
            and manifest.reading == self.reading
            and (manifest.tokens.codec if manifest.tokens else None) == self.tokens
            and bool({TOKEN_LISTS, CLUSTERS} & manifest.files.keys()) == self.token_lists
        )


class Generation:
    """A generation being built; without `commit` the index is unchanged.

    Args:
        folder: The index's folder, held for writing.
        recipe: Its build settings.
        old: The current generation, or its intact parts, whose vectors are reused; None: start
            from scratch.
        also: Other indexes whose vectors are reused.
        work: Where vectors are kept until the commit, also those of other indexes; None: in the
            index's folder.

    An index that is replaced is closed by `commit`, unless other generations share its work.
    """

    def __init__(
        self,
        folder: Path,
        recipe: BuildRecipe,
        old: Index | IntactParts | None,
        also: Sequence[Index | IntactParts] = (),
        work: Path | None = None,
    ) -> None:
        remove_leftovers(folder)
        self.folder = folder
        self.recipe = recipe
        self.old = old
        self.known: list[Index | IntactParts] = [*also, *([old] if old else [])]
        self.name = next_name(folder)
        self.path = folder / GENERATIONS / self.name
        make_folder(self.path)
        self.passages = PassageWriter(self.path / PASSAGES)
        self._adopted = False
        self.shares_work = work is not None
        work = (work or folder / WORK) / _vectors_key(recipe.embedder)
        self.shards, self.token_shards = Shards(work), TokenShards(work)
        self.samples = Samples(work)
        self.tokens: TokenVectors | None = None
        self.token_writer: TokenWriter | None = None

    def adopt(self, passages: Path, rows: int) -> None:
        """Take a complete file of passages instead of those that would be added."""
        self.passages.close()
        move(passages, self.path / PASSAGES)
        self.passages.rows = rows
        self._adopted = True

    def missing(self) -> Missing:
        """Close the passages file, and find the passages without a known vector."""
        if not self._adopted:
            self.passages.close()
        stored = Passages(self.path / PASSAGES, self.passages.rows)
        return Missing(self, stored)

    def commit(
        self,
        entries: list[FileEntry],
        sources: tuple[RecordedSource, ...],
        documents: int,
        advance: Advance = no_progress,
    ) -> Manifest:
        """Complete the files, sync them to disk, and make the generation current.

        Args:
            advance: Called with the number of passages whose terms were just added.
        """
        dimension = self.recipe.embedder.dimension
        write_files(self.path / FILES, entries)
        stored = Passages(self.path / PASSAGES, self.passages.rows)
        self._write_words(stored, advance)
        write_field_values(self.path, stored)
        vectors = mapped(self.path / EMBEDDINGS, self.passages.rows, dimension, "float16")
        factory, search, recall = build(vectors, self.recipe.factory, self.path / VECTORS)
        del vectors
        if factory in EXACT:
            (self.path / EMBEDDINGS).unlink()
        counts = Counts(
            files=sum(1 for entry in entries if entry.passages),
            documents=documents,
            passages=self.passages.rows,
            rejected=sum(len(entry.rejections) for entry in entries),
            truncated=sum(entry.truncated for entry in entries),
        )
        manifest = Manifest(
            generation=self.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=__version__,
            embedder=self.recipe.embedder,
            chunk_size=self.recipe.chunk_size,
            chunk_overlap=self.recipe.chunk_overlap,
            factory=factory,
            recall=recall,
            search=search,
            counts=counts,
            sources=sources,
            asked=self.recipe.factory,
            language=self.recipe.language,
            reading=self.recipe.reading,
            tokens=self.tokens,
        )
        manifest = with_files(manifest, sealed(self.path))
        write_manifest(self.folder, manifest)
        self.shards.clear(others=not self.shares_work)
        if isinstance(self.old, Index) and not self.shares_work:
            # Windows does not remove files that are mapped.
            self.old.close()
        remove_leftovers(self.folder)
        return manifest

    def _write_words(self, stored: Passages, advance: Advance) -> None:
        terms, known = Terms(self.recipe.language), None
        if isinstance(self.old, Index):
            known = known_words(self.old, joined_hashes(stored.term_hashes()), terms)
        write_lexicon(self.path, stored, terms, known, advance)

    def abandon(self) -> None:
        """Remove the written files, except the computed vectors.

        A generation that became current before a later failure stays, as does the previous one,
        which a power cut may bring back. Only the manifest on disk shows whether that happened.
        """
        if self.token_writer:
            self.token_writer.close()
        with suppress(EttinError, OSError):
            if _in_force(self.folder) != self.name:
                shutil.rmtree(self.path)


class Missing:
    """The passages of a generation that must be embedded.

    Equal texts are embedded once. `total` is the number of distinct texts left to embed, `reused`
    the number of passages with a known vector. Every vector is rounded to half precision here,
    whatever its origin and FAISS's encoding, so a text has the same vector in every index.
    """

    def __init__(self, generation: Generation, stored: Passages) -> None:
        import numpy as np

        self.generation = generation
        self.stored = stored
        dimension = generation.recipe.embedder.dimension
        self.vectors = _writable(generation.path / EMBEDDINGS, len(stored), dimension)
        self.hashes = joined_hashes(stored.hashes())
        self.distinct = Distinct(self.hashes)
        known = self._take(self._unfinished())
        indexed = self._take(one for index in generation.known for one in index.known_vectors())
        known |= indexed
        self.tokens = self._token_writer()
        if self.tokens:
            known &= self._mask(self.tokens.known_rows())
            indexed &= self._mask(self.tokens.known_rows(in_indexes=True))
        rows = self.distinct.rows
        self.rows: NDArray[np.int64] = np.sort(rows[~known[rows]])
        self.total = len(self.rows)
        self.reused = int(known[self.distinct.first_of].sum())
        # An interrupted run samples the same texts as the one that completes it.
        fresh = np.sort(rows[~indexed[rows]])
        self.sampled = set(fresh[:: max(1, len(fresh) // SAMPLE)][:SAMPLE].tolist())
        if self.tokens:
            self._load_samples(self.tokens)

    def _unfinished(self) -> Iterator[tuple[Hashes, Stored]]:
        """Yield the vectors of an interrupted run, in pieces."""
        shards, dimension = self.generation.shards, self.generation.recipe.embedder.dimension
        for hashes, vectors in shards.load(dimension):
            yield hashes, vectors
            if (self.distinct.find(hashes) >= 0).all():
                shards.take()
        for file in unit_files(shards.folder, dimension):
            if held := file.vectors(dimension):
                yield held

    def _take(self, pieces: Iterator[tuple[Hashes, Stored]]) -> Flags:
        """Take known vectors, and return for which rows."""
        import numpy as np

        taken = np.zeros(len(self.stored), np.bool_)
        for hashes, vectors in pieces:
            rows = self.distinct.find(hashes)
            self.vectors[rows[rows >= 0]] = vectors[rows >= 0]
            taken[rows[rows >= 0]] = True
            release(self.vectors)
        return taken

    def _mask(self, rows: NDArray[np.int64]) -> Flags:
        import numpy as np

        mask = np.zeros(len(self.stored), np.bool_)
        mask[rows] = True
        return mask

    def _token_writer(self) -> TokenWriter | None:
        """Return the writer of token vectors with those that are known."""
        generation, codec = self.generation, self.generation.recipe.tokens
        if codec is None:
            return None
        writer = generation.token_writer = TokenWriter(generation.path, codec, self.distinct)
        for parts in generation.token_shards.load(codec):
            writer.add_known(parts)
        for file in unit_files(generation.shards.folder, generation.recipe.embedder.dimension):
            if held := file.tokens(codec, later=True):
                writer.add_known(held)
        for known in generation.known:
            if parts_of := known.known_tokens(codec):
                writer.add_known(parts_of, in_index=True)
        return writer

    def _load_samples(self, tokens: TokenWriter) -> None:
        """Take the sampled texts that an interrupted run has embedded."""
        for row in sorted(self.sampled.difference(self.rows.tolist())):
            if sample := self.generation.samples.load(self.hashes[row]):
                tokens.samples[row] = sample

    def embed(self, embed: Embed, advance: Advance = no_progress, at_once: int = 1) -> None:
        """Embed the missing texts.

        Args:
            at_once: How many shards are embedded at once, which are lost by an interruption.
        """

        def embedded(texts: Sequence[str], rows: NDArray[np.int64], count: Advance) -> Floats:
            return embed(texts, count)

        for rows, vectors in self._by_shard(embedded, advance, at_once):
            self._add(rows, vectors)

    def embed_tokens(
        self, embed: EmbedTokens, advance: Advance = no_progress, at_once: int = 1
    ) -> None:
        """Embed the missing texts with their token vectors, as `embed` does."""
        assert self.tokens is not None
        codec = self.tokens.codec

        def embedded(
            texts: Sequence[str], rows: NDArray[np.int64], count: Advance
        ) -> tuple[Floats, CodedTexts]:
            exact = [at for at, row in enumerate(rows.tolist()) if row in self.sampled]
            coded = CodedTexts(codec, len(rows), exact)
            vectors, cut = embed(texts, coded.add, count)
            coded.truncated[:] = cut
            return vectors, coded

        for rows, (vectors, coded) in self._by_shard(embedded, advance, at_once):
            self.generation.samples.add_all(self.hashes[rows], coded)
            self.generation.token_shards.add(self.hashes[rows], coded)
            self.tokens.add(rows, coded)
            self._add(rows, vectors)

    def _by_shard(
        self,
        embedded: Callable[[Sequence[str], NDArray[np.int64], Advance], R],
        advance: Advance,
        at_once: int,
    ) -> Iterator[tuple[NDArray[np.int64], R]]:
        """Yield the rows of each shard in turn, and what `embedded` returns for them."""

        def tasks() -> Iterator[Callable[[], tuple[NDArray[np.int64], R]]]:
            for begin in range(0, self.total, SHARD_ROWS):
                rows = self.rows[begin : begin + SHARD_ROWS]
                yield partial(task, self.stored.contents(rows.tolist()), rows)

        def task(texts: Sequence[str], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], R]:
            return rows, embedded(texts, rows, count)

        ended = Event()
        count = counted(advance, ended)
        return in_order(tasks(), at_once, ended)

    def _add(self, rows: NDArray[np.int64], vectors: Floats) -> None:
        self.generation.shards.add(self.hashes[rows], vectors)
        self.vectors[rows] = vectors
        release(self.vectors)

    def add_unit(self, rows: NDArray[np.int64], path: Path) -> bool:
        """Take the texts that begin at these rows, ascending, from the file of a unit.

        Returns:
            Whether the file is intact and has these texts.
        """
        file = UnitFile(path)
        held = file.vectors(self.generation.recipe.embedder.dimension)
        coded = file.coded(self.tokens.codec) if self.tokens else None
        same = held is not None and (held[0].tobytes() == self.hashes[rows].tobytes())
        if held is None or not same or (self.tokens and coded is None):
            return False
        if self.tokens and coded:
            for row in self.sampled.intersection(rows.tolist()):
                if sample := self.generation.samples.load(self.hashes[row]):
                    self.tokens.samples[row] = sample
            self.tokens.add(rows, coded)
        self.vectors[rows] = held[1]
        release(self.vectors)
        return True

    def finish(self) -> None:
        """Copy the vector of each text to all passages with that text."""
        import numpy as np

        first_of = self.distinct.first_of
        repeats = np.flatnonzero(first_of != np.arange(len(first_of)))
        for begin in range(0, len(repeats), LOOKUP_ROWS):
            rows = repeats[begin : begin + LOOKUP_ROWS]
            self.vectors[rows] = self.vectors[first_of[rows]]
            release(self.vectors)
        if len(self.stored):
            self.vectors.flush()  # type: ignore[attr-defined]
        del self.vectors
        if self.tokens:
            self.generation.tokens = self._finished(self.tokens)

    @property
    def to_list(self) -> int:
        """The number of token vectors to put into inverted lists, once they are complete."""
        made = self.generation.tokens
        return made.count if made and self.generation.recipe.token_lists else 0

    def write_lists(self, advance: Advance = no_progress) -> None:
        """Write the inverted lists of the token vectors, if the recipe has them."""
        if self.tokens and self.generation.recipe.token_lists:
            write_lists(ListedTexts.written(self.tokens), advance=advance)

    def _finished(self, tokens: TokenWriter) -> TokenVectors:
        tokens.finish()
        old, codec, error = self.generation.old, tokens.codec, tokens.error()
        before = old.manifest.tokens if old is not None else None
        few = len(tokens.samples) < SAMPLE // 2
        if few and before is not None and before.codec == codec:
            error = before.error
        count = int(tokens.entries["tokens"].sum())
        return TokenVectors(codec.bits, codec.dimension, count, error)


def sealed(generation: Path) -> dict[str, FileRecord]:
    """Make the files of a generation survive a power cut; return their sizes and checksums."""
    records = {}
    for path in sorted(generation.iterdir()):
        sync_file(path)
        records[path.name] = FileRecord(path.stat().st_size, checksum(path))
    sync_folder(generation)
    return records


def _writable(path: Path, rows: int, dimension: int) -> Halves:
    """Return vectors mapped to a new file."""
    import numpy as np

    allocate(path, 2 * dimension * rows)
    if not rows:
        return np.empty((0, dimension), np.float16)
    return np.memmap(path, np.float16, "r+", shape=(rows, dimension))


def _vectors_key(embedder: EmbedderCard) -> str:
    """Return a key for everything that a text's vector depends on, so that others never mix in."""
    import xxhash

    made_by = embedder.weights, embedder.dimension, embedder.max_tokens, embedder.document_prompt
    return xxhash.xxh3_64_hexdigest(repr(made_by).encode())


def _generations(folder: Path) -> list[Path]:
    """Return the folders named like generations; the folder may contain other files."""
    folders = (folder / GENERATIONS).glob("*")
    return [path for path in folders if GENERATION_NAME.fullmatch(path.name)]


def next_name(folder: Path) -> str:
    """Return the name of a new generation."""
    numbers = [int(path.name.partition("-")[0]) for path in _generations(folder)]
    return f"{max(numbers, default=0) + 1:06}-{secrets.token_hex(4)}"


def forget_unfinished(folder: Path, embedder: EmbedderCard) -> None:
    """Remove the vectors of an interrupted run that the index no longer needs."""
    Shards(folder / WORK / _vectors_key(embedder)).clear()


def _in_force(folder: Path) -> str | None:
    with suppress(IndexNotFoundError):
        return read_manifest(folder).generation
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left: generations that are not current, and unfinished manifests.

    A generation that is still open elsewhere is removed later. If the manifest cannot be read
    nothing is removed, since another version may be able to read it.
    """
    try:
        keep = _in_force(folder)
    except EttinError:
        return
    leftovers = [path for path in _generations(folder) if path.name != keep]
    if leftovers:
        # A killed run may not have synced its manifest to disk.
        sync_folder(folder)
    for path in leftovers:
        with suppress(OSError):
            shutil.rmtree(path)
    for path in folder.glob(f".{MANIFEST}.*.tmp"):
        with suppress(OSError):
            path.unlink()
