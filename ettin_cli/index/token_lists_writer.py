"""Cluster the token vectors of a generation, and write its inverted lists."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ettin_cli.index.mapping import mapped_numbers
from ettin_cli.index.token_lists import TOKEN_CENTROIDS, TOKEN_LISTS, TOKEN_ROWS
from ettin_cli.index.token_vectors import TOKEN_CODES
from ettin_cli.records import Advance, no_progress
from ettin_cli.runtime import product
from ettin_cli.storage import allocate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index.joined_tokens import JoinedTokens
    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.token_codes import Bytes, TokenCodec
    from ettin_cli.index.token_lists import Numbers
    from ettin_cli.index.token_vectors import StoredTokens
    from ettin_cli.index.token_writer import TokenWriter
    from ettin_cli.records import Floats

# As many centroids as PLAID has for a number of token vectors, within limits: each should stand for
# some vectors, and a query is compared with all.
A_ROOT, MOST_CENTROIDS, LEAST_VECTORS = 16, 16_384, 16
SAMPLE_A_CENTROID, SAMPLE_A_GROUP, ROUNDS, SEED = 16, 256, 6, 1
# Token vectors in memory at a time.
BLOCK = 65_536


def centroids_for(vectors: int) -> int:
    """Return the number of centroids for a number of token vectors.

    >>> centroids_for(0), centroids_for(1000), centroids_for(100_000), centroids_for(10**9)
    (1, 62, 4096, 16384)
    """
    usual = 1 << round(math.log2(A_ROOT * math.sqrt(max(1, vectors))))
    return max(1, min(usual, MOST_CENTROIDS, vectors // LEAST_VECTORS))


class Clusters(NamedTuple):
    """Clusters of vectors, in groups, so that a vector is compared with few of them.

    Args:
        groups: The centroid of each group.
        centroids: Those of the clusters, group by group.
        begins: Where those of each group begin, and the end.
    """

    groups: Floats
    centroids: Floats
    begins: Numbers

    @classmethod
    def of(cls, sample: Floats, count: int) -> Clusters:
        """Return about `count` clusters of some vectors."""
        import numpy as np

        wanted = max(1, round(math.sqrt(count)))
        groups = _means(sample[:: max(1, len(sample) // (wanted * SAMPLE_A_GROUP))], wanted)
        nearest = product(sample, groups.T).argmax(axis=1)
        parts = []
        for number in range(len(groups)):
            members = sample[nearest == number]
            wanted = max(1, round(count * len(members) / len(sample)))
            parts.append(_means(members, wanted) if len(members) else groups[number : number + 1])
        begins = np.cumsum([0, *map(len, parts)])
        return cls(groups, np.concatenate(parts), begins)

    def save(self, path: Path) -> None:
        """Write the clusters to a file."""
        import numpy as np

        with path.open("wb") as file:
            np.savez(file, groups=self.groups, centroids=self.centroids, begins=self.begins)

    @classmethod
    def load(cls, path: Path) -> Clusters:
        """Return the clusters of a file written by `save`."""
        import numpy as np

        with np.load(path, allow_pickle=False) as stored:
            return cls(stored["groups"], stored["centroids"], stored["begins"])

    def nearest(self, vectors: Floats) -> NDArray[np.uint16]:
        """Return the cluster of each vector: the nearest in the nearest group."""
        import numpy as np

        group = product(vectors, self.groups.T).argmax(axis=1)
        order = np.argsort(group, kind="stable")
        ends = np.cumsum(np.bincount(group, minlength=len(self.groups)))
        found = np.empty(len(vectors), np.uint16)
        for members, begin, end in zip(
            np.split(order, ends[:-1]), self.begins[:-1], self.begins[1:], strict=True
        ):
            products = product(vectors[members], self.centroids[begin:end].T)
            found[members] = begin + products.argmax(axis=1)
        return found


def _means(vectors: Floats, count: int) -> Floats:
    """Return unit centroids by k-means; fewer if there are fewer vectors.

    All products are computed in this thread, so the same vectors have the same centroids however
    many processors there are, and a busy one costs no more than its share.
    """
    import numpy as np

    if len(vectors) <= count:
        return _unit(vectors)
    chosen = np.random.default_rng(SEED).choice(len(vectors), count, replace=False)
    means = _unit(vectors[np.sort(chosen)])
    for _ in range(ROUNDS):
        nearest = product(vectors, means.T).argmax(axis=1)
        sizes = np.bincount(nearest, minlength=count)
        # An empty cluster keeps the vector that it began with.
        held = np.flatnonzero(sizes)
        begins = (np.cumsum(sizes) - sizes)[held]
        ordered = vectors[np.argsort(nearest, kind="stable")]
        means[held] = _unit(np.add.reduceat(ordered, begins, axis=0))
    return means


def _unit(vectors: Floats) -> Floats:
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


class ListedTexts(NamedTuple):
    """The texts of a generation whose token vectors are complete, in the order of their passages.

    Args:
        folder: The folder of the generation.
        first: The first passage with each text.
        counts: The number of token vectors of each.
        positions: The position of each passage's text in the list of texts.
    """

    folder: Path
    codec: TokenCodec
    first: Numbers
    counts: Numbers
    positions: Numbers

    @classmethod
    def written(cls, tokens: TokenWriter) -> ListedTexts:
        """Return those that a writer has written."""
        import numpy as np

        order = tokens.order
        first = tokens.distinct.rows[order]
        counts = tokens.entries["tokens"][order].astype(np.int64)
        positions = order[np.searchsorted(first, tokens.distinct.first_of)]
        return cls(tokens.folder, tokens.codec, first, counts, positions)

    @classmethod
    def stored(cls, folder: Path, tokens: StoredTokens, hashes: Hashes) -> ListedTexts:
        """Return those of a generation.

        Args:
            hashes: Those of the texts of all passages.
        """
        import numpy as np

        first = tokens.first_rows(np.arange(len(tokens)))
        order = np.argsort(first)
        counts = tokens.entries["tokens"][order].astype(np.int64)
        return cls(folder, tokens.codec, first[order], counts, tokens.find_all(hashes))


def write_lists(
    texts: ListedTexts, clusters: Clusters | None = None, advance: Advance = no_progress
) -> None:
    """Write the centroids, lists and rows of a generation whose token vectors are complete.

    Args:
        clusters: None: those of its own token vectors.
        advance: Called with the number of token vectors that were just assigned, of all.
    """
    import numpy as np

    folder, first, counts = texts.folder, texts.first, texts.counts
    (folder / TOKEN_ROWS).write_bytes(texts.positions.astype("<u4").tobytes())
    width, total = texts.codec.width, int(counts.sum())
    codes = mapped_numbers(folder / TOKEN_CODES, np.dtype("u1"), 0, total * width)
    codes = codes.reshape(total, width)
    if clusters is None:
        clusters = _clusters(codes, texts.codec)
    (folder / TOKEN_CENTROIDS).write_bytes(clusters.centroids.astype("<f2").tobytes())
    assigned = np.empty(total, np.uint16)
    sizes = np.zeros(len(clusters.centroids), np.int64)
    for some, tokens in _blocks(counts) if total else ():
        assigned[tokens] = clusters.nearest(texts.codec.decoded(codes[tokens]))
        sizes += np.bincount(_pairs(assigned[tokens], counts[some])[0], minlength=len(sizes))
        advance(tokens.stop - tokens.start)
    begins = np.cumsum([0, *sizes])
    path = folder / TOKEN_LISTS
    allocate(path, begins.nbytes + 4 * int(begins[-1]))
    with path.open("r+b") as file:
        file.write(begins.astype("<u8").tobytes())
    if total:
        lists = np.memmap(path, "<u4", "r+", offset=begins.nbytes, shape=(int(begins[-1]),))
        _fill(lists, begins, first, counts, assigned)
        lists.flush()


def clusters_of(tokens: JoinedTokens) -> Clusters:
    """Return the clusters of the token vectors of an index, the same in however many shards."""
    import numpy as np

    known, distinct = tokens.known(), tokens.distinct
    order = np.argsort(tokens.first_rows(distinct))
    ends = np.cumsum(known.tokens[order].astype(np.int64))

    def read(wanted: Numbers) -> Bytes:
        texts = np.searchsorted(ends, wanted, side="right")
        within = wanted - (ends[texts] - known.tokens[order][texts])
        begins = known.begins[order][texts].astype(np.int64) + within * tokens.codec.width
        rows = [known.read(begin, begin + tokens.codec.width) for begin in begins.tolist()]
        return np.concatenate(rows).reshape(len(rows), -1)

    return _sampled(int(ends[-1]) if len(ends) else 0, read, tokens.codec)


def _clusters(codes: Bytes, codec: TokenCodec) -> Clusters:
    return _sampled(len(codes), codes.__getitem__, codec)


def _sampled(total: int, read: Callable[[Numbers], Bytes], codec: TokenCodec) -> Clusters:
    """Return the clusters of some token vectors, by a sample of them.

    Args:
        total: How many there are.
        read: Returns the codes of those with some numbers, ascending.
    """
    import numpy as np

    if not total:
        none = np.empty((0, codec.columns), np.float32)
        return Clusters(none, none, np.zeros(1, np.int64))
    count = centroids_for(total)
    sample = np.random.default_rng(SEED).choice(
        total, min(total, SAMPLE_A_CENTROID * count), replace=False
    )
    return Clusters.of(codec.decoded(read(np.sort(sample))), count)


def _fill(
    lists: NDArray[np.uint32],
    begins: Numbers,
    first: Numbers,
    counts: Numbers,
    assigned: NDArray[np.uint16],
) -> None:
    """Write the lists, each text once in a list, in the order of the passages."""
    import numpy as np

    ends = begins[:-1].copy()
    for texts, tokens in _blocks(counts):
        clusters, owners = _pairs(assigned[tokens], counts[texts])
        sizes = np.bincount(clusters, minlength=len(ends))
        within = np.arange(len(clusters)) - (np.cumsum(sizes) - sizes)[clusters]
        lists[ends[clusters] + within] = first[texts][owners]
        ends += sizes


def _blocks(counts: Numbers) -> Iterator[tuple[slice, slice]]:
    """Yield the texts and the token vectors of each block, which has complete texts."""
    import numpy as np

    ends = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        yield slice(begin, end), slice(before, int(ends[end - 1]))
        begin = end


def _pairs(clusters: NDArray[np.uint16], counts: Numbers) -> tuple[Numbers, Numbers]:
    """Return each cluster with each text that has a vector in it, in this order.

    Args:
        clusters: Of the vectors of some texts, one text after the other.
        counts: The number of vectors of each text.
    """
    import numpy as np

    owners = np.repeat(np.arange(len(counts)), counts)
    pairs = np.unique(clusters.astype(np.int64) * len(counts) + owners)
    return pairs // len(counts), pairs % len(counts)
