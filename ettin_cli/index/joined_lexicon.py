"""The terms of the shards of an index, as those of one index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from ettin_cli.index.accumulating import Scored
from ettin_cli.index.places import Places
from ettin_cli.index.threads import over_parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index.lexicon import Lexicon, Statistics
    from ettin_cli.index.vectors import Rows


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

    def scores(self, terms: Mapping[str, float], statistics: Statistics | None = None) -> Scored:
        """Return the passages that contain a term of a query, and their scores between 0 and 1.

        Args:
            terms: The weight of each term, such as its count in the query.
            statistics: None: those of these shards.
        """
        import numpy as np

        whole = self.statistics(terms) if statistics is None else statistics

        def scores(part: Lexicon) -> Scored:
            return part.scores(terms, whole)

        found = over_parts(scores, self.parts, len(self._places))
        begins = self._places.begins.tolist()
        return Scored(
            np.concatenate([one.rows + at for one, at in zip(found, begins, strict=False)]),
            np.concatenate([one.scores for one in found]),
        )

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
