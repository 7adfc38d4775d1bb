"""The lexical part of a generation: which passages hold a term, how often, and how long they are.

Raw little-endian arrays that are mapped from disk, so that a query reads its own terms' postings
and nothing else; terms.arrow says where each term's postings begin.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ettin_cli.index.manifest import damaged
from ettin_cli.lexical import Terms, inverse_frequency, saturated
from ettin_cli.lexical.terms import Remembered, words
from ettin_cli.records import Advance, no_progress
from ettin_cli.storage import allocate

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ettin_cli.index.passages import Passages
    from ettin_cli.index.vectors import Rows
    from ettin_cli.records import Floats

    Numbers = NDArray[np.integer]

TERMS = "terms.arrow"
POSTINGS = "postings.u32"
COUNTS = "counts.u16"
LENGTHS = "lengths.u32"
DOCUMENTS = "documents.u32"
LEXICAL = (TERMS, POSTINGS, COUNTS, LENGTHS, DOCUMENTS)
READ_ROWS = 256
# Terms of the passages that are counted and sorted at once.
BLOCK_TERMS = 1 << 22
# More occurrences of a term in one passage than fit into 16 bits are worth no more.
MOST_COUNT = 65_535


class Lexicon:
    """Scores every passage of a generation by BM25.

    Args:
        generation: The folder that holds the files.
        rows: How many passages there are.

    Raises:
        IndexDamagedError: A file is not whole.
    """

    def __init__(self, generation: Path, rows: int) -> None:
        import numpy as np
        import pyarrow as pa

        self._folder = generation
        try:
            terms = pa.ipc.open_file(pa.memory_map(str(generation / TERMS))).read_all()
        except (pa.ArrowException, OSError) as error:
            raise damaged(generation / TERMS) from error
        if terms.schema != _terms_schema():
            raise damaged(generation / TERMS)
        self._terms = terms.column("term").combine_chunks()
        self._begins = terms.column("begin").to_numpy()
        self._rows = _mapped(generation / POSTINGS, np.dtype("<u4"))
        self._counts = _mapped(generation / COUNTS, np.dtype("<u2"))
        self._lengths = _mapped(generation / LENGTHS, np.dtype("<u4"))
        self._documents = _mapped(generation / DOCUMENTS, np.dtype("<u4"))
        for name, found, wanted in (
            (COUNTS, len(self._counts), len(self._rows)),
            (LENGTHS, len(self._lengths), rows),
            (DOCUMENTS, len(self._documents), rows),
        ):
            if found != wanted:
                raise damaged(generation / name)
        self._of_documents: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self._terms)

    def postings(self, term: str) -> tuple[Numbers, Numbers]:
        """Return the rows that hold a term, ascending, and how often each does."""
        at = bisect_left(range(len(self)), term, key=self._term)
        if at == len(self) or self._term(at) != term:
            return self._rows[:0], self._counts[:0]
        begin = int(self._begins[at])
        end = int(self._begins[at + 1]) if at + 1 < len(self) else len(self._rows)
        if not 0 <= begin <= end <= len(self._rows):
            raise damaged(self._folder / TERMS)
        rows = self._rows[begin:end]
        if len(rows) and (rows[-1] >= len(self._lengths) or (rows[1:] <= rows[:-1]).any()):
            raise damaged(self._folder / POSTINGS)
        return rows, self._counts[begin:end]

    def _term(self, at: int) -> str:
        import pyarrow as pa

        piece = self._terms.slice(at, 1)
        try:
            piece.validate(full=True)
        except pa.ArrowException as error:
            raise damaged(self._folder / TERMS) from error
        term: str = piece[0].as_py()
        return term

    def scores(self, terms: Mapping[str, float]) -> Floats:
        """Return what each passage is worth for a query, between 0 and 1: shape (rows,).

        The mean of two shares of the most that BM25 can give for these terms: of the passage, and
        of the whole document that it belongs to; 0 for a passage that holds none of them.

        Args:
            terms: How often the query holds each, or what else each weighs.
        """
        import numpy as np

        total, lengths = len(self._lengths), self._document_lengths()
        passages, documents = np.zeros(total, np.float32), np.zeros(len(lengths), np.float32)
        most = most_documents = 0.0
        for term, times in terms.items():
            rows, counts = self.postings(term)
            if not len(rows):
                continue
            weight = times * inverse_frequency(total, len(rows))
            passages[rows] += weight * saturated(counts, self._lengths[rows], self._mean)
            most += weight
            owners, sums = _summed(self._documents[rows], counts)
            weight = times * inverse_frequency(len(lengths), len(owners))
            documents[owners] += weight * saturated(sums, lengths[owners], self._document_mean)
            most_documents += weight
        found = np.flatnonzero(passages)
        if len(found):
            whole = documents[self._documents[found]] / most_documents
            passages[found] = (passages[found] / most + whole) / 2
        return passages

    def holding(self, terms: Sequence[str]) -> Rows:
        """Return the rows that hold every one of some terms."""
        import numpy as np

        found: Rows | None = None
        for term in dict.fromkeys(terms):
            rows = self.postings(term)[0].astype(np.int64)
            found = rows if found is None else np.intersect1d(found, rows, assume_unique=True)
        return np.empty(0, np.int64) if found is None else found

    def _document_lengths(self) -> NDArray[np.int64]:
        """Return the terms of every document; the means are settled with them."""
        import numpy as np

        if self._of_documents is None:
            owners, sums = _summed(self._documents, self._lengths)
            if not np.array_equal(owners, np.arange(len(owners))):
                raise damaged(self._folder / DOCUMENTS)
            self._of_documents = sums
            self._mean = max(1.0, float(self._lengths.mean())) if len(self._lengths) else 1.0
            self._document_mean = max(1.0, float(sums.mean())) if len(sums) else 1.0
        return self._of_documents


def write_lexicon(
    folder: Path, passages: Passages, terms: Terms, advance: Advance = no_progress
) -> None:
    """Write the lexical part of a generation.

    Texts are gone through once; what they hold waits on disk, and is then put in the order of the
    terms. Beside the terms themselves nothing grows in memory with the passages.
    """
    import numpy as np

    vocabulary: dict[str, int] = {}
    waiting = folder / "waiting.tmp"
    held = _write_by_row(waiting, folder, passages, terms, vocabulary, advance)
    names = np.array(sorted(vocabulary), object)
    place = np.empty(len(names), np.int64)
    place[np.fromiter(map(vocabulary.__getitem__, names), np.int64, len(names))] = np.arange(
        len(names)
    )
    frequencies = np.zeros(len(names), np.int64)
    frequencies[place] = held.frequencies(len(names))
    begins = np.cumsum(frequencies) - frequencies
    _write_terms(folder / TERMS, names.tolist(), begins)
    _write_by_term(folder, held, place, begins)
    waiting.unlink()


class _Held:
    """What passages hold, block after block in a file: (term, row, count), by row."""

    kind = "<u4,<u4,<u2"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: list[int] = []

    def write(self, block: Any, file: BinaryIO) -> None:
        """Append a block."""
        file.write(block.tobytes())
        self.sizes.append(len(block))

    def blocks(self) -> Iterator[Any]:
        """Yield the blocks in the order in which they were written."""
        import numpy as np

        with self.path.open("rb") as file:
            for size in self.sizes:
                yield np.fromfile(file, np.dtype(self.kind), size)

    def frequencies(self, terms: int) -> NDArray[np.int64]:
        """Return how many rows hold each term."""
        import numpy as np

        totals = np.zeros(terms, np.int64)
        for block in self.blocks():
            totals += np.bincount(block["f0"], minlength=terms)
        return totals


def _write_by_row(
    waiting: Path,
    folder: Path,
    passages: Passages,
    terms: Terms,
    vocabulary: dict[str, int],
    advance: Advance,
) -> _Held:
    """Write the terms of every passage as they come, and how long each is, and whose it is."""

    def numbered(word: str) -> tuple[int, ...]:
        return tuple(vocabulary.setdefault(t, len(vocabulary)) for t in terms.of_word(word))

    numbers = Remembered(numbered)
    held, owners = _Held(waiting), _Owners()
    with ExitStack() as stack:
        file, lengths, documents = (
            stack.enter_context(path.open("wb"))
            for path in (waiting, folder / LENGTHS, folder / DOCUMENTS)
        )
        sizes, found = array("I"), array("I")
        for begin in range(0, len(passages), READ_ROWS):
            rows = range(begin, min(begin + READ_ROWS, len(passages)))
            for text in passages.contents(rows):
                before = len(found)
                found.extend(chain.from_iterable(map(numbers.__getitem__, words(text))))
                sizes.append(len(found) - before)
            documents.write(_little_endian(owners.numbers(passages.column("doc_id", rows))))
            if len(found) >= BLOCK_TERMS or rows.stop == len(passages):
                held.write(_counted(found, sizes, rows.stop - len(sizes)), file)
                lengths.write(_little_endian(sizes))
                sizes, found = array("I"), array("I")
            advance(len(rows))
    return held


class _Owners:
    """Numbers documents by the rows that belong to them, which follow each other."""

    def __init__(self) -> None:
        self.last: str | None = None
        self.number = -1

    def numbers(self, doc_ids: Sequence[str]) -> array[int]:
        found = array("I")
        for doc_id in doc_ids:
            if doc_id != self.last:
                self.last, self.number = doc_id, self.number + 1
            found.append(self.number)
        return found


def _counted(found: array[int], sizes: array[int], begin: int) -> Any:
    """Return a block of (term, row, count), by row, from the terms of its rows in order."""
    import numpy as np

    rows = np.repeat(np.arange(begin, begin + len(sizes), dtype=np.int64), sizes)
    keys, counts = np.unique((rows << 32) | np.frombuffer(found, np.uint32), return_counts=True)
    block = np.empty(len(keys), np.dtype(_Held.kind))
    block["f0"], block["f1"] = keys & 0xFFFFFFFF, keys >> 32
    block["f2"] = np.minimum(counts, MOST_COUNT)
    return block


def _write_by_term(
    folder: Path, held: _Held, place: NDArray[np.int64], begins: NDArray[np.int64]
) -> None:
    """Write the postings: every block's entries go behind those of their terms so far."""
    import numpy as np

    total, following = sum(held.sizes), begins.copy()
    rows = _new(folder / POSTINGS, np.dtype("<u4"), total)
    counts = _new(folder / COUNTS, np.dtype("<u2"), total)
    for block in held.blocks():
        terms = place[block["f0"]]
        order = np.argsort(terms, kind="stable")
        terms, block = terms[order], block[order]
        first = np.flatnonzero(np.diff(terms, prepend=-1))
        sizes = np.diff(first, append=len(terms))
        within = np.arange(len(terms)) - np.repeat(first, sizes)
        places = following[terms] + within
        rows[places], counts[places] = block["f1"], block["f2"]
        following[terms[first]] += sizes


def _write_terms(path: Path, names: list[str], begins: NDArray[np.int64]) -> None:
    import pyarrow as pa

    batch = pa.record_batch([pa.array(names, pa.string()), pa.array(begins)], _terms_schema())
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _terms_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([("term", pa.string()), ("begin", pa.int64())])


def _summed(owners: Numbers, values: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """Return each owner of neighbouring values once, and the sum of what is its own."""
    import numpy as np

    if not len(owners):
        return owners, np.empty(0, np.int64)
    first = np.flatnonzero(np.diff(owners.astype(np.int64), prepend=-1))
    return owners[first], np.add.reduceat(values, first, dtype=np.int64)


def _mapped(path: Path, kind: np.dtype[Any]) -> Numbers:
    """Return an array mapped from a file that is full of it."""
    import numpy as np

    try:
        if not path.stat().st_size:
            return np.empty(0, kind)
        return np.memmap(path, kind, "r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise damaged(path) from error


def _new(path: Path, kind: np.dtype[Any], size: int) -> Numbers:
    """Return an array mapped to a new file."""
    import numpy as np

    allocate(path, size * kind.itemsize)
    return np.memmap(path, kind, "r+", shape=(size,)) if size else np.empty(0, kind)


def _little_endian(numbers: array[int]) -> bytes:
    import numpy as np

    return np.asarray(numbers, "<u4").tobytes()
