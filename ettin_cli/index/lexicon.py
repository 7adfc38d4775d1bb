"""The lexical part of a generation: postings of each term, and passage lengths.

Raw little-endian arrays are memory-mapped, so a query reads only the postings of its own terms;
terms.arrow stores where each term's postings begin. Everything is checked before use: postings by
the seal of their term, the other files by checksum.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.index.manifest import FileRecord, damaged
from ettin_cli.text.lexical import inverse_frequency, saturated

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ettin_cli.index.vectors import Rows
    from ettin_cli.records import Floats

    Numbers = NDArray[np.integer]

TERMS = "terms.arrow"
POSTINGS = "postings.u32"
COUNTS = "counts.u16"
LENGTHS = "lengths.u32"
DOCUMENTS = "documents.u32"
LEXICAL = (TERMS, POSTINGS, COUNTS, LENGTHS, DOCUMENTS)
# Metadata key of terms.arrow for the tokenizer that made the terms.
MADE_BY = b"made_by"
# Odd, so that changing a single bit always changes the seal.
ROW_FACTOR, COUNT_FACTOR = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F


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
        import pyarrow as pa

        self._folder, self._files = generation, files
        try:
            self._terms = pa.memory_map(str(generation / TERMS)).read_buffer()
        except OSError as error:
            raise damaged(generation / TERMS) from error
        self.rows = _mapped(generation / POSTINGS, np.dtype("<u4"))
        self.counts = _mapped(generation / COUNTS, np.dtype("<u2"))
        self.lengths = _mapped(generation / LENGTHS, np.dtype("<u4"))
        self._documents = _mapped(generation / DOCUMENTS, np.dtype("<u4"))
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
        """The sorted terms, the start of each one's postings, and their seals."""
        import pyarrow as pa

        self._require(TERMS, self._terms)
        try:
            table = pa.ipc.open_file(self._terms).get_batch(0)
            table.validate(full=True)
        except pa.ArrowException as error:
            raise damaged(self._folder / TERMS) from error
        if table.schema != terms_schema():
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
    def terms(self) -> list[str]:
        """Every term, sorted."""
        names: list[str] = self._table.column("term").to_pylist()
        return names

    @cached_property
    def begins(self) -> NDArray[np.int64]:
        """The start of each term's postings."""
        column: NDArray[np.int64] = self._table.column("begin").to_numpy()
        return column

    def postings(self, term: str) -> tuple[Numbers, Numbers]:
        """Return the rows that contain a term, ascending, and its count in each."""
        terms = self._table.column("term")
        at = bisect_left(range(len(terms)), term, key=lambda place: terms[place].as_py())
        if at == len(terms) or terms[at].as_py() != term:
            return self.rows[:0], self.counts[:0]
        begin = self.begins[at]
        end = self.begins[at + 1] if at + 1 < len(terms) else len(self.rows)
        rows, counts = self.rows[begin:end], self.counts[begin:end]
        if not len(rows) or seals(rows, counts, [0])[0] != self._table.column("seal")[at].as_py():
            self._require(POSTINGS, self.rows)
            raise damaged(self._folder / COUNTS)
        return rows, counts

    def scores(self, terms: Mapping[str, float]) -> Floats:
        """Return the score of each passage for a query, between 0 and 1: shape (rows,).

        The mean of two BM25 scores, each divided by the maximum possible for these terms: of the
        passage, and of its complete document. 0 for a passage that contains none of the terms.

        Args:
            terms: The weight of each term, such as its count in the query.
        """
        import numpy as np

        total, lengths = len(self.lengths), self._document_lengths
        mean, document_mean = self._means
        passages, documents = np.zeros(total, np.float32), np.zeros(len(lengths), np.float32)
        most = most_documents = 0.0
        for term, times in terms.items():
            rows, counts = self.postings(term)
            if not len(rows):
                continue
            weight = times * inverse_frequency(total, len(rows))
            passages[rows] += weight * saturated(counts, self.lengths[rows], mean)
            most += weight
            owners, sums = _summed(self._documents[rows], counts)
            weight = times * inverse_frequency(len(lengths), len(owners))
            documents[owners] += weight * saturated(sums, lengths[owners], document_mean)
            most_documents += weight
        matching = np.flatnonzero(passages)
        if len(matching):
            of_document = documents[self._documents[matching]] / most_documents
            passages[matching] = (passages[matching] / most + of_document) / 2
        return passages

    def score_text(self, terms: Mapping[str, float], text: Mapping[str, int]) -> float:
        """Return the score of a text outside the index for a query, as a separate document.

        Args:
            terms: As in `scores`.
            text: The count of each term of the text.
        """
        import numpy as np

        shares, most = [0.0, 0.0], [0.0, 0.0]
        for term, times in terms.items():
            rows, _ = self.postings(term)
            if not len(rows):
                continue
            owners = np.unique(self._documents[rows])
            count, length = np.array([text.get(term, 0)]), np.array([sum(text.values())])
            kinds = ((len(self.lengths), rows), (len(self._document_lengths), owners))
            for kind, (texts, holding) in enumerate(kinds):
                weight = times * inverse_frequency(texts, len(holding))
                worth = saturated(count, length, self._means[kind])
                shares[kind] += weight * float(worth[0])
                most[kind] += weight
        return (shares[0] / most[0] + shares[1] / most[1]) / 2 if shares[0] else 0.0

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
        return counts, self._checked_lengths[rows].astype(np.int64)

    def holding(self, terms: Sequence[str]) -> Rows:
        """Return the rows that contain all of the given terms."""
        import numpy as np

        common: Rows | None = None
        for term in dict.fromkeys(terms):
            rows = self.postings(term)[0].astype(np.int64)
            common = rows if common is None else np.intersect1d(common, rows, assume_unique=True)
        return np.empty(0, np.int64) if common is None else common

    @cached_property
    def _checked_lengths(self) -> Numbers:
        self._require(LENGTHS, self.lengths)
        return self.lengths

    @cached_property
    def _document_lengths(self) -> NDArray[np.int64]:
        """Number of terms of each document."""
        self._require(DOCUMENTS, self._documents)
        return _summed(self._documents, self._checked_lengths)[1]

    @cached_property
    def _means(self) -> tuple[float, float]:
        """Mean number of terms of a passage, and of a document; at least 1."""
        if not len(self.lengths):
            return 1.0, 1.0
        means = float(self.lengths.mean()), float(self._document_lengths.mean())
        return max(1.0, means[0]), max(1.0, means[1])


def terms_schema(made_by: str = "") -> pa.Schema:
    """Return the columns of terms.arrow.

    Args:
        made_by: The settings and versions that the terms were made with.
    """
    import pyarrow as pa

    columns = [("term", pa.string()), ("begin", pa.int64()), ("seal", pa.uint64())]
    return pa.schema(columns, {MADE_BY: made_by.encode()})


def seals(rows: Numbers, counts: Numbers, begins: Any) -> NDArray[np.uint64]:
    """Return a checksum of the postings between consecutive offsets, to detect damage."""
    import numpy as np

    mixed = (rows + np.uint64(1)) * np.uint64(ROW_FACTOR) + counts * np.uint64(COUNT_FACTOR)
    return np.add.reduceat(mixed, begins) if len(mixed) else np.empty(0, np.uint64)


def _summed(owners: Numbers, values: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """Return each owner of consecutive values once, with the sum of its values."""
    import numpy as np

    if not len(owners):
        return owners, np.empty(0, np.int64)
    first = np.flatnonzero(np.diff(owners.astype(np.int64), prepend=-1))
    return owners[first], np.add.reduceat(values, first, dtype=np.int64)


def _mapped(path: Path, kind: np.dtype[Any]) -> Numbers:
    """Return an array mapped from all of a file."""
    import numpy as np

    try:
        if not path.stat().st_size:
            return np.empty(0, kind)
        return np.memmap(path, kind, "r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise damaged(path) from error
