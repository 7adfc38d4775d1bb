"""Kill `ettin rerank` at random moments and check that resuming gives the same bytes.

    python benchmarks/rerank_kills.py [--kills 50] [--format jsonl]

After an undisturbed run, runs are killed with SIGKILL after a random part of its time, and resumed
with --resume until one finishes; this is repeated from the start until the number of kills is
reached. Every output is compared with the first. The model has Ettin's architecture, a small shape
and seeded random weights.
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

SEED = 11


def make_input(path: Path, queries: int = 400, documents: int = 10) -> None:
    """Write queries with documents of many lengths, and some broken rows."""
    drawn = random.Random(SEED)
    words = [f"word{number}" for number in range(300)]
    with path.open("w", encoding="utf-8") as file:
        for query in range(queries):
            texts = [
                " ".join(drawn.choices(words, k=drawn.randint(2, 60))) for _ in range(documents)
            ]
            file.write(json.dumps({"query": f"word{query}", "documents": texts}) + "\n")
            if query % 50 == 0:
                file.write("broken\n")


def start(folder: Path, output: str, *more: str) -> subprocess.Popen[bytes]:
    """Start a run in the background."""
    words = ["rerank", "in.jsonl", "-r", "model", "-o", output, "-q", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "ettin_cli", *words],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "ETTIN_CACHE_DIR": str(folder / "cache")},
        stderr=subprocess.DEVNULL,
    )


def main() -> None:
    """Print the result; exit with 1 if an output differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--format", default="jsonl")
    arguments = parser.parse_args()
    drawn = random.Random(SEED)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_input(folder / "in.jsonl")
        ettin(folder / "model", hidden=64, layers=3, heads=2)
        whole, target = folder / f"whole.{arguments.format}", folder / f"out.{arguments.format}"
        began = time.perf_counter()
        start(folder, whole.name).wait()
        length = time.perf_counter() - began
        kills = ended = different = marked = 0
        while kills < arguments.kills:
            process = start(folder, target.name, "--resume")
            try:
                process.wait(drawn.uniform(0, length))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
                marked += (folder / f"{target.name}.partial.json").exists()
                continue
            ended += 1
            same = target.read_bytes() == whole.read_bytes()
            different += process.returncode != 3 or not same
            left = sorted(path.name for path in folder.glob(f"{target.name}*"))
            different += left != [target.name, f"{target.name}.rejects.jsonl"]
            target.unlink()
        print(
            f"a run takes {length:.1f} s; {kills} kills, {marked} of them with work to go on with; "
            f"{ended} runs ended, {different} differ"
        )
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
