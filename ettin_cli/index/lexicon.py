"""The lexical part of a generation: postings of each term, and passage lengths.

Raw little-endian arrays are memory-mapped, so a query reads only the postings of its own terms;
terms.arrow stores where each term's postings begin. Everything is checked before use: postings by
the seal of their term, the other files by checksum.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.index.accumulating import Scale, Scored, Texts, Weighted, accumulated, summed
from ettin_cli.index.manifest import FileRecord, damaged
from ettin_cli.index.mapping import integers, mapped_file, mapped_numbers
from ettin_cli.text.lexical import inverse_frequency, saturated

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ettin_cli.index.vectors import Rows

    Numbers = NDArray[np.integer]

TERMS = "terms.arrow"
POSTINGS = "postings.u32"
COUNTS = "counts.u16"
LENGTHS = "lengths.u32"
DOCUMENTS = "documents.u32"
LEXICAL = (TERMS, POSTINGS, COUNTS, LENGTHS, DOCUMENTS)
# Metadata key of terms.arrow for the tokenizer that made the terms.
MADE_BY = b"made_by"
# Column of terms.arrow that earlier versions did not write: how many documents contain the term.
DOCUMENT_COUNT = "documents"
# Odd, so that changing a single bit always changes the seal.
ROW_FACTOR, COUNT_FACTOR = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F


@dataclass(frozen=True, slots=True)
class Statistics:
    """What BM25 weights need of all passages; those of the parts of an index can be added.

    Args:
        passages: Number of passages.
        documents: Number of documents.
        length: Number of terms of all passages, and so of all documents.
        holding: For each term of a query, the number of passages and of documents that contain it.
    """

    passages: int
    documents: int
    length: int
    holding: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __add__(self, other: Statistics) -> Statistics:
        both = {**self.holding, **other.holding}
        return Statistics(
            self.passages + other.passages,
            self.documents + other.documents,
            self.length + other.length,
            {term: _sums(self._of(term), other._of(term)) for term in both},
        )

    def _of(self, term: str) -> tuple[int, int]:
        return self.holding.get(term, (0, 0))

    @property
    def means(self) -> tuple[float, float]:
        """Mean number of terms of a passage, and of a document; at least 1."""
        if not self.passages:
            return 1.0, 1.0
        return max(1.0, self.length / self.passages), max(1.0, self.length / self.documents)

    def weights(self, terms: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """Return the weights of each term that occurs, for passages and for documents.

        Args:
            terms: The weight of each term in the query.
        """
        weights = {}
        for term, times in terms.items():
            passages, documents = self._of(term)
            if passages and times:
                weights[term] = (
                    times * inverse_frequency(self.passages, passages),
                    times * inverse_frequency(self.documents, documents),
                )
        return weights

    def scales(self, terms: Mapping[str, float]) -> tuple[Scale, Scale]:
        """Return the scales of the scores of passages and of documents for a query."""
        most = most_documents = 0.0
        for weight, document_weight in self.weights(terms).values():
            most += weight
            most_documents += document_weight
        return Scale(self.means[0], most), Scale(self.means[1], most_documents)


class Lexicon:
    """BM25 scores for every passage of a generation.

    Args:
        generation: The folder that contains the files.
        rows: Number of passages.
        files: Size and checksum of each file.

    Raises:
        IndexDamagedError: A file is damaged; every other method may raise this too.
    """

    def __init__(self, generation: Path, rows: int, files: Mapping[str, FileRecord]) -> None:
        import numpy as np

        self._folder, self._files = generation, files
        self._terms = mapped_file(generation / TERMS)
        self.rows = mapped_numbers(generation / POSTINGS, np.dtype("<u4"))
        self.counts = mapped_numbers(generation / COUNTS, np.dtype("<u2"))
        self.lengths = mapped_numbers(generation / LENGTHS, np.dtype("<u4"))
        self._documents = mapped_numbers(generation / DOCUMENTS, np.dtype("<u4"))
        # Terms whose postings have been checked.
        self._intact: set[int] = set()
        for name, stored, wanted in (
            (COUNTS, len(self.counts), len(self.rows)),
            (LENGTHS, len(self.lengths), rows),
            (DOCUMENTS, len(self._documents), rows),
        ):
            if stored != wanted:
                raise damaged(generation / name)

    def __len__(self) -> int:
        return len(self._table)

    @cached_property
    def _table(self) -> pa.RecordBatch:
        """The sorted terms, where the postings of each begin, their seal and their documents."""
        import pyarrow as pa

        self._require(TERMS, self._terms)
        try:
            table = pa.ipc.open_file(self._terms).get_batch(0)
            table.validate(full=True)
        except pa.ArrowException as error:
            raise damaged(self._folder / TERMS) from error
        if table.schema not in (terms_schema(), _earlier_schema()):
            raise damaged(self._folder / TERMS)
        return table

    def _require(self, name: str, content: Any) -> None:
        import xxhash

        if xxhash.xxh3_128_hexdigest(content) != self._files[name].checksum:
            raise damaged(self._folder / name)

    @property
    def made_by(self) -> str:
        """The settings and versions that these terms were made with."""
        version: bytes = (self._table.schema.metadata or {}).get(MADE_BY, b"")
        return version.decode()

    @property
    def term_names(self) -> pa.Array:
        """Every term, sorted, in Arrow's memory."""
        return self._table.column("term")

    @property
    def terms(self) -> list[str]:
        """Every term, sorted."""
        names: list[str] = self.term_names.to_pylist()
        return names

    @cached_property
    def begins(self) -> NDArray[np.int64]:
        """The start of each term's postings."""
        return integers(self._table.column("begin"))

    def postings(self, term: str) -> tuple[Numbers, Numbers]:
        """Return the rows that contain a term, ascending, and its count in each."""
        at = self._place(term)
        if at is None:
            return self.rows[:0], self.counts[:0]
        piece = slice(*self._bounds(at))
        rows, counts = self.rows[piece], self.counts[piece]
        if at in self._intact:
            return rows, counts
        if not len(rows) or seals(rows, counts, [0])[0] != self._table.column("seal")[at].as_py():
            self._require(POSTINGS, self.rows)
            raise damaged(self._folder / COUNTS)
        self._intact.add(at)
        return rows, counts

    def _place(self, term: str) -> int | None:
        """Return the position of a term; None if no passage has it."""
        terms = self._table.column("term")
        at = bisect_left(range(len(terms)), term, key=lambda place: terms[place].as_py())
        return at if at < len(terms) and terms[at].as_py() == term else None

    def _bounds(self, at: int) -> tuple[int, int]:
        """Return where the postings of a term begin and end."""
        end = self.begins[at + 1] if at + 1 < len(self.begins) else len(self.rows)
        return int(self.begins[at]), int(end)

    def statistics(self, terms: Iterable[str]) -> Statistics:
        """Return what the weights of some terms need.

        Postings are only read in an index whose terms were stored without their number of
        documents.
        """
        texts = self._texts
        holding = {term: counts for term in terms if (counts := self._holding(term))}
        return Statistics(len(texts.lengths), len(texts.document_lengths), self._length, holding)

    def _holding(self, term: str) -> tuple[int, int] | None:
        """Return the number of passages and of documents that contain a term, if any does."""
        at = self._place(term)
        if at is None:
            return None
        begin, end = self._bounds(at)
        if DOCUMENT_COUNT in self._table.schema.names:
            return end - begin, self._table.column(DOCUMENT_COUNT)[at].as_py()
        rows, counts = self.postings(term)
        return len(rows), len(summed(self._texts.documents[rows], counts)[0])

    def scores(
        self,
        terms: Mapping[str, float],
        statistics: Statistics | None = None,
        rows: Rows | None = None,
    ) -> Scored:
        """Return the passages that contain a term of a query, and their scores between 0 and 1.

        A score is the mean of two BM25 scores, each divided by the maximum possible for these
        terms: of the passage, and of its complete document.

        Args:
            terms: The weight of each term, such as its count in the query.
            statistics: Those of the whole index if this is the lexicon of a part; None: its own.
            rows: Score only the documents of these passages; None: all.
        """
        whole = self.statistics(terms) if statistics is None else statistics
        passages, documents = whole.scales(terms)
        spans = None if rows is None else self._documents_of(rows)
        held = [
            Weighted(*self._postings_within(term, spans), *weights)
            for term, weights in whole.weights(terms).items()
        ]
        same = whole.documents == whole.passages
        return accumulated(held, self._texts, passages, None if same else documents)

    def _documents_of(self, rows: Rows) -> Numbers:
        """Return where the documents of some rows begin and end, shape (documents, 2)."""
        import numpy as np

        documents = np.unique(self._texts.documents[rows])
        return np.stack(
            [np.searchsorted(self._texts.documents, documents, side) for side in ("left", "right")],
            axis=1,
        )

    def _postings_within(self, term: str, spans: Numbers | None) -> tuple[Numbers, Numbers]:
        """Return the postings of a term in some ranges of rows; None: all."""
        import numpy as np

        rows, counts = self.postings(term)
        if spans is None:
            return rows, counts
        # Of the same type, or all postings would be copied.
        bounds = np.searchsorted(rows, spans.astype(rows.dtype)).tolist()
        at = np.concatenate([np.arange(0), *(np.arange(*one) for one in bounds)])
        return rows[at], counts[at]

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
        import numpy as np

        whole = self.statistics(terms) if statistics is None else statistics
        shares, length = [0.0, 0.0], np.array([sum(text.values())])
        scales = whole.scales(terms)
        for term, weights in whole.weights(terms).items():
            count = np.array([text.get(term, 0)])
            for kind, weight in enumerate(weights):
                shares[kind] += weight * float(saturated(count, length, scales[kind].mean)[0])
        return (shares[0] / scales[0].most + shares[1] / scales[1].most) / 2 if shares[0] else 0.0

    def counts_in(
        self, terms: Sequence[str], rows: Rows
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the count of each term in some rows, and the number of terms of each row.

        Shapes (rows, terms) and (rows,).
        """
        import numpy as np

        counts = np.zeros((len(rows), len(terms)), np.int64)
        for at, term in enumerate(terms):
            holding, times = self.postings(term)
            if len(holding):
                # Of the same type, or all postings would be copied.
                wanted = rows.astype(holding.dtype)
                places = np.minimum(np.searchsorted(holding, wanted), len(holding) - 1)
                counts[:, at] = np.where(holding[places] == rows, times[places], 0)
        return counts, self._texts.lengths[rows].astype(np.int64)

    def holding(self, terms: Sequence[str]) -> Rows:
        """Return the rows that contain all of the given terms."""
        import numpy as np

        common: Rows | None = None
        for term in dict.fromkeys(terms):
            rows = self.postings(term)[0].astype(np.int64)
            common = rows if common is None else np.intersect1d(common, rows, assume_unique=True)
        return np.empty(0, np.int64) if common is None else common

    @cached_property
    def _texts(self) -> Texts:
        """The lengths of passages and of documents, checked on first access."""
        self._require(LENGTHS, self.lengths)
        self._require(DOCUMENTS, self._documents)
        rows = len(self.lengths)
        single = not rows or int(self._documents[-1]) + 1 == rows
        lengths = self.lengths if single else summed(self._documents, self.lengths)[1]
        return Texts(self.lengths, self._documents, lengths)

    @cached_property
    def _length(self) -> int:
        """The number of terms of all passages."""
        import numpy as np

        return int(self._texts.lengths.sum(dtype=np.int64))


def terms_schema(made_by: str = "") -> pa.Schema:
    """Return the columns of terms.arrow.

    Args:
        made_by: The settings and versions that the terms were made with.
    """
    import pyarrow as pa

    columns = [("term", pa.string()), ("begin", pa.int64()), ("seal", pa.uint64())]
    columns.append((DOCUMENT_COUNT, pa.uint32()))
    return pa.schema(columns, {MADE_BY: made_by.encode()})


def _earlier_schema() -> pa.Schema:
    schema = terms_schema()
    return schema.remove(schema.get_field_index(DOCUMENT_COUNT))


def seals(rows: Numbers, counts: Numbers, begins: Any) -> NDArray[np.uint64]:
    """Return a checksum of the postings between consecutive offsets, to detect damage."""
    import numpy as np

    mixed = (rows + np.uint64(1)) * np.uint64(ROW_FACTOR) + counts * np.uint64(COUNT_FACTOR)
    return np.add.reduceat(mixed, begins) if len(mixed) else np.empty(0, np.uint64)


def _sums(these: tuple[int, int], those: tuple[int, int]) -> tuple[int, int]:
    return these[0] + those[0], these[1] + those[1]
