"""Search one index and the same passages in shards: opening, time of a query, and memory.

The passages have words drawn by Zipf's law and random vectors. Every answer of the shards is
compared with that of the single index. Then one shard is linked many times, to see how opening and
searching grow with the number of shards.

    python benchmarks/sharded_search.py --rows 200000 --shards 8 --links 120
"""

import argparse
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ettin_cli.index.manifest import (
    GENERATIONS,
    MANIFEST,
    SHARDS,
    ShardRecord,
    read_manifest,
    write_manifest,
)
from ettin_cli.index.reader import Index
from ettin_cli.index.source_files import FileEntry
from ettin_cli.index.writer import BuildRecipe, Generation
from ettin_cli.records import Advance, EmbedderCard, Passage, no_progress
from ettin_cli.searching.retrievers import DenseRetriever, HybridRetriever, LexicalRetriever
from ettin_cli.storage import checksum

DIMENSION, VOCABULARY, DEPTH = 64, 50_000, 100
AT_ONCE = 100_000
CARD = EmbedderCard("drawn", None, "f" * 64, DIMENSION, 256)
QUERIES = 20


class Drawn:
    """Embeds each text by a vector drawn for it."""

    backend, card = "drawn", CARD

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Any:
        """Return a vector for each text."""
        vectors = np.empty((len(texts), DIMENSION), np.float32)
        for at, text in enumerate(texts):
            seed = np.frombuffer(text.encode()[:32].ljust(32), np.uint64)
            vectors[at] = np.random.Generator(np.random.PCG64(seed.tolist())).standard_normal(
                DIMENSION, np.float32
            )
        advance(len(texts))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_queries(self, texts: Sequence[str]) -> Any:
        """Return a vector for each query."""
        return self.embed_documents(texts)


def drawn_texts(rows: int, words: int, seed: int) -> list[str]:
    """Return texts with words drawn by Zipf's law."""
    rng = np.random.default_rng(seed)
    likely = 1 / np.arange(1, VOCABULARY + 1)
    names = np.array([f"w{number:x}" for number in range(VOCABULARY)])
    texts: list[str] = []
    for begin in range(0, rows, AT_ONCE):
        shape = min(AT_ONCE, rows - begin), words
        numbers = rng.choice(VOCABULARY, shape, p=likely / likely.sum())
        texts += [" ".join(line) for line in names[numbers].tolist()]
    return texts


def write(folder: Path, texts: list[str], first: int, factory: str) -> None:
    """Write an index of some texts."""
    recipe = BuildRecipe(CARD, "auto", 0, factory, language="none")
    folder.mkdir(parents=True)
    generation = Generation(folder, recipe, None)
    for number, text in enumerate(texts, first):
        generation.passages.add(Passage(f"d{number}", text), 0)
    missing = generation.missing()
    missing.embed(Drawn().embed_documents)
    missing.finish()
    entry = FileEntry(0, "a", "a", 1, 1, "x", passages=len(texts), documents=len(texts))
    generation.commit([entry], (), len(texts))


def write_root(root: Path, names: list[str]) -> None:
    """Write the manifest of an index with these shards."""
    made = [read_manifest(root / SHARDS / name) for name in names]
    records = [
        ShardRecord(name, one.counts.passages, checksum(root / SHARDS / name / MANIFEST))
        for name, one in zip(names, made, strict=True)
    ]
    total = sum(one.counts.passages for one in made)
    counts = replace(made[0].counts, passages=total, documents=total)
    (root / GENERATIONS / "000001-00000000").mkdir(parents=True)
    manifest = replace(made[0], generation="000001-00000000", files={}, counts=counts)
    write_manifest(root, replace(manifest, shards=tuple(records)))


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the processor time of a call, in ms."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e3


def measured(folder: Path, queries: list[str]) -> dict[str, list[tuple[list[int], bytes]]]:
    """Print what opening and searching an index takes; return its answers."""
    began = time.perf_counter()
    opening = cpu_ms(lambda: Index(folder))
    seconds = time.perf_counter() - began
    index = Index(folder)
    print(f"{folder.name}: {len(index.passages):,} passages, {len(index.parts)} parts")
    print(f"  opening: {opening:.0f} ms of CPU, {seconds:.2f} s")
    answers = {}
    for retriever in (
        LexicalRetriever(index),
        DenseRetriever(index, Drawn()),
        HybridRetriever(index, Drawn()),
    ):
        searches = retriever.searches([[query] for query in queries])
        first = cpu_ms(lambda: searches[0](DEPTH, None))  # noqa: B023
        found = []
        usual = cpu_ms(lambda: found.extend(one(DEPTH, None) for one in searches))  # noqa: B023
        reading = cpu_ms(lambda: index.read(found[-1].rows[:10]))  # noqa: B023
        print(
            f"  {retriever.name}: first query {first:.1f} ms of CPU, then "
            f"{usual / len(queries):.1f} ms a query; reading 10 passages {reading:.1f} ms"
        )
        answers[retriever.name] = [(one.rows.tolist(), one.scores.tobytes()) for one in found]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  most memory of the process so far, with mapped files: {peak:,.0f} MiB")
    return answers


def main() -> None:
    """Build, compare and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--words", type=int, default=40, help="words of a passage")
    parser.add_argument("--links", type=int, default=120)
    parser.add_argument("--factory", default="SQfp16", help="an exact FAISS factory")
    parser.add_argument("--folder", type=Path, default=Path("sharded_search.tmp"))
    asked = parser.parse_args()
    shutil.rmtree(asked.folder, ignore_errors=True)
    texts = drawn_texts(asked.rows, asked.words, seed=1)
    queries = drawn_texts(QUERIES, 5, seed=2)
    write(asked.folder / "single", texts, 0, asked.factory)
    parted, bounds = (
        asked.folder / "parted",
        np.linspace(0, len(texts), asked.shards + 1, dtype=int),
    )
    names = [f"{number:04}" for number in range(asked.shards)]
    for name, (begin, end) in zip(names, pairwise(bounds.tolist()), strict=True):
        write(parted / SHARDS / name, texts[begin:end], begin, asked.factory)
    write_root(parted, names)
    linked = asked.folder / "linked"
    names = [f"{number:04}" for number in range(asked.links)]
    for name in names:
        shutil.copytree(parted / SHARDS / "0000", linked / SHARDS / name, copy_function=os.link)
    write_root(linked, names)
    single = measured(asked.folder / "single", queries)
    if measured(parted, queries) != single:
        sys.exit("the shards answer otherwise than the single index")
    print("  every row and every bit of a score as in the single index")
    measured(linked, queries)
    shutil.rmtree(asked.folder)


if __name__ == "__main__":
    main()
