"""An index in shards, opened: each shard is an index over consecutive rows of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.errors import IndexDamagedError, IndexNotFoundError
from ettin_cli.index.contents import Contents, open_contents
from ettin_cli.index.joined_lexicon import JoinedLexicon
from ettin_cli.index.joined_passages import JoinedFiles, JoinedPassages, JoinedVectors
from ettin_cli.index.joined_tokens import JoinedTokenLists, JoinedTokens
from ettin_cli.index.manifest import MANIFEST, SHARDS, Manifest, ShardRecord, read_manifest
from ettin_cli.index.mapping import unreadable
from ettin_cli.index.nearest import Nearest
from ettin_cli.storage import checksum

if TYPE_CHECKING:
    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.token_codes import TokenCodec
    from ettin_cli.index.token_vectors import TokenParts
    from ettin_cli.index.vectors import Stored

# Shards opened at once, as most of the time may be spent waiting for a network's disk.
OPENED_AT_ONCE = 8


@dataclass(frozen=True)
class JoinedContents:
    """The files of the shards of an index, all mapped, so that a writer may delete them.

    Args:
        manifest: That of the index.
        parts: At least one shard; in the order of their rows.
    """

    manifest: Manifest
    parts: Sequence[Contents]

    @cached_property
    def files(self) -> JoinedFiles:
        """The source files."""
        return JoinedFiles(self.parts)

    @cached_property
    def passages(self) -> JoinedPassages:
        """The passages."""
        return JoinedPassages(self.parts, self.files)

    @cached_property
    def vectors(self) -> JoinedVectors:
        """The vector of every passage."""
        return JoinedVectors([part.vectors for part in self.parts])

    @cached_property
    def nearest(self) -> Nearest:
        """Finds the rows whose vectors are nearest to a query's."""
        parts = [part.vector_part for part in self.parts]
        return Nearest(parts, self.manifest.factory, self.manifest.search)

    @cached_property
    def lexicon(self) -> JoinedLexicon | None:
        """The terms of the passages; None if the shards have none."""
        parts = [part.lexicon for part in self.parts if part.lexicon is not None]
        return JoinedLexicon(parts) if len(parts) == len(self.parts) else None

    @cached_property
    def tokens(self) -> JoinedTokens | None:
        """The token vectors; None if the shards have none."""
        parts = [part.tokens for part in self.parts if part.tokens is not None]
        if self.manifest.tokens is None:
            return None
        return JoinedTokens(parts, self.manifest.tokens.codec, self._first_rows)

    @cached_property
    def token_lists(self) -> JoinedTokenLists | None:
        """The inverted lists of the token vectors; None if the shards have none."""
        parts = [part.token_lists for part in self.parts if part.token_lists is not None]
        if self.tokens is None or len(parts) < len(self.parts):
            return None
        return JoinedTokenLists(parts, self.tokens)

    @property
    def _first_rows(self) -> list[int]:
        return [part.vector_part.first for part in self.parts]

    def known_vectors(self) -> Iterator[tuple[Hashes, Stored]]:
        """Yield the vectors of all passages with the hashes of their texts, in pieces."""
        for part in self.parts:
            yield from part.known_vectors()

    def known_tokens(self, codec: TokenCodec) -> TokenParts | None:
        """Return the token vectors of all texts; None if they are compressed otherwise."""
        tokens = self.tokens
        return tokens.known() if tokens is not None and tokens.codec == codec else None


def open_shards(folder: Path, manifest: Manifest) -> JoinedContents:
    """Open the shards that the manifest of an index names.

    Raises:
        IndexDamagedError: A shard is missing or another one, or a file of it is missing, of
            another size, or unreadable.
    """
    firsts = accumulate((shard.passages for shard in manifest.shards), initial=0)

    def opened(shard: ShardRecord, first: int) -> Contents:
        own = shard_manifest(folder, shard)
        return open_contents(folder / SHARDS / shard.name, own, manifest, first)

    with ThreadPoolExecutor(min(OPENED_AT_ONCE, len(manifest.shards))) as pool:
        # Without the last of the first rows, which is their number.
        parts = list(pool.map(opened, manifest.shards, firsts))
    return JoinedContents(manifest, parts)


def shard_manifest(folder: Path, shard: ShardRecord) -> Manifest:
    """Return the manifest of a shard of an index.

    Raises:
        IndexDamagedError: It is missing, damaged or another one.
        EttinError: It cannot be read.
    """
    path = folder / SHARDS / shard.name / MANIFEST
    try:
        intact = checksum(path) == shard.checksum
        manifest = read_manifest(path.parent)
    except (FileNotFoundError, NotADirectoryError, IndexNotFoundError) as error:
        raise IndexDamagedError(f"{path} is missing", folder=folder, path=path) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if not intact or manifest.shards or manifest.counts.passages != shard.passages:
        what = "is not the one that the index names"
        raise IndexDamagedError(f"{path} {what}", folder=folder, path=path)
    return manifest
