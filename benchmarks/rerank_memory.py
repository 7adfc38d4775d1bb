"""Measure the peak memory of `ettin rerank` over inputs of growing length.

    python benchmarks/rerank_memory.py [--queries 1000 100000] [--documents 5]

Each input is reranked in a separate process, as one query per line, and as one pair per row in
random order. The model has Ettin's architecture, a tiny shape and seeded random weights. Prints a
row per input.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.models import ettin

CHILD = (
    "import resource, sys\n"
    "from ettin_cli.cli import main\n"
    "try:\n    main()\n"
    "except SystemExit as end:\n    assert not end.code, end.code\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
)


def make_input(path: Path, queries: int, documents: int, *, pairs: bool) -> None:
    """Write queries with their documents, or their pairs in random order."""
    with path.open("w", encoding="utf-8") as file:
        if not pairs:
            for query in range(queries):
                texts = [f"text {query} {at}" for at in range(documents)]
                file.write(json.dumps({"query": f"query {query}", "documents": texts}) + "\n")
            return
        order = [(query, at) for query in range(queries) for at in range(documents)]
        random.Random(3).shuffle(order)
        for query, at in order:
            row = {"query": f"query {query}", "text": f"text {query} {at}"}
            file.write(json.dumps(row) + "\n")


def peak(folder: Path, path: Path) -> tuple[float, float]:
    """Return the peak memory in MB and the seconds of reranking a file."""
    began = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, "rerank", path.name, "-r", "model", "-o", "out.jsonl", "-q"],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "ETTIN_CACHE_DIR": str(folder / "cache")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(ran.stdout.split()[-1]) / 1e3, time.perf_counter() - began


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--documents", type=int, default=5)
    arguments = parser.parse_args()
    print("| input | queries | file MB | peak MB | seconds |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ettin(folder / "model", hidden=32, layers=2, heads=1)
        for kind in ("a query a line", "shuffled pairs"):
            for queries in arguments.queries:
                path = folder / "in.jsonl"
                make_input(path, queries, arguments.documents, pairs=kind == "shuffled pairs")
                used, seconds = peak(folder, path)
                size = path.stat().st_size / 1e6
                print(
                    f"| {kind} | {queries:,} | {size:.1f} | {used:.0f} | {seconds:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
