"""Compare our embedding with sentence-transformers' encode on the same passages.

    python benchmarks/embedding_speed.py COLLECTION [--passages 400] [--rounds 3]

COLLECTION holds corpus.jsonl. The embedder is all-MiniLM-L6-v2, from the package that includes it.
Both are timed in turn, without loading the model. Prints the medians, their ratio and the smallest
cosine between corresponding vectors.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ettin_cli.models.embedders import find_embedder, load_embedder
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.records import Silence


def passages_of(collection: Path, count: int) -> list[str]:
    """Return the first texts of a collection, truncated at the embedder's token limit."""
    with (collection / "corpus.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line)["text"][:1000] for line in itertools.islice(lines, count)]


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", type=Path)
    parser.add_argument("--passages", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    from sentence_transformers import SentenceTransformer

    files = find_embedder("auto", offline=True, reporter=Silence())
    embedder = load_embedder(files, EngineSettings("cpu"), Silence())
    reference = SentenceTransformer(str(files.folder), device="cpu")
    texts = passages_of(arguments.collection, arguments.passages)
    ways: dict[str, Callable[[], Any]] = {
        "ettin": lambda: embedder.embed_documents(texts),
        "sentence-transformers": lambda: reference.encode(texts, normalize_embeddings=True),
    }
    vectors = {name: run() for name, run in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, run in ways.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    for name, times in seconds.items():
        spread = " ".join(f"{one:.2f}" for one in sorted(times))
        print(f"{name:<21} {len(texts) / statistics.median(times):7.1f} passages/s   {spread}")
    ours, theirs = seconds.values()
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    cosine = float((vectors["ettin"] * vectors["sentence-transformers"]).sum(axis=1).min())
    print(f"ratio {ratio:.2f}, smallest cosine {cosine:.7f}")


if __name__ == "__main__":
    main()
