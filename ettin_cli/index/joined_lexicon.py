"""The terms of the shards of an index, as those of one index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from ettin_cli.index.accumulating import best_first
from ettin_cli.index.places import Places
from ettin_cli.index.threads import over_parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index.lexicon import Lexicon, Statistics
    from ettin_cli.index.vectors import Rows
    from ettin_cli.records import Floats


class JoinedLexicon:
    """BM25 scores for every passage of an index in shards, by the statistics of all of them.

    Args:
        parts: The terms of each shard, in order; at least one.
    """

    def __init__(self, parts: Sequence[Lexicon]) -> None:
        self.parts = parts
        self._places = Places([len(part.lengths) for part in parts])

    def __len__(self) -> int:
        import pyarrow as pa

        return len(pa.chunked_array([part.term_names for part in self.parts]).unique())

    @property
    def made_by(self) -> str:
        """The settings and versions that these terms were made with; "" if they differ."""
        versions = {part.made_by for part in self.parts}
        return versions.pop() if len(versions) == 1 else ""

    def statistics(self, terms: Iterable[str]) -> Statistics:
        """Return what the weights of some terms need."""
        wanted = list(terms)
        return reduce(add, (part.statistics(wanted) for part in self.parts))

    def scores(
        self, terms: Mapping[str, float], statistics: Statistics | None = None
    ) -> JoinedScores:
        """Return the scores of the passages for a query, between 0 and 1.

        Args:
            terms: The weight of each term, such as its count in the query.
            statistics: None: those of these shards.
        """
        whole = self.statistics(terms) if statistics is None else statistics
        return JoinedScores(self.parts, self._places, terms, whole)

    def score_text(
        self,
        terms: Mapping[str, float],
        text: Mapping[str, int],
        statistics: Statistics | None = None,
    ) -> float:
        """Return the score of a text outside the index for a query, as a separate document.

        Args:
            terms, statistics: As in `scores`.
            text: The count of each term of the text.
        """
        whole = self.statistics(terms) if statistics is None else statistics
        return self.parts[0].score_text(terms, text, whole)

    def postings(self, term: str) -> tuple[Rows, NDArray[np.int64]]:
        """Return the rows that contain a term, ascending, and its count in each."""
        import numpy as np

        found = [part.postings(term) for part in self.parts]
        begins = self._places.begins.tolist()
        return (
            np.concatenate(
                [rows.astype(np.int64) + at for (rows, _), at in zip(found, begins, strict=False)]
            ),
            np.concatenate([counts.astype(np.int64) for _, counts in found]),
        )

    def counts_in(
        self, terms: Sequence[str], rows: Rows
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the count of each term in some rows, and the number of terms of each row.

        Shapes (rows, terms) and (rows,).
        """
        import numpy as np

        counts = np.zeros((len(rows), len(terms)), np.int64)
        lengths = np.zeros(len(rows), np.int64)
        for part, at, own in self._places.split(rows):
            counts[at], lengths[at] = self.parts[part].counts_in(terms, own)
        return counts, lengths

    def holding(self, terms: Sequence[str]) -> Rows:
        """Return the rows that contain all of the given terms."""
        import numpy as np

        begins = self._places.begins.tolist()
        found = [p.holding(terms) + at for p, at in zip(self.parts, begins, strict=False)]
        return np.concatenate(found)


class JoinedScores:
    """The scores of all passages for a query, computed a shard at a time; only the best are kept.

    So a query takes memory for the postings of a shard, not for those of all.

    Args:
        parts: The terms of each shard.
        terms: The weight of each term of the query.
        statistics: Those of all shards.
    """

    def __init__(
        self,
        parts: Sequence[Lexicon],
        places: Places,
        terms: Mapping[str, float],
        statistics: Statistics,
    ) -> None:
        self._parts, self._places = parts, places
        self._terms, self._statistics = terms, statistics
        # The rows of the highest scores of all, for a sweep that asks for several depths.
        self._deepest = 0
        self._kept: tuple[Rows, Floats] | None = None

    def highest(self, depth: int, among: Rows | None = None) -> tuple[Rows, Floats]:
        """Return the rows of the highest scores, best first, ties in row order, and the scores.

        Args:
            among: Rows to choose from; None: all.
        """
        if among is not None:
            return self._merged(depth, among)
        if self._kept is None or self._deepest < depth:
            self._deepest, self._kept = depth, self._merged(depth, None)
        rows, scores = self._kept
        return rows[:depth], scores[:depth]

    def _merged(self, depth: int, among: Rows | None) -> tuple[Rows, Floats]:
        import numpy as np

        owned = {} if among is None else {at: own for at, _, own in self._places.split(among)}
        wanted = range(len(self._parts)) if among is None else list(owned)

        def best(at: int) -> tuple[Rows, Floats]:
            scored = self._parts[at].scores(self._terms, self._statistics)
            rows, scores = scored.highest(depth, owned.get(at))
            return rows + self._places.begins[at], scores

        found = over_parts(best, wanted, len(self._places))
        none = np.empty(0, np.int64), np.empty(0, np.float32)
        rows, scores = map(np.concatenate, zip(none, *found, strict=True))
        order = best_first(rows, scores, depth)
        return rows[order], scores[order]

    def of(self, rows: Rows) -> Floats:
        """Return the scores of some rows; 0 for a row that has none."""
        import numpy as np

        scores = np.zeros(len(rows), np.float32)
        for part, at, own in self._places.split(rows):
            scores[at] = self._parts[part].scores(self._terms, self._statistics, own).of(own)
        return scores
