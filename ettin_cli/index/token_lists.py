"""Find the texts of an index whose token vectors may match a query's, as in PLAID.

Token vectors are clustered. tokens.centroids has the middle of each cluster; tokens.lists has, for
each, the texts with a token vector in the cluster, after the offsets of all lists. A text is given
by its first passage. tokens.rows has, for each passage, the position of its text in tokens.texts.
All three are made from the codes alone, and memory-mapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.index.manifest import Manifest, damaged
from ettin_cli.index.mapping import mapped_numbers
from ettin_cli.runtime import product

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index.vectors import Rows
    from ettin_cli.records import Floats

    Numbers = NDArray[np.int64]
    # Clusters, and what a text in the list of each is worth to a query token.
    Probe = tuple[Numbers, Floats]

TOKEN_CENTROIDS = "tokens.centroids"
TOKEN_LISTS = "tokens.lists"
TOKEN_ROWS = "tokens.rows"
# The centroids whose lists are read for a query token.
PROBES = 256


class TokenLists:
    """The inverted lists of a generation; safe to use from any thread.

    Scores do not depend on them, only which texts are scored.

    Args:
        generation: The folder that contains the files.
        manifest: Its manifest.

    Raises:
        IndexDamagedError: A file has another size than its contents need; every method may raise
            this too.
    """

    def __init__(self, generation: Path, manifest: Manifest) -> None:
        import numpy as np

        assert manifest.tokens is not None
        codec = manifest.tokens.codec
        self.folder, self.files = generation, manifest.files
        self.passages = manifest.counts.passages
        sizes = {
            name: self.files[name].bytes for name in (TOKEN_CENTROIDS, TOKEN_LISTS, TOKEN_ROWS)
        }
        count, odd = divmod(sizes[TOKEN_CENTROIDS], 2 * codec.columns)
        listed, rest = divmod(sizes[TOKEN_LISTS] - 8 * (count + 1), 4)
        if odd or rest or listed < 0 or sizes[TOKEN_ROWS] != 4 * self.passages:
            raise damaged(generation / TOKEN_LISTS)
        self._centroids = mapped_numbers(
            generation / TOKEN_CENTROIDS, np.dtype("<f2"), 0, count * codec.columns
        ).reshape(count, codec.columns)
        self._begins = mapped_numbers(generation / TOKEN_LISTS, np.dtype("<u8"), 0, count + 1)
        self._lists = mapped_numbers(
            generation / TOKEN_LISTS, np.dtype("<u4"), 8 * (count + 1), listed
        )
        self._positions = mapped_numbers(generation / TOKEN_ROWS, np.dtype("<u4"), 0, self.passages)

    @cached_property
    def centroids(self) -> Floats:
        """The centroids, checked."""
        import numpy as np

        self._require_intact(TOKEN_CENTROIDS, self._centroids)
        return self._centroids.astype(np.float32)

    @cached_property
    def positions(self) -> Rows:
        """The position of each passage's text, checked."""
        import numpy as np

        self._require_intact(TOKEN_ROWS, self._positions)
        return self._positions.astype(np.int64)

    @cached_property
    def begins(self) -> Numbers:
        """Where each list begins, and the end of the last; checked."""
        import numpy as np

        begins = self._begins.astype(np.int64)
        if begins[0] or begins[-1] != len(self._lists) or (np.diff(begins) < 0).any():
            raise damaged(self.folder / TOKEN_LISTS)
        return begins

    def _require_intact(self, name: str, content: NDArray[np.generic]) -> None:
        import numpy as np
        import xxhash

        seal = xxhash.xxh3_128_hexdigest(np.ascontiguousarray(content).data)
        if seal != self.files[name].checksum:
            raise damaged(self.folder / name)

    def likely(self, tokens: Floats, weights: Floats) -> Floats:
        """Return how well each text may match a query, by the text's first passage.

        For each query token, a text has the highest product with a centroid among those probed in
        whose list it is, or the lowest product probed, from which all are counted.

        Args:
            tokens: Token vectors of the query in the space of the codec.
            weights: One for each.

        Returns:
            One number per passage; 0 for texts in no list that is read, and for repeated texts.
        """
        return self.likely_by(self.probes(tokens, weights))

    def probes(self, tokens: Floats, weights: Floats) -> list[Probe]:
        """Return the lists to read for each query token, and what each is worth, ascending."""
        import numpy as np

        probed = min(PROBES + 1, len(self.centroids))
        if not probed:
            return []
        probes = []
        for products, weight in zip(product(tokens, self.centroids.T), weights, strict=True):
            nearest = np.argpartition(-products, probed - 1)[:probed]
            nearest = nearest[np.argsort(products[nearest], kind="stable")]
            lowest, clusters = products[nearest[0]], nearest[len(nearest) > PROBES :]
            probes.append((clusters, (products[clusters] - lowest) * weight))
        return probes

    def likely_by(self, probes: Sequence[Probe]) -> Floats:
        """Return `likely` from what `probes` returned, perhaps of lists with the same centroids."""
        import numpy as np

        total, best = np.zeros((2, self.passages), np.float32)
        for clusters, worth in probes:
            rows, sizes = self._listed(clusters)
            best[:] = 0
            # Of a text in several lists, the last and highest product remains.
            best[rows] = np.repeat(worth, sizes)
            total += best
        return total

    def _listed(self, clusters: Numbers) -> tuple[Rows, Numbers]:
        """Return the texts in some lists, one list after the other, and the length of each."""
        import numpy as np

        begins, ends = self.begins[clusters], self.begins[clusters + 1]
        parts = [self._lists[b:e] for b, e in zip(begins.tolist(), ends.tolist(), strict=True)]
        rows = np.concatenate(parts).astype(np.int64)
        if len(rows) and int(rows.max()) >= self.passages:
            raise damaged(self.folder / TOKEN_LISTS)
        return rows, ends - begins
