"""Measure an update after one changed document, with shards and without.

    python benchmarks/sharded_update.py [--passages 1000000] [--files 1000] [--shards 8]

The corpus is JSONL files of as many records each, whose words have Zipf frequencies. Vectors are
drawn, not a model's, so no time is spent on embedding. One document in the middle of the corpus is
changed, and the index is updated. Prints a row for the index without shards and one for that in
shards: seconds and processor seconds of the first build and of the update, the shards and the bytes
that the update wrote, and the largest resident memory, each index in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.large_index import Drawn
from ettin_cli.indexing import building
from ettin_cli.records import Silence
from ettin_cli.text import Chunking
from tests.indexes import DIMENSION, word_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ettin_cli.records import Advance, EmbedderCard

VOCABULARY = 200_000
WORDS = 12
COLUMNS = (
    "shards", "build, s", "CPU, s", "update, s", "CPU, s", "embedded", "shards written",
    "MB written", "RSS, MB",
)  # fmt: skip


class DrawnEmbedder:
    """A stand-in for an embedder that generates vectors."""

    backend = "none"

    def __init__(self, card: "EmbedderCard") -> None:
        self.card, self.drawn = card, Drawn(DIMENSION, 0.5, seed=1)

    def embed_documents(self, texts: "Sequence[str]", advance: "Advance") -> Any:
        """Return the next vectors, one per text, regardless of the text."""
        advance(len(texts))
        return self.drawn.draw(texts)


def write_corpus(folder: Path, files: int, passages: int) -> None:
    """Write files of as many records each."""
    import numpy as np

    random = np.random.default_rng(3)
    for number in range(files):
        count = passages * (number + 1) // files - passages * number // files
        drawn = np.minimum(random.zipf(1.2, (count, WORDS)), VOCABULARY)
        lines = [
            json.dumps({"_id": f"{number}-{row}", "text": " ".join(f"w{word}" for word in words)})
            for row, words in enumerate(drawn.tolist())
        ]
        path = folder / f"part-{number // 100}" / f"{number:06}.jsonl"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("\n".join(lines) + "\n")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Build and update an index; return the cost."""
    from ettin_cli.indexing import BuildRequest, build_index

    building.load_embedder = lambda _files, _settings, _reporter, card, _loaded: DrawnEmbedder(  # type: ignore[assignment]
        card
    )
    index, corpus = arguments.folder / f"index-{arguments.measure}", arguments.folder / "corpus"
    model = str(arguments.folder / "model")
    asked = arguments.measure if arguments.measure != "0" else None
    costs = []
    for step in ("build", "update"):
        if step == "update":
            before = written(index)
            change_one(corpus, arguments.files)
        began, spent = time.perf_counter(), time.process_time()
        first = {"add": [str(corpus)], "embedder": model, "shards": asked}
        request = BuildRequest(
            index,
            offline=True,
            chunking=Chunking(None),
            **(first if step == "build" else {}),  # type: ignore[arg-type]
        )
        report = build_index(request, Silence())
        costs += [time.perf_counter() - began, time.process_time() - spent]
    after = written(index)
    new = {path: size for path, size in after.items() if before.get(path) != size}
    places = {path.parts[1] for path, _ in new if path.parts[0] == "shards"}
    return {
        "costs": costs,
        "embedded": report.embedded,
        "places": len(places),
        "bytes": sum(size for size in new.values()),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def written(index: Path) -> dict[tuple[Path, int], int]:
    """Return the size of each file of an index, by its path and number on the disk."""
    paths = (path for path in index.rglob("*") if path.is_file())
    stats = ((path, path.stat()) for path in paths)
    return {(path.relative_to(index), stat.st_ino): stat.st_size for path, stat in stats}


def change_one(corpus: Path, files: int) -> None:
    """Change one record of the file in the middle."""
    number = files // 2
    path = corpus / f"part-{number // 100}" / f"{number:06}.jsonl"
    lines = path.read_text().splitlines()
    row = len(lines) // 2
    lines[row] = json.dumps({**json.loads(lines[row]), "text": f"w1 changed {time.time_ns()}"})
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Print a row for each index."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments)))
        return
    print(" | ".join(COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder) / "corpus", arguments.files, arguments.passages)
        word_model(Path(folder) / "model")
        for shards in (0, arguments.shards):
            words = [__file__, *sys.argv[1:], "--folder", folder, "--measure", str(shards)]
            ran = subprocess.run([sys.executable, *words], capture_output=True, check=True)
            row = json.loads(ran.stdout)
            costs = " | ".join(f"{cost:.1f}" for cost in row["costs"])
            print(
                f"{shards} | {costs} | {row['embedded']} | {row['places']} | "
                f"{row['bytes'] / 1e6:.1f} | {row['peak'] / 1e6:.0f}"
            )


if __name__ == "__main__":
    main()
