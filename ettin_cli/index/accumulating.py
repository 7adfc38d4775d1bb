"""Postings of several terms -> the score of each passage that has one of them.

A query costs time and memory for its own postings, however many passages there are: the postings
are merged in pieces that fit a processor's cache.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ettin_cli.text.lexical import length_norms, saturated_by

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index.vectors import Rows
    from ettin_cli.records import Flags, Floats

    Numbers = NDArray[np.integer]

# Postings that are merged in one piece.
PIECE = 1 << 16


class Scored(NamedTuple):
    """The rows with a score above zero, ascending, and their scores."""

    rows: NDArray[np.int64]
    scores: Floats

    def of(self, rows: Numbers) -> Floats:
        """Return the scores of some rows; 0 for a row that has none."""
        import numpy as np

        if not len(self.rows):
            return np.zeros(len(rows), np.float32)
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.where(self.rows[at] == rows, self.scores[at], np.float32(0))

    def highest(self, depth: int, among: Rows | None = None) -> tuple[Rows, Floats]:
        """Return the rows of the highest scores, best first, ties in row order, and the scores.

        Args:
            among: Rows to choose from; None: all.
        """
        import numpy as np

        rows, scores = self
        if among is not None:
            kept = np.isin(rows, among, assume_unique=True)
            rows, scores = rows[kept], scores[kept]
        order = best_first(rows, scores, depth)
        return rows[order], scores[order]


class Weighted(NamedTuple):
    """The postings of a term: ascending rows, the count in each, and the weights of the term.

    Args:
        document_weight: The weight for complete documents.
    """

    rows: Numbers
    counts: Numbers
    weight: float
    document_weight: float


class Scale(NamedTuple):
    """What scores of passages, or of documents, are computed with.

    Args:
        mean: Mean number of terms of a text.
        most: The sum of the weights of all terms of the query, the highest possible score.
    """

    mean: float
    most: float


class Texts(NamedTuple):
    """The number of terms of each passage, its document, and the number of terms of documents.

    Documents are numbered in the order of their passages, which are consecutive.
    """

    lengths: Numbers
    documents: Numbers
    document_lengths: Numbers


def accumulated(
    terms: Sequence[Weighted], texts: Texts, passages: Scale, documents: Scale | None
) -> Scored:
    """Return the mean of the scores of each passage and of its document.

    Args:
        terms: In the order in which their scores are added.
        documents: None: every document is one passage, whose score is also the document's.
    """
    import numpy as np

    # A weight may be too small for single precision.
    terms = [term for term in terms if np.float32(term.weight)]
    cuts = _cuts([term.rows for term in terms], texts, whole=documents is not None)
    bounds = [np.searchsorted(term.rows, cuts.astype(term.rows.dtype)) for term in terms]
    # Memory is only used where there are postings.
    places = np.empty(int(np.diff(cuts).max(initial=0)), np.uint32)
    found = [Scored(np.empty(0, np.int64), np.empty(0, np.float32))]
    for number, first in enumerate(cuts[:-1].tolist()):
        held = list(_between(terms, bounds, number))
        if held:
            piece = _Piece(held, first, places)
            own = scores = piece.scores(texts, passages)
            if documents is not None:
                scores = own + piece.document_scores(texts, documents)
                scores /= 2
            matching = slice(None) if own.all() else own > 0
            found.append(Scored(piece.rows[matching], scores[matching]))
    return Scored(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _cuts(lists: Sequence[Numbers], texts: Texts, *, whole: bool) -> NDArray[np.int64]:
    """Return the bounds of ranges of rows with about as many postings as are merged in one piece.

    Args:
        whole: Whether all passages of a document must be in the same range.
    """
    import numpy as np

    cuts, longest = [0], max(lists, key=len, default=())
    pieces = -(-sum(map(len, lists)) // PIECE)
    for piece in range(1, pieces):
        row = int(longest[len(longest) * piece // pieces])
        if whole:
            row = bisect_left(texts.documents, texts.documents[row], 0, row)
        if row > cuts[-1]:
            cuts.append(row)
    return np.array([*cuts, len(texts.lengths)])


def _between(
    terms: Sequence[Weighted], bounds: Sequence[Numbers], number: int
) -> Iterator[Weighted]:
    """Yield the postings in a range of rows, of those terms that have any there."""
    for term, ends in zip(terms, bounds, strict=True):
        if ends[number] < ends[number + 1]:
            part = slice(ends[number], ends[number + 1])
            yield Weighted(term.rows[part], term.counts[part], *term[2:])


class _Piece:
    """The postings of a range of rows.

    Args:
        first: The first row of the range.
        places: Scratch memory, one number for each row of the range.
    """

    def __init__(self, terms: Sequence[Weighted], first: int, places: Numbers) -> None:
        import numpy as np

        self.terms = terms
        every = np.sort(np.concatenate([term.rows for term in terms]))
        self.rows = every[changes(every)].astype(np.int64)
        places[self.rows - first] = np.arange(len(self.rows), dtype=places.dtype)
        self.at = [
            places.take(term.rows.astype(np.int64) - first).astype(np.int64) for term in terms
        ]

    def scores(self, texts: Texts, scale: Scale) -> Floats:
        """Return the score of each row."""
        import numpy as np

        scores = np.zeros(len(self.rows), np.float32)
        lengths = length_norms(texts.lengths.take(self.rows), scale.mean)
        for term, at in zip(self.terms, self.at, strict=True):
            worth = saturated_by(term.counts, lengths.take(at))
            worth *= np.float32(term.weight)
            np.add.at(scores, at, worth)
        return scores / scale.most

    def document_scores(self, texts: Texts, scale: Scale) -> Floats:
        """Return the score of the document of each row."""
        import numpy as np

        owners = texts.documents.take(self.rows)
        first = changes(owners)
        document = np.cumsum(first) - 1
        lengths = length_norms(
            texts.document_lengths.take(owners[first].astype(np.int64)), scale.mean
        )
        scores = np.zeros(len(lengths), np.float32)
        for term, at in zip(self.terms, self.at, strict=True):
            holding = document.take(at)
            begins = np.flatnonzero(changes(holding))
            sums = np.add.reduceat(term.counts, begins, dtype=np.int64)
            holding = holding.take(begins)
            worth = saturated_by(sums, lengths.take(holding))
            worth *= np.float32(term.document_weight)
            np.add.at(scores, holding, worth)
        return (scores / scale.most).take(document)


def best_first(rows: Rows, scores: Floats, depth: int) -> Rows:
    """Return the positions of the highest scores, best first, ties in row order.

    Args:
        rows: The row of each score.
    """
    import numpy as np

    at = np.arange(len(rows))
    if len(rows) > depth:
        # Few rows reach the lowest score kept, and only those need sorting.
        lowest = -np.partition(-scores, depth - 1)[depth - 1]
        at = np.flatnonzero(scores >= lowest)
    return at[np.lexsort((rows[at], -scores[at]))][:depth]


def changes(values: Numbers) -> Flags:
    """Return where a value differs from the one before; the first one always does."""
    import numpy as np

    changes = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def summed(owners: Numbers, values: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """Return each owner of consecutive values once, with the sum of its values."""
    import numpy as np

    if not len(owners):
        return owners, np.empty(0, np.int64)
    first = np.flatnonzero(changes(owners))
    return owners[first], np.add.reduceat(values, first, dtype=np.int64)
