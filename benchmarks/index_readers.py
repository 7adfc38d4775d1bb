"""Search an index from many processes while another updates it repeatedly.

    python benchmarks/index_readers.py [--minutes 1] [--readers 20]

The texts of the n-th generation contain n. Every answer is compared with a brute-force search over
the texts of one generation, which must have been in force when the index was opened and must stay
the same while it is open. Every third reader keeps it open for three further generations.
Prints one line of counts; exits with 1 if any answer was wrong.
"""

import argparse
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
import pytest

from ettin_cli.index.reader import Index
from ettin_cli.indexing import building
from ettin_cli.models.embedders import read_card
from ettin_cli.models.hub import ModelFiles
from ettin_cli.records import Query, Silence
from ettin_cli.searching.answering import search
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.retrievers import DenseRetriever
from tests.indexes import Builder, WordEmbedder, word_model, word_vector

FILES = 24
TOP_K = 5
KEPT_FOR = 3


@cache
def vector(text: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Return the cached vector of a text."""
    return word_vector(text)


def text_of(generation: int, number: int) -> str:
    """Return the content of a file in a generation, which determines its topic."""
    about = ("ferry", "bread", "auk", "pier", "dough")[(generation + number) % 5]
    return f"g{generation} file{number} tells of {about} {number % 7}"


class Shared:
    """The state shared by the processes."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self.begun: Synchronized[int] = context.Value("q", 0)
        self.in_force: Synchronized[int] = context.Value("q", 0)
        self.answers: Synchronized[int] = context.Value("q", 0)
        self.opened: Synchronized[int] = context.Value("q", 0)
        self.outlived: Synchronized[int] = context.Value("q", 0)


def write(root: Path, shared: Shared, build: Builder, until: float) -> None:
    """Commit one generation after another."""
    while time.time() < until:
        shared.begun.value += 1
        for number in range(FILES):
            (root / "docs" / f"{number}.txt").write_text(text_of(shared.begun.value, number))
        build(root / "i", root / "docs")
        shared.in_force.value = shared.begun.value


def read(root: Path, shared: Shared, embedder: WordEmbedder, number: int, until: float) -> None:
    """Open and search the index repeatedly."""
    drawn = random.Random(number)
    while time.time() < until:
        oldest = shared.in_force.value
        index = Index(root / "i")
        newest = shared.begun.value
        with shared.opened.get_lock():
            shared.opened.value += 1
        generation = ask(index, embedder, shared, drawn)
        assert oldest <= generation <= newest, (oldest, generation, newest)
        if number % 3:
            continue
        while shared.in_force.value < generation + KEPT_FOR and time.time() < until:
            assert ask(index, embedder, shared, drawn) == generation
        if shared.in_force.value >= generation + KEPT_FOR:
            assert ask(index, embedder, shared, drawn) == generation
            with shared.outlived.get_lock():
                shared.outlived.value += 1


def ask(index: Index, embedder: WordEmbedder, shared: Shared, drawn: random.Random) -> int:
    """Search once; return the generation of all hits."""
    query = text_of(drawn.randrange(5), drawn.randrange(FILES))
    options = SearchOptions(top_k=TOP_K, candidates=2 * TOP_K, fold="none")
    retriever = DenseRetriever(index, embedder)
    (answer,) = search(index, [Query("1", query)], retriever, None, options, Silence())
    named = {int(re.findall(r"g(\d+) ", hit.passage.text)[0]) for hit in answer.hits}
    (generation,) = named
    texts = {f"{number}.txt": text_of(generation, number) for number in range(FILES)}
    scores = {name: float(vector(text) @ vector(query)) for name, text in texts.items()}
    best = sorted(scores.values(), reverse=True)[:TOP_K]
    assert np.allclose([hit.score for hit in answer.hits], best, atol=1e-3), (query, answer)
    for hit in answer.hits:
        assert hit.passage.text == texts[hit.passage.doc_id]
        assert abs(hit.score - scores[hit.passage.doc_id]) < 1e-3
    with shared.answers.get_lock():
        shared.answers.value += 1
    return generation


def main() -> None:
    """Print the counts; exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--readers", type=int, default=20)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("fork")
    shared = Shared()
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        root = Path(name)
        (root / "docs").mkdir()
        build = Builder(word_model(root / "words"))
        patch.setattr(building, "load_embedder", build.load)
        patch.setenv("ETTIN_CACHE_DIR", str(root / "cache"))
        write(root, shared, build, time.time() + 1e-3)
        embedder = WordEmbedder(read_card(ModelFiles(str(root / "words"), root / "words", None)))
        until = time.time() + 60 * arguments.minutes

        def start(work: Callable[..., None], *words: object) -> multiprocessing.Process:
            process = context.Process(target=work, args=(root, shared, *words, until))
            process.start()
            return process  # type: ignore[return-value]

        processes = [start(read, embedder, number) for number in range(arguments.readers)]
        processes.append(start(write, build))
        for process in processes:
            process.join()
        failed = sum(process.exitcode != 0 for process in processes)
        left = len(os.listdir(root / "i" / "generations")) - 1  # noqa: PTH208
    print(
        f"{arguments.readers} readers, {shared.in_force.value} generations: {shared.opened.value} "
        f"times opened, {shared.answers.value} answers, {shared.outlived.value} times kept open "
        f"over {KEPT_FOR} more; {failed} processes failed, {left} generations left over"
    )
    sys.exit(1 if failed or left else 0)


if __name__ == "__main__":
    main()
