"""Write the shards of an index, and the manifest that names them.

A shard is an ordinary index that is never changed: its folder is named by what it contains. A run
makes new shards beside those in force and then switches to them by replacing one file, the manifest
of the whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from ettin_cli import __version__
from ettin_cli.errors import EttinError
from ettin_cli.index.contents import CLUSTERS, EMBEDDINGS, QUANTIZER, VECTORS
from ettin_cli.index.factories import read_index, write_codes
from ettin_cli.index.known_vectors import joined_hashes
from ettin_cli.index.manifest import (
    GENERATIONS,
    MANIFEST,
    SHARD_NAME,
    SHARDS,
    WORK,
    Counts,
    Manifest,
    RecordedSource,
    ShardRecord,
    TokenVectors,
    read_manifest,
    with_files,
    write_manifest,
)
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import damaged_files
from ettin_cli.index.token_lists import TOKEN_LISTS
from ettin_cli.index.token_lists_writer import Clusters, ListedTexts, write_lists
from ettin_cli.index.token_vectors import StoredTokens
from ettin_cli.index.vectors import BLOCK_ROWS
from ettin_cli.index.writer import BuildRecipe, next_name, remove_leftovers, sealed
from ettin_cli.storage import checksum, make_folder
from ettin_cli.text.lexical import Terms

if TYPE_CHECKING:
    from ettin_cli.index.source_files import FileEntry
    from ettin_cli.index.vectors import Stored

NAME_DIGITS = 16
# The folder in `work/` with the passages of shards to be built.
DRAFTS = "passages.drafts"


def shard_name(recipe: BuildRecipe, passages: Path, entries: Sequence[FileEntry]) -> str:
    """Return the name of the shard with some passages and files, which nothing else has.

    Args:
        passages: The file of the passages.
    """
    import xxhash

    files = [replace(entry, mtime_ns=0) for entry in entries]
    content = recipe, Terms(recipe.language).made_by, checksum(passages), files
    return xxhash.xxh3_128_hexdigest(repr(content).encode())[:NAME_DIGITS]


def place_of(folder: Path, name: str, taken: Container[str] = ()) -> Path:
    """Return the folder for a shard: one that is complete or to be written, not a damaged one.

    Args:
        taken: Names of shards that are not to be used, although they may contain the same.
    """
    number, place = 1, folder / SHARDS / name
    while place.name in taken or _is_damaged(place):
        number += 1
        place = folder / SHARDS / f"{name}-{number}"
    return place


def _is_damaged(place: Path) -> bool:
    if not (place / MANIFEST).exists():
        return False
    try:
        return bool(damaged_files(place))
    except EttinError:
        return True


def is_complete(place: Path) -> bool:
    """Return whether the folder of a shard has all of its files."""
    return (place / MANIFEST).exists()


def intact_leftovers(folder: Path, named: Container[str]) -> list[Path]:
    """Return the folders of complete shards that an interrupted run has left.

    Args:
        named: The names of the shards of the index.
    """
    if not (folder / SHARDS).is_dir():
        return []
    left = sorted(
        place
        for place in (folder / SHARDS).iterdir()
        if place.name not in named and SHARD_NAME.fullmatch(place.name)
    )
    return [place for place in left if is_complete(place) and not _is_damaged(place)]


@dataclass(frozen=True, slots=True)
class Shared:
    """What all shards of an index are made with beside the recipe: files of its generation.

    Args:
        quantizer: A trained, empty index of FAISS that compresses vectors; None: they are exact.
        clusters: Those of token vectors; None: there are no lists of token vectors.
    """

    quantizer: Path | None = None
    clusters: Path | None = None

    @classmethod
    def of(cls, folder: Path, manifest: Manifest, damaged: Sequence[str] = ()) -> Shared:
        """Return the files of an index, except damaged ones."""
        generation = folder / GENERATIONS / manifest.generation
        paths = {name: generation / name for name in (QUANTIZER, CLUSTERS)}
        there = [n for n, p in paths.items() if n in manifest.files and str(p) not in damaged]
        return cls(*(paths[name] if name in there else None for name in (QUANTIZER, CLUSTERS)))

    def copied(self, generation: Path) -> Shared:
        """Return the files, copied into a new generation."""
        for path in (self.quantizer, self.clusters):
            if path:
                shutil.copyfile(path, generation / path.name)
        return Shared(
            self.quantizer and generation / QUANTIZER, self.clusters and generation / CLUSTERS
        )

    def place(self, folder: Path, name: str, taken: Container[str] = ()) -> Path:
        """Return the folder for a shard that is made with these files.

        Args:
            name: That of the shard made without.
            taken: As of `place_of`.
        """
        import xxhash

        seals = [checksum(path) for path in (self.quantizer, self.clusters) if path]
        if seals:
            content = " ".join([name, *seals]).encode()
            name = xxhash.xxh3_128_hexdigest(content)[:NAME_DIGITS]
        return place_of(folder, name, taken)


def finish(place: Path, shard: Path, recipe: BuildRecipe, factory: str, shared: Shared) -> None:
    """Make a shard with the passages of another, compressed and listed as in all shards.

    Args:
        place: Its folder.
        shard: The shard with exact vectors and without lists.
        factory: What the factory of the recipe stands for.
    """
    remove_leftovers(place)
    with Index(shard) as source:
        generation = place / GENERATIONS / next_name(place)
        make_folder(generation)
        for path in source.generation.iterdir():
            # Compressed vectors are written instead.
            if path.name != VECTORS or not shared.quantizer:
                _linked(path, generation / path.name)
        if shared.quantizer:
            _compress(source, shared.quantizer, factory, generation)
        if shared.clusters:
            assert isinstance(source.tokens, StoredTokens)
            hashes = joined_hashes(source.passages.hashes())
            texts = ListedTexts.stored(generation, source.tokens, hashes)
            write_lists(texts, Clusters.load(shared.clusters))
        manifest = replace(
            source.manifest, generation=generation.name, factory=factory, asked=recipe.factory
        )
        write_manifest(place, with_files(manifest, sealed(generation)))


def _compress(source: Index, quantizer: Path, factory: str, generation: Path) -> None:
    """Write the compressed vectors of a shard, and the exact ones in a file of their own."""
    vectors = source.vectors
    with (generation / EMBEDDINGS).open("wb") as file:
        for begin in range(0, len(vectors), BLOCK_ROWS):
            file.write(vectors[begin : begin + BLOCK_ROWS].astype("<f2").tobytes())
    codes = cast("Stored", vectors)
    write_codes(read_index(quantizer), factory, codes, generation / VECTORS)


def _linked(path: Path, target: Path) -> None:
    """Put a file that is never changed into another folder too, without a copy where possible."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


class SearchedBy(NamedTuple):
    """How the vectors of all shards are searched."""

    factory: str
    parameters: Mapping[str, int]
    recall: float


class ShardedGeneration:
    """A new generation of an index in shards; without `commit` the index is unchanged.

    Args:
        folder: The index's folder, held for writing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = next_name(folder)
        self.path = folder / GENERATIONS / self.name
        make_folder(self.path)

    def commit(
        self,
        places: Sequence[Path],
        recipe: BuildRecipe,
        sources: tuple[RecordedSource, ...],
        searched: SearchedBy,
        asked_shards: int | None,
    ) -> Manifest:
        """Make shards the current ones, in their order, and remove those of before."""
        manifests = [read_manifest(place) for place in places]
        manifest = Manifest(
            generation=self.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=__version__,
            embedder=recipe.embedder,
            chunk_size=recipe.chunk_size,
            chunk_overlap=recipe.chunk_overlap,
            factory=searched.factory,
            recall=searched.recall,
            search=searched.parameters,
            counts=_counts(places),
            sources=sources,
            asked=recipe.factory,
            language=recipe.language,
            reading=recipe.reading,
            tokens=_tokens(manifests),
            shards=tuple(
                ShardRecord(place.name, one.counts.passages, checksum(place / MANIFEST))
                for place, one in zip(places, manifests, strict=True)
            ),
            asked_shards=asked_shards,
        )
        write_manifest(self.folder, with_files(manifest, sealed(self.path)))
        remove_leftovers(self.folder)
        remove_unnamed(self.folder)
        return read_manifest(self.folder)

    def abandon(self) -> None:
        """Remove the written files, except the shards, from which the next run goes on."""
        with suppress(EttinError, OSError):
            if read_manifest(self.folder).generation == self.name:
                return
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            (self.folder / SHARDS).rmdir()


def remove_unnamed(folder: Path) -> None:
    """Remove the shards that an index does not name, and the passages of an unfinished run."""
    shutil.rmtree(folder / WORK / DRAFTS, ignore_errors=True)
    with suppress(OSError):
        (folder / WORK).rmdir()
    named = {shard.name for shard in read_manifest(folder).shards}
    if (folder / SHARDS).is_dir():
        for place in (folder / SHARDS).iterdir():
            if place.name not in named and SHARD_NAME.fullmatch(place.name):
                shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):
            (folder / SHARDS).rmdir()


def _counts(places: Sequence[Path]) -> Counts:
    """Return the totals of shards; a file in several of them counts once."""
    manifests = [read_manifest(place).counts for place in places]
    files, last = 0, None
    for place in places:
        with Index(place) as shard:
            held = [(one.source, one.name) for one in shard.files if one.passages]
        files += len(held) - (1 if held and held[0] == last else 0)
        last = held[-1] if held else last
    return Counts(
        files=files,
        documents=sum(one.documents for one in manifests),
        passages=sum(one.passages for one in manifests),
        rejected=sum(one.rejected for one in manifests),
        truncated=sum(one.truncated for one in manifests),
    )


def _tokens(manifests: Sequence[Manifest]) -> TokenVectors | None:
    """Return the token vectors of all shards; the error is the mean over those that know it."""
    made = [one.tokens for one in manifests if one.tokens]
    if not made:
        return None
    known = [(one.count, one.error) for one in made if one.error is not None and one.count]
    total = sum(count for count, _ in known)
    error = sum(count * error for count, error in known) / total if known else None
    count = sum(one.count for one in made)
    return TokenVectors(
        made[0].bits, made[0].dimension, count, None if error is None else round(error, 4)
    )


def is_finished(place: Path, recipe: BuildRecipe, factory: str) -> bool:
    """Return whether a shard is compressed and listed as it will stay."""
    manifest = read_manifest(place)
    compressed = manifest.factory == factory or not manifest.counts.passages
    return compressed and (TOKEN_LISTS in manifest.files) == recipe.token_lists


def record_search(place: Path, search: Mapping[str, int], recall: float) -> None:
    """Record the search parameters of the whole in a shard that no manifest names yet."""
    # An interrupted run may have left a draft of the manifest.
    remove_leftovers(place)
    write_manifest(place, replace(read_manifest(place), search=search, recall=recall))
