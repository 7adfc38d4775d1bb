"""Measure lexical search in an index of many passages, beside arrays of all passages.

    python benchmarks/lexical_search.py [--rows 10000000] [--queries 20] [--document 3]

Writes the lexical part of an index of synthetic passages to a temporary folder: 57 terms a passage
on average, from a vocabulary of a million terms by Zipf's law (Mandelbrot's form). Queries have 5
different terms drawn by the same law, without the 40 most frequent, which stand for stop words.
Only the terms of the queries get postings, as a query reads no others. Every answer is compared
bit by bit with arrays of all passages, which is how scores were added up before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ettin_cli.index.lexicon import (
    COUNTS,
    DOCUMENTS,
    LENGTHS,
    LEXICAL,
    POSTINGS,
    TERMS,
    Lexicon,
    seals,
    terms_schema,
)
from ettin_cli.index.manifest import FileRecord
from ettin_cli.storage import checksum
from ettin_cli.text.lexical import inverse_frequency, saturated

VOCABULARY, STOP_WORDS, TERMS_A_PASSAGE, TERMS_A_QUERY = 1_000_000, 40, 57, 5
DEPTH = 100


def main() -> None:
    """Write the lexicon, time the queries both ways, and print a line for each way."""
    parser = argparse.ArgumentParser(description="Measure lexical search in a large index.")
    parser.add_argument("--rows", type=int, default=10_000_000, help="number of passages")
    parser.add_argument("--queries", type=int, default=20, help="number of queries")
    parser.add_argument("--document", type=float, default=3.0, help="passages a document")
    given = parser.parse_args()
    chance = np.random.default_rng(1)
    odds = 1 / (np.arange(VOCABULARY) + 2.7)
    odds /= odds.sum()
    asked = odds.copy()
    asked[:STOP_WORDS] = 0
    asked /= asked.sum()
    ranks = [
        chance.choice(VOCABULARY, TERMS_A_QUERY, replace=False, p=asked)
        for _ in range(given.queries)
    ]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), given.rows, given.document, np.unique(ranks), odds, chance)
        records = {
            name: FileRecord((Path(folder) / name).stat().st_size, checksum(Path(folder) / name))
            for name in LEXICAL
        }
        lexicon = Lexicon(Path(folder), given.rows, records)
        compare(lexicon, [{name(rank): 1.0 for rank in some} for some in ranks])


def name(rank: int) -> str:
    """Return the term of a rank; the order of terms is that of ranks."""
    return f"t{rank:07d}"


def write(
    folder: Path, rows: int, per_document: float, held: Any, odds: Any, chance: np.random.Generator
) -> None:
    """Write the lexical files, with postings of the terms `held`."""
    chance.poisson(TERMS_A_PASSAGE, rows).astype("<u4").tofile(folder / LENGTHS)
    first = chance.random(rows) < 1 / per_document
    first[0] = False
    documents = np.cumsum(first, dtype=np.int64).astype("<u4")
    documents.tofile(folder / DOCUMENTS)
    sizes = np.zeros(VOCABULARY, np.int64)
    sealed, holding = np.zeros(VOCABULARY, np.uint64), np.zeros(VOCABULARY, np.uint32)
    with (folder / POSTINGS).open("wb") as postings, (folder / COUNTS).open("wb") as counted:
        for rank in held.tolist():
            share = 1 - np.exp(-TERMS_A_PASSAGE * odds[rank])
            own = np.unique(chance.integers(0, rows, max(1, round(share * rows)))).astype("<u4")
            counts = chance.geometric(0.8, len(own)).astype("<u2")
            own.tofile(postings)
            counts.tofile(counted)
            sizes[rank], sealed[rank] = len(own), seals(own, counts, [0])[0]
            holding[rank] = len(np.unique(documents[own]))
    columns = [list(map(name, range(VOCABULARY))), np.cumsum(sizes) - sizes, sealed, holding]
    schema = terms_schema()
    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
    with pa.OSFile(str(folder / TERMS), "wb") as sink, pa.ipc.new_file(sink, schema) as file:
        file.write_batch(pa.record_batch(arrays, schema))


def compare(lexicon: Lexicon, queries: Sequence[Mapping[str, float]]) -> None:
    """Print the processor time of queries, and check that both ways give the same bits."""
    begun = time.process_time()
    lexicon.scores({"t": 1.0})
    print(f"opening: {1000 * (time.process_time() - begun):.0f} ms of CPU, once")
    postings = np.array(
        [sum(len(lexicon.postings(term)[0]) for term in query) for query in queries]
    )
    arrays = Arrays(lexicon)
    spent: dict[str, list[float]] = {"postings": [], "arrays of all rows": []}
    for query in queries:
        begun = time.process_time()
        rows, scores = (scored := lexicon.scores(query)).highest(DEPTH)
        spent["postings"].append(time.process_time() - begun)
        begun = time.process_time()
        dense = arrays.scores(query)
        best = arrays.highest(dense)
        spent["arrays of all rows"].append(time.process_time() - begun)
        assert rows.tolist() == best.tolist()
        assert scores.tobytes() == dense[best].tobytes()
        assert scored.rows.tolist() == np.flatnonzero(dense).tolist()
        assert scored.scores.tobytes() == dense[scored.rows].tobytes()
    print(f"{len(lexicon.lengths):,} passages, {postings.mean():,.0f} postings a query on average")
    for kind, seconds in spent.items():
        times = 1000 * np.array(seconds)
        allowed = 15 + 10e-6 * postings
        print(
            f"{kind:20} {times.mean():7.1f} ms of CPU a query, at most {times.max():7.1f}, "
            f"{1e9 * sum(seconds) / postings.sum():6.1f} ns a posting, "
            f"{(times <= allowed).sum()} of {len(times)} within 15 ms + 10 ns a posting"
        )
    print("all scores and rows are the same in every bit")


class Arrays:
    """BM25 by adding to an array of all passages and one of all documents."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon, self.texts = lexicon, lexicon._texts
        self.means = lexicon.statistics(()).means

    def scores(self, terms: Mapping[str, float]) -> Any:
        """Return the score of every passage."""
        lengths, owners, document_lengths = self.texts
        mean, document_mean = self.means
        passages = np.zeros(len(lengths), np.float32)
        documents = np.zeros(len(document_lengths), np.float32)
        most = most_documents = 0.0
        for term, times in terms.items():
            rows, counts = self.lexicon.postings(term)
            weight = times * inverse_frequency(len(lengths), len(rows))
            passages[rows] += weight * saturated(counts, lengths[rows], mean)
            most += weight
            held = owners[rows].astype(np.int64)
            begins = np.flatnonzero(np.diff(held, prepend=-1))
            held, sums = held[begins], np.add.reduceat(counts, begins, dtype=np.int64)
            weight = times * inverse_frequency(len(document_lengths), len(held))
            documents[held] += weight * saturated(sums, document_lengths[held], document_mean)
            most_documents += weight
        matching = np.flatnonzero(passages)
        of_document = documents[owners[matching]] / most_documents
        passages[matching] = (passages[matching] / most + of_document) / 2
        return passages

    def highest(self, scores: Any) -> Any:
        """Return the best rows."""
        rows = np.flatnonzero(scores)
        lowest = -np.partition(-scores[rows], DEPTH - 1)[DEPTH - 1] if len(rows) > DEPTH else 0
        rows = rows[scores[rows] >= lowest]
        return rows[np.lexsort((rows, -scores[rows]))][:DEPTH]


if __name__ == "__main__":
    main()
