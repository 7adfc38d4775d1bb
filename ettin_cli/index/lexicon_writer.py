"""Passages -> the lexical part of their generation, in the format that lexicon.py reads.

Texts known to the old generation are copied from there, so an update tokenizes only new texts.
Entries are kept in a temporary file as (term, row, count) until they are sorted by term. Beside
the terms themselves, memory hardly grows with the number of passages.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.index.accumulating import changes
from ettin_cli.index.known_vectors import Distinct, joined_hashes
from ettin_cli.index.lexicon import (
    COUNTS,
    DOCUMENTS,
    LENGTHS,
    POSTINGS,
    TERMS,
    Lexicon,
    seals,
    terms_schema,
)
from ettin_cli.records import Advance, no_progress
from ettin_cli.storage import allocate
from ettin_cli.text.lexical import Remembered, Terms, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.index.known_vectors import Hashes
    from ettin_cli.index.lexicon import Numbers
    from ettin_cli.index.passages import Passages
    from ettin_cli.index.reader import Index
    from ettin_cli.index.vectors import Rows

READ_ROWS = 256
# Occurrences of terms that are counted and sorted in one batch.
BLOCK_TERMS = 1 << 22
# Counts are stored in 16 bits; higher counts do not change the score.
MOST_COUNT = 65_535


@dataclass(frozen=True, slots=True)
class KnownPostings:
    """The lexical part of the old generation, and the old row of each passage's text.

    Args:
        rows: One per passage; -1 if the text is new.
    """

    lexicon: Lexicon
    rows: Rows


def known_words(old: Index, hashes: Hashes, terms: Terms) -> KnownPostings | None:
    """Return the lexical data of an index for some texts; None if its terms were made differently.

    Args:
        hashes: `Passages.term_hashes` of the passages.
    """
    if old.manifest.language is None or old.lexicon.made_by != terms.made_by:
        return None
    if not isinstance(old.lexicon, Lexicon):
        # Those of shards are numbered apart.
        return None
    return KnownPostings(
        old.lexicon, Distinct(joined_hashes(old.passages.term_hashes())).find(hashes)
    )


def write_lexicon(
    folder: Path,
    passages: Passages,
    terms: Terms,
    known: KnownPostings | None = None,
    advance: Advance = no_progress,
) -> None:
    """Write the lexical part of a generation.

    Args:
        known: Data to copy instead of tokenizing; the resulting files are the same without it.
    """
    import numpy as np

    _write_documents(folder / DOCUMENTS, passages)
    vocabulary = {t: at for at, t in enumerate(known.lexicon.terms)} if known else {}
    lengths, fresh = np.zeros(len(passages), "<u4"), np.arange(len(passages))
    with _Waiting(folder / "waiting.tmp") as waiting:
        if known:
            _add_known(waiting, known, lengths)
            fresh = np.flatnonzero(known.rows < 0)
            advance(len(passages) - len(fresh))
        _add_fresh(waiting, passages, fresh, terms, vocabulary, lengths, advance)
        (folder / LENGTHS).write_bytes(lengths.tobytes())
        _write_by_term(folder, waiting, vocabulary, terms.made_by)


class _Waiting:
    """Entries buffered in a temporary file, block after block; the file is deleted at the end."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, path.open("wb+")
        self.sizes: list[int] = []

    def __enter__(self) -> _Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.path.unlink()

    def add(self, terms: Numbers, rows: Numbers, counts: Numbers) -> None:
        """Append a block."""
        import numpy as np

        block = np.empty(len(terms), _entry())
        block["term"], block["row"] = terms, rows
        block["count"] = np.minimum(counts, MOST_COUNT)
        # Python's own file reports why a write failed; numpy's tofile does not.
        self.file.write(block.tobytes())
        self.sizes.append(len(block))

    def blocks(self) -> Iterator[Any]:
        """Yield the blocks in the order in which they were added."""
        import numpy as np

        self.file.flush()
        self.file.seek(0)
        for size in self.sizes:
            yield np.fromfile(self.file, _entry(), size)

    def frequencies(self, terms: int) -> NDArray[np.int64]:
        """Return the number of rows that contain each term."""
        import numpy as np

        totals = np.zeros(terms, np.int64)
        for block in self.blocks():
            totals += np.bincount(block["term"], minlength=terms)
        return totals


def _entry() -> np.dtype[Any]:
    import numpy as np

    return np.dtype([("term", "<u4"), ("row", "<u4"), ("count", "<u2")])


def _write_documents(path: Path, passages: Passages) -> None:
    """Number documents by their rows, which are consecutive."""
    import numpy as np

    last, number = None, -1
    with path.open("wb") as file:
        for (block,) in passages.blocks("doc_id"):
            numbers = array("I")
            for doc_id in block.to_pylist():
                if doc_id != last:
                    last, number = doc_id, number + 1
                numbers.append(number)
            file.write(np.asarray(numbers, "<u4").tobytes())


def _add_known(waiting: _Waiting, known: KnownPostings, lengths: Numbers) -> None:
    """Add the entries of old postings, under the current rows of their texts."""
    import numpy as np

    lexicon, now = known.lexicon, np.flatnonzero(known.rows >= 0)
    before = known.rows[now]
    lengths[now] = lexicon.lengths[before]
    now = now[np.argsort(before, kind="stable")]
    times = np.bincount(before, minlength=len(lexicon.lengths))
    first = np.cumsum(times) - times
    for begin in range(0, len(lexicon.rows), BLOCK_TERMS):
        rows = lexicon.rows[begin : begin + BLOCK_TERMS]
        positions = np.arange(begin, begin + len(rows))
        terms = np.searchsorted(lexicon.begins, positions, side="right") - 1
        which, nth = _repeated(times[rows])
        counts = lexicon.counts[positions]
        waiting.add(terms[which], now[first[rows[which]] + nth], counts[which])


def _repeated(times: Numbers) -> tuple[Numbers, Numbers]:
    """Return each index as often as its count, and the running number of each repetition.

    [2, 0, 1] gives [0, 0, 2] and [0, 1, 0].
    """
    import numpy as np

    which = np.repeat(np.arange(len(times)), times)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(times) - times, times)


def _add_fresh(
    waiting: _Waiting,
    passages: Passages,
    fresh: Rows,
    terms: Terms,
    vocabulary: dict[str, int],
    lengths: Numbers,
    advance: Advance,
) -> None:
    """Add the terms of new texts, and assign numbers to new terms."""
    import numpy as np

    def numbered(word: str) -> tuple[int, ...]:
        return tuple(vocabulary.setdefault(t, len(vocabulary)) for t in terms.of_word(word))

    numbers = Remembered(numbered)
    term_numbers, begin = array("I"), 0
    for at in range(0, len(fresh), READ_ROWS):
        rows = fresh[at : at + READ_ROWS]
        sizes = []
        for text in passages.term_texts(rows):
            sizes.append(len(term_numbers))
            term_numbers.extend(chain.from_iterable(map(numbers.__getitem__, words(text))))
        lengths[rows] = np.diff(sizes, append=len(term_numbers))
        if len(term_numbers) >= BLOCK_TERMS or at + READ_ROWS >= len(fresh):
            done = fresh[begin : at + READ_ROWS]
            waiting.add(*_counted(term_numbers, np.repeat(done, lengths[done])))
            term_numbers, begin = array("I"), at + READ_ROWS
        advance(len(rows))


def _counted(numbers: Sequence[int], rows: Rows) -> tuple[Numbers, Numbers, Numbers]:
    """Return the terms of each row once, with the row and the count."""
    import numpy as np

    keys, counts = np.unique((rows << 32) | np.asarray(numbers, np.int64), return_counts=True)
    return keys & 0xFFFFFFFF, keys >> 32, counts


def _write_by_term(
    folder: Path, waiting: _Waiting, vocabulary: dict[str, int], made_by: str
) -> None:
    """Write the terms that still occur, sorted, and the postings of each."""
    import numpy as np
    import pyarrow as pa

    held = waiting.frequencies(len(vocabulary))
    names = sorted(term for term, number in vocabulary.items() if held[number])
    numbers = np.fromiter(map(vocabulary.__getitem__, names), np.int64, len(names))
    place = np.empty(len(held), np.int64)
    place[numbers] = np.arange(len(names))
    begins = np.cumsum(held[numbers]) - held[numbers]
    checksums, documents = _write_postings(folder, waiting, place, begins)
    columns = [names, begins, checksums, documents]
    schema = terms_schema(made_by)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
    batch = pa.record_batch(arrays, schema)
    with pa.OSFile(str(folder / TERMS), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as file:
        file.write_batch(batch)


def _write_postings(
    folder: Path, waiting: _Waiting, place: Rows, begins: Rows
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Append every block's entries to the postings of their terms.

    Return the seal of each term's postings, and the number of documents that contain the term.
    """
    import numpy as np

    total, following = sum(waiting.sizes), begins.copy()
    rows = _new(folder / POSTINGS, np.dtype("<u4"), total)
    counts = _new(folder / COUNTS, np.dtype("<u2"), total)
    for block in waiting.blocks():
        terms = place[block["term"]]
        order = np.argsort(terms, kind="stable")
        sizes = np.bincount(terms, minlength=len(begins))
        _, nth = _repeated(sizes)
        positions = following[terms[order]] + nth
        rows[positions], counts[positions] = block["row"][order], block["count"][order]
        following += sizes
    documents = np.fromfile(folder / DOCUMENTS, "<u4")
    checksums, holding = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)]
    for first, last in _ranges(begins, total):
        piece = slice(begins[first], begins[last] if last < len(begins) else total)
        terms = np.repeat(np.arange(first, last), np.diff(begins[first:last], append=piece.stop))
        order = np.argsort(terms << 32 | rows[piece], kind="stable")
        rows[piece], counts[piece] = rows[piece][order], counts[piece][order]
        starts = begins[first:last] - piece.start
        checksums.append(seals(rows[piece], counts[piece], starts))
        fresh = changes(documents[rows[piece]])
        fresh[starts] = True
        holding.append(np.add.reduceat(fresh, starts, dtype=np.uint32))
    return np.concatenate(checksums), np.concatenate(holding)


def _ranges(begins: Rows, total: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of terms with about as many postings as are sorted in one batch."""
    import numpy as np

    cuts = np.searchsorted(begins, np.arange(0, total, BLOCK_TERMS))
    cuts = np.unique([*cuts, len(begins)])
    yield from zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)


def _new(path: Path, kind: np.dtype[Any], size: int) -> Numbers:
    """Return an array mapped to a new file."""
    import numpy as np

    allocate(path, size * kind.itemsize)
    return np.memmap(path, kind, "r+", shape=(size,)) if size else np.empty(0, kind)
