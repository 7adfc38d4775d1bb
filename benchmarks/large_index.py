"""Measure building, opening and searching a large index.

    python benchmarks/large_index.py [--passages N...] [--factory FACTORY] [--noise X]

Each vector is one of 2,000 random directions, plus another one with a weight of up to 1, plus noise
of `--noise` times a direction's length, normalised: neighbours share a direction, and the cutoff of
the exact top 100 lies between passages of nearly equal distance. Queries are further vectors of the
same kind that are not indexed. Vectors are written with the index writer of `ettin index`, without
a model; a file has 10 passages. Every step runs in a separate process:

- built: seconds and peak resident memory, including mapped pages, without embedding.
- cold: seconds from opening the index to the hits of the first query, including imports, with the
  files in the page cache; evicted: with the index's files evicted from it; in brackets: including
  Python's start-up. Each is the median of 5 processes.
- warm: median of 50 queries in one process.
- recall: share of the exact top 100 that is found, over 200 queries, beside the index's estimate.

Prints one row per size.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.records import Answer, EmbedderCard

    Floats = NDArray[np.float32]

DIRECTIONS = 2000
PASSAGES_A_FILE = 10
PROCESSES = 5
WARM_QUERIES = 50
RECALL_QUERIES = 200
DEPTH = 100
BLOCK_ROWS = 65_536
QUERIES = "queries.f32"
MB = 1e6
COLUMNS = (
    "passages", "factory", "build, s", "build RSS, MB", "disk, MB", "cold, s", "evicted, s",
    "warm, ms", "search RSS, MB", "recall@100", "recall said",
)  # fmt: skip


class Drawn:
    """A stand-in for an embedder that generates the benchmark's seeded vectors."""

    engine = "none"

    def __init__(self, dimension: int, noise: float, seed: int) -> None:
        import numpy as np

        directions = np.random.default_rng(0).standard_normal((DIRECTIONS, dimension))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        self.directions = directions.astype(np.float32)
        self.noise = noise / dimension**0.5
        self.random = np.random.default_rng(seed)

    def draw(self, texts: Sequence[str], advance: object = None) -> "Floats":
        """Return the next vectors, one per text, regardless of the text."""
        import numpy as np

        shape = len(texts), self.directions.shape[1]
        first, second = self.random.integers(DIRECTIONS, size=(2, len(texts)))
        weight = self.random.random((len(texts), 1), np.float32)
        vectors = self.random.standard_normal(shape, np.float32)
        vectors *= self.noise
        vectors += self.directions[first] + weight * self.directions[second]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


class Given:
    """A stand-in for an embedder: a query's text is its vector's row in a file."""

    engine = "none"

    def __init__(self, path: Path, card: "EmbedderCard") -> None:
        self.path, self.card = path, card

    def embed_queries(self, texts: Sequence[str]) -> "Floats":
        """Return the vectors of these rows."""
        import numpy as np

        vectors = np.fromfile(self.path, np.float32).reshape(-1, self.card.dimension)
        return vectors[[int(text) for text in texts]]

    def embed_documents(self, texts: Sequence[str], advance: object = None) -> "Floats":
        """Never called: only queries are embedded."""
        raise NotImplementedError


def build(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the index and the queries; return the cost."""
    from ettin_cli.index.source_files import FileEntry
    from ettin_cli.index.writer import BuildRecipe, Generation
    from ettin_cli.records import EmbedderCard, Passage

    count = arguments.passages[0]
    card = EmbedderCard("drawn", None, "0" * 64, arguments.dimension, 256)
    queries = Drawn(arguments.dimension, arguments.noise, seed=2)
    queries.draw([""] * RECALL_QUERIES).tofile(arguments.folder / QUERIES)
    drawn = Drawn(arguments.dimension, arguments.noise, seed=1)
    began = time.perf_counter()
    generation = Generation(
        arguments.folder / "index", BuildRecipe(card, "auto", 0, arguments.factory), None
    )
    entries = []
    for first in range(0, count, PASSAGES_A_FILE):
        number, held = first // PASSAGES_A_FILE, min(PASSAGES_A_FILE, count - first)
        name = f"part-{number % 100}/file-{number}.txt"
        entries.append(FileEntry(0, name, name, 1, 1, "0" * 32, first, held, 1))
        for row in range(first, first + held):
            generation.passages.add(Passage(name, f"passage {row}"), number)
    missing = generation.missing()
    missing.embed(drawn.draw)
    missing.finish()
    embedded = time.perf_counter()
    manifest = generation.commit(entries, (), len(entries))
    done = time.perf_counter()
    folder = arguments.folder / "index"
    return {
        "seconds": done - began,
        "commit": done - embedded,
        "peak": peak(),
        "disk": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "factory": manifest.factory,
        "search": dict(manifest.search),
        "said": manifest.recall,
    }


def search(arguments: argparse.Namespace) -> dict[str, Any]:
    """Open the index and answer queries one by one; return the seconds."""
    began = time.perf_counter()
    answers = answered(arguments.folder, WARM_QUERIES + 1)
    next(answers)
    first = time.perf_counter() - began
    ended = time.time()
    warm = []
    for _ in range(WARM_QUERIES if arguments.warm else 0):
        began = time.perf_counter()
        next(answers)
        warm.append(time.perf_counter() - began)
    return {"first": first, "ended": ended, "warm": statistics.median(warm or [0]), "peak": peak()}


def answered(folder: Path, queries: int) -> Iterator["Answer"]:
    """Answer the first queries as `ettin search -r none` does."""
    from ettin_cli.index.reader import Index
    from ettin_cli.records import Query, Silence
    from ettin_cli.searching.answering import search
    from ettin_cli.searching.ranking import SearchOptions
    from ettin_cli.searching.retrievers import DenseRetriever

    index = Index(folder / "index")
    retriever = DenseRetriever(index, Given(folder / QUERIES, index.manifest.embedder))
    for number in range(queries):
        query = [Query(str(number), str(number))]
        yield from search(index, query, retriever, None, SearchOptions(), Silence())


def recall(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the share of the exact FAISS top 100 that the index finds."""
    import numpy as np

    from ettin_cli.index.reader import Index

    index = Index(arguments.folder / "index")
    queries = np.fromfile(arguments.folder / QUERIES, np.float32).reshape(RECALL_QUERIES, -1)
    exact = exact_rows(index.vectors, queries)
    found = [index.retrieve(query[None], DEPTH)[0][0].tolist() for query in queries]
    shares = [len({*one} & {*best}) / len(best) for one, best in zip(found, exact, strict=True)]
    return {"recall": statistics.mean(shares)}


def exact_rows(vectors: "Floats", queries: "Floats") -> list[list[int]]:
    """Return each query's nearest rows, by exhaustive FAISS search in blocks."""
    import faiss
    import numpy as np

    scores = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for begin in range(0, len(vectors), BLOCK_ROWS):
        block = faiss.IndexFlatIP(vectors.shape[1])
        block.add(np.ascontiguousarray(vectors[begin : begin + BLOCK_ROWS], np.float32))
        some, places = block.search(queries, min(DEPTH, block.ntotal))
        scores, rows = np.hstack([scores, some]), np.hstack([rows, places + begin])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
        scores = np.take_along_axis(scores, best, axis=1)
        rows = np.take_along_axis(rows, best, axis=1)
    found: list[list[int]] = rows.tolist()
    return found


def peak() -> int:
    """Return this process's peak resident memory in bytes."""
    import resource

    # Kilobytes, except on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def evict(folder: Path) -> None:
    """Evict the index's files from the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


STEPS = {"build": build, "search": search, "recall": recall}


def run(step: str, arguments: argparse.Namespace, passages: int, *more: str) -> dict[str, Any]:
    """Run a step in a separate process; return its result, and its seconds with start-up."""
    # This process imports nothing large, which would count as memory of the children it forks.
    settings = ["dimension", "noise", "factory", "folder"]
    options = [f"--{name}={getattr(arguments, name)}" for name in settings]
    command = [sys.executable, __file__, "--step", step, *options, *more]
    began = time.time()
    ran = subprocess.run(
        [*command, "--passages", str(passages)], stdout=subprocess.PIPE, check=True, text=True
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return {**found, "began": began}


def opened(arguments: argparse.Namespace, passages: int, *, evicted: bool) -> str:
    """Return the seconds to the first hits, and in brackets those with Python's start-up."""
    inside, whole = [], []
    for _ in range(PROCESSES):
        if evicted:
            evict(arguments.folder)
        took = run("search", arguments, passages)
        inside.append(took["first"])
        whole.append(took["ended"] - took["began"])
    return f"{statistics.median(inside):.2f} ({statistics.median(whole):.2f})"


def row(arguments: argparse.Namespace, passages: int) -> list[str]:
    """Measure one size; return its row of the table."""
    built = run("build", arguments, passages)
    cold = opened(arguments, passages, evicted=False)
    evicted = opened(arguments, passages, evicted=True) if hasattr(os, "posix_fadvise") else "-"
    warm = run("search", arguments, passages, "--warm")
    searched = ", ".join(f"{name} {value}" for name, value in built["search"].items())
    return [
        f"{passages:,}",
        f"{built['factory']} {searched}".strip(),
        f"{built['seconds']:,.0f} (of that commit {built['commit']:,.0f})",
        f"{built['peak'] / MB:,.0f}",
        f"{built['disk'] / MB:,.0f}",
        cold,
        evicted,
        f"{1000 * warm['warm']:,.0f}",
        f"{warm['peak'] / MB:,.0f}",
        f"{run('recall', arguments, passages)['recall']:.3f}",
        f"{built['said']:.3f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", nargs="+", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--factory", default="auto")
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where to work; needs 5 KB a passage")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--warm", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(STEPS[arguments.step](arguments)))
        return
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    place = arguments.folder
    for passages in arguments.passages:
        with tempfile.TemporaryDirectory(dir=place) as name:
            arguments.folder = Path(name)
            arguments.folder = Path(name)
            print("| " + " | ".join(row(arguments, passages)) + " |", flush=True)


if __name__ == "__main__":
    main()
