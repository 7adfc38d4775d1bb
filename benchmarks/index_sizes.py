"""Compare FAISS factories over the same vectors: bytes on disk and in memory, recall, latency.

    python benchmarks/index_sizes.py [--passages N...] [--factory FACTORY...] [--noise X]

Vectors and queries are those of large_index.py, written with the index writer of `ettin index`.
Every step runs in a separate process:

- a vector: bytes on disk of the FAISS index and the vectors for rescoring, and in brackets of FAISS
  alone, which must be in memory for a fast search.
- opened: private memory for opening the index and answering a query, without mapped pages, which
  the system can reclaim.
- recall: share of the exact top 100 that is found, over 200 queries, beside the index's estimate.
- warm: median of 50 queries in one process, without reranking.
- build: seconds from the last vector to the committed index, including the recall measurement.

Prints one row per factory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import large_index

FACTORIES = (
    "Flat", "SQfp16", "SQ8", "SQ4", "RaBitQ", "RaBitQfs",
    "IVF1024,Flat", "IVF1024,SQ8", "IVF1024,RaBitQfs",
)  # fmt: skip
MB = 1e6
COLUMNS = (
    "passages", "factory", "searched with", "a vector, bytes", "on disk, MB", "opened, MB",
    "recall@100", "recall said", "warm, ms", "build, s",
)  # fmt: skip


def private_memory() -> int:
    """Return this process's private memory in bytes, without mapped files; 0 if unknown."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    found = [line for line in status.read_text().splitlines() if line.startswith("RssAnon:")]
    return 1024 * int(found[0].split()[1])


def opened(folder: Path) -> int:
    """Return the private memory of the index, without that of the libraries."""
    import faiss
    import numpy as np

    from ettin_cli.index.reader import Index

    small = faiss.IndexFlatIP(8)
    small.add(np.zeros((1, 8), np.float32))
    small.search(np.zeros((1, 8), np.float32), 1)
    before = private_memory()
    index = Index(folder / "index")
    query = np.fromfile(folder / large_index.QUERIES, np.float32)[: index.vectors.shape[1]]
    index.retrieve(query[None], large_index.DEPTH)
    return private_memory() - before


def row(arguments: argparse.Namespace, passages: int) -> list[str]:
    """Measure one factory at one size; return its row of the table."""
    built = large_index.run("build", arguments, passages)
    index = arguments.folder / "index"
    files = json.loads((index / "manifest.json").read_bytes())["files"]
    searched = files["vectors.faiss"]["bytes"]
    vectors = searched + files.get("embeddings.f16", {"bytes": 0})["bytes"]
    warm = large_index.run("search", arguments, passages, "--warm")
    command = [sys.executable, __file__, "--opened", str(arguments.folder)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return [
        f"{passages:,}",
        built["factory"],
        ", ".join(f"{name} {value}" for name, value in built["search"].items()) or "-",
        f"{vectors / passages:,.0f} ({searched / passages:,.0f})",
        f"{vectors / MB:,.0f}",
        f"{int(ran.stdout) / MB:,.0f}",
        f"{large_index.run('recall', arguments, passages)['recall']:.3f}",
        f"{built['said']:.3f}",
        f"{1000 * warm['warm']:,.1f}",
        f"{built['commit']:,.0f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", nargs="+", type=int, default=[100_000])
    parser.add_argument("--factory", nargs="+", default=FACTORIES)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where to work; needs 4 KB a passage")
    parser.add_argument("--opened", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.opened:
        print(opened(arguments.opened))
        return
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    place, factories = arguments.folder, arguments.factory
    for passages in arguments.passages:
        for factory in factories:
            with tempfile.TemporaryDirectory(dir=place) as name:
                settings: dict[str, Any] = {"folder": Path(name), "factory": factory}
                one = argparse.Namespace(**{**vars(arguments), **settings})
                print("| " + " | ".join(row(one, passages)) + " |", flush=True)


if __name__ == "__main__":
    main()
