"""The token vectors of the shards of an index, as those of one index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from ettin_cli.index.places import Places
from ettin_cli.index.token_lists import TOKEN_CENTROIDS
from ettin_cli.index.token_vectors import TokenParts

if TYPE_CHECKING:
    from ettin_cli.errors import IndexDamagedError
    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.token_codes import Bytes, TokenCodec
    from ettin_cli.index.token_lists import TokenLists
    from ettin_cli.index.token_vectors import StoredTokens, TextTokenCodes
    from ettin_cli.index.vectors import Rows
    from ettin_cli.records import Floats


class JoinedTokens:
    """The token vectors of shards. A text that is in several shards is that of the first.

    Args:
        parts: Those of each shard, in order.
        codec: Their compression.
        rows: The first row of each shard.
    """

    def __init__(
        self, parts: Sequence[StoredTokens], codec: TokenCodec, rows: Sequence[int]
    ) -> None:
        self.parts, self.codec, self._rows = parts, codec, rows
        self.places = Places([len(part) for part in parts])

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def _repeats(self) -> tuple[Rows, Rows]:
        """The positions of the texts that an earlier shard has too, ascending, and those there."""
        import numpy as np

        keys = np.sort(np.concatenate([part.keys for part in self.parts]))
        # Few, as most texts are in one shard, and no other has half of their hash.
        shared = np.unique(keys[1:][keys[1:] == keys[:-1]])
        hashes = np.concatenate([_hashes_of(part, shared) for part in self.parts])
        hashes = np.unique(hashes, axis=0)
        firsts = self.find(hashes)
        again, first = [], []
        for begin, part in zip(self.places.begins, self.parts, strict=False):
            own = part.find(hashes)
            held = (own >= 0) & (own + begin != firsts)
            again.append(own[held] + begin)
            first.append(firsts[held])
        positions, origins = np.concatenate(again), np.concatenate(first)
        order = np.argsort(positions)
        return positions[order], origins[order]

    def merged(self, positions: Rows) -> Rows:
        """Return positions with each text's position in the first shard that has it."""
        import numpy as np

        again, first = self._repeats
        if not len(again):
            return positions
        at = np.minimum(np.searchsorted(again, positions), len(again) - 1)
        return np.where(again[at] == positions, first[at], positions)

    @cached_property
    def distinct(self) -> Rows:
        """The position of each distinct text, ascending."""
        import numpy as np

        return np.delete(np.arange(len(self)), self._repeats[0])

    def first_rows(self, positions: Rows) -> Rows:
        """Return the first passage with each of the texts at some positions.

        Raises:
            IndexDamagedError: One is not a passage of the index.
        """
        import numpy as np

        rows = np.empty(len(positions), np.int64)
        for part, at, own in self.places.split(positions):
            rows[at] = self.parts[part].first_rows(own) + self._rows[part]
        return rows

    def find(self, hashes: Hashes) -> Rows:
        """Return the position of each text by its hash; -1 if it is not stored."""
        import numpy as np

        positions = np.full(len(hashes), -1, np.int64)
        for begin, part in zip(self.places.begins, self.parts, strict=False):
            left = np.flatnonzero(positions < 0)
            if not len(left):
                break
            own = part.find(hashes[left])
            positions[left[own >= 0]] = own[own >= 0] + begin
        return positions

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
        return self.parts[0].damage()

    def read(self, positions: Sequence[int]) -> Iterator[TextTokenCodes]:
        """Yield the token vectors of the texts at some positions.

        Raises:
            IndexDamagedError: They do not match their checksum.
        """
        import numpy as np

        wanted = np.asarray(positions, np.int64)
        parts = np.searchsorted(self.places.begins, wanted, side="right") - 1
        runs = np.split(np.arange(len(wanted)), np.flatnonzero(np.diff(parts)) + 1)
        for run in runs if len(wanted) else ():
            part = int(parts[run[0]])
            own = wanted[run] - self.places.begins[part]
            for text in self.parts[part].read(own.tolist()):
                yield replace(text, row=text.row + self._rows[part])

    def known(self) -> TokenParts:
        """Return the distinct texts."""
        import numpy as np

        parts = [part.parts() for part in self.parts]
        sizes = Places([len(part.codes) for part in self.parts])
        begins = [p.begins + np.uint64(b) for p, b in zip(parts, sizes.begins, strict=False)]
        kept = self.distinct

        def read(begin: int, end: int) -> Bytes:
            part = int(np.searchsorted(sizes.begins, begin, side="right")) - 1
            first = int(sizes.begins[part])
            return parts[part].read(begin - first, end - first)

        return TokenParts(
            np.concatenate([part.hashes for part in parts])[kept],
            np.concatenate(begins)[kept],
            np.concatenate([part.tokens for part in parts])[kept],
            np.concatenate([part.truncated for part in parts])[kept],
            read,
        )


def _hashes_of(part: StoredTokens, keys: Rows) -> Hashes:
    """Return the hashes of a shard's texts that begin with one of some keys, sorted."""
    import numpy as np

    begins = np.searchsorted(part.keys, keys, side="left")
    ends = np.searchsorted(part.keys, keys, side="right")
    at = np.concatenate(
        [np.arange(b, e) for b, e in zip(begins.tolist(), ends.tolist(), strict=True)]
        or [np.empty(0, np.int64)]
    )
    return np.stack([part.keys[at], part.entries["rest"][at]], axis=1).astype(np.uint64)


class JoinedTokenLists:
    """The inverted lists of shards, which have the same clusters.

    Args:
        parts: Those of each shard, in order.
        tokens: Their token vectors.
    """

    def __init__(self, parts: Sequence[TokenLists], tokens: JoinedTokens) -> None:
        self.parts, self.tokens = parts, tokens

    @cached_property
    def positions(self) -> Rows:
        """The position of each passage's text, checked."""
        import numpy as np

        begins = self.tokens.places.begins
        own = [part.positions + at for part, at in zip(self.parts, begins, strict=False)]
        return self.tokens.merged(np.concatenate(own))

    def likely(self, tokens: Floats, weights: Floats) -> Floats:
        """Return how well each text may match a query, by the text's first passage."""
        import numpy as np

        probes = {}
        likely = []
        for part in self.parts:
            key = part.files[TOKEN_CENTROIDS].checksum
            if key not in probes:
                probes[key] = part.probes(tokens, weights)
            likely.append(part.likely_by(probes[key]))
        return np.concatenate(likely)
