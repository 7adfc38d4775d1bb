"""The rows whose vectors are nearest to a query's, by the FAISS files of an index's parts.

What is found does not depend on how the rows are divided, nor on the order in which FAISS lists
rows of equal score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.index.manifest import damaged
from ettin_cli.index.threads import over_parts
from ettin_cli.index.vectors import EXACT, MARGIN, is_graph, to_compare
from ettin_cli.runtime import hold_to_one_thread

if TYPE_CHECKING:
    from ettin_cli.index.vectors import Rows
    from ettin_cli.records import Floats

    Found = tuple[Rows, Floats]

# How many rows more than wanted are asked for at first, and how many times as many each time that
# there may be further rows of the same score. FAISS returns thousands in the time of a hundred.
SLACK, GROWTH = 32, 64


@dataclass(frozen=True)
class VectorPart:
    """The FAISS index of consecutive rows.

    Args:
        first: The first of them.
        path: Its file.
    """

    first: int
    faiss: Any
    path: Path


class Nearest:
    """Finds the rows that FAISS finds nearest; safe to use from any thread.

    Args:
        parts: In the order of their rows.
        factory: Their kind; approximate ones of several parts have the same quantizer.
        search: The search parameters, which the parts have been given.
    """

    def __init__(
        self, parts: Sequence[VectorPart], factory: str, search: Mapping[str, int]
    ) -> None:
        self.parts = [part for part in parts if part.faiss.ntotal]
        self.search = search
        self.rows = sum(part.faiss.ntotal for part in self.parts)
        self._exact = factory in EXACT
        # A graph is searched as deep as rows are asked for, so that more would be other rows.
        self._whole = not is_graph(factory)

    def candidates(self, query: Floats, depth: int) -> Rows:
        """Return rows that include the nearest `depth`, or as many as FAISS finds.

        By an exact index, these are all rows whose products may be among the highest; by another,
        the rows of the highest scores, of equal ones the first.

        Raises:
            IndexDamagedError: FAISS fails, or finds rows that do not exist.
        """
        import numpy as np

        wanted = min(to_compare(depth, self.search), self.rows)
        if wanted <= 0:
            return np.empty(0, np.int64)
        hold_to_one_thread("faiss")
        margin = MARGIN if self._exact else 0.0
        asked = wanted + SLACK if self._whole else wanted
        found: dict[int, Found] = {}
        pending = list(range(len(self.parts)))
        while True:
            found.update(zip(pending, self._ask(pending, query, asked), strict=True))
            rows = np.concatenate([found[part][0] for part in sorted(found)])
            scores = np.concatenate([found[part][1] for part in sorted(found)])
            cut = -np.inf
            if len(scores) > wanted:
                cut = float(-np.partition(-scores, wanted - 1)[wanted - 1]) - margin
            # A part that was not asked for all of its rows may have more that reach the cut.
            pending = [
                part
                for part in pending
                if len(found[part][0]) == asked < self.parts[part].faiss.ntotal
                and found[part][1][-1] >= cut
            ]
            if not pending or not self._whole:
                break
            asked *= GROWTH
        if self._exact:
            reach: Rows = rows[scores >= cut]
            return reach
        best: Rows = rows[np.lexsort((rows, -scores))[:wanted]]
        return best

    def _ask(self, parts: Sequence[int], query: Floats, depth: int) -> list[Found]:
        """Return the rows that FAISS finds in some parts, and their scores, best first."""
        import faiss

        def found(part: int) -> Found:
            return _found(self.parts[part], query, depth)

        usable = faiss.omp_get_max_threads()
        try:
            _alone()
            return over_parts(found, parts, self.rows, _alone)
        finally:
            faiss.omp_set_num_threads(usable)


def _alone() -> None:
    """Have FAISS compute in this thread alone: for one query, others would only wait."""
    import faiss

    faiss.omp_set_num_threads(1)


def _found(part: VectorPart, query: Floats, depth: int) -> Found:
    import numpy as np

    try:
        scores, rows = part.faiss.search(query[None], min(depth, part.faiss.ntotal))
    except RuntimeError as error:
        raise damaged(part.path) from error
    # FAISS pads with -1 when the visited lists contain fewer rows than requested.
    real = rows[0] >= 0
    own, scores = rows[0][real], scores[0][real]
    if len(own) and int(own.max()) >= part.faiss.ntotal:
        raise damaged(part.path)
    return own.astype(np.int64) + part.first, scores
