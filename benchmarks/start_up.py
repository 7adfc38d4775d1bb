"""Time cold commands against an equivalent sentence-transformers script.

    python benchmarks/start_up.py [--rounds 5]

Every run is a separate process: `ettin score` with a model of the exact shape of Ettin 17m and
seeded random weights, `ettin search -r embedded` over an index of the sample corpus, and a script
that loads the same model with sentence-transformers and scores the same two texts.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.models import ettin

ROOT = Path(__file__).parents[1]
TEXTS = ["Dogs are not carried.", "Lunch is at one."]
QUERY = "can I bring my dog"


def main() -> None:
    """Print the median seconds of each command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        model, index = ettin(Path(folder) / "17m"), Path(folder) / "index"
        os.environ |= {"ETTIN_CACHE_DIR": str(Path(folder) / "cache"), "HF_HUB_OFFLINE": "1"}
        ours = [sys.executable, "-m", "ettin_cli"]
        script = (
            "from sentence_transformers import CrossEncoder\n"
            f"model = CrossEncoder({str(model)!r}, device='cpu')\n"
            f"print(model.predict([({QUERY!r}, text) for text in {TEXTS!r}]))"
        )
        commands = {
            "ettin --version": [*ours, "--version"],
            "ettin --help": [*ours, "--help"],
            "ettin score -r 17m": [*ours, "score", QUERY, *TEXTS, "-r", str(model)],
            "ettin search -r embedded": [
                *ours, "search", QUERY, "-i", str(index), "-r", "embedded", "-k", "3"
            ],
            "sentence-transformers": [sys.executable, "-c", script],
        }  # fmt: skip
        corpus = str(ROOT / "sample_corpora" / "island_station")
        run([*ours, "index", corpus, "-i", str(index), "-q"])
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                seconds[name].append(run(command))
    for name, times in seconds.items():
        spread = " ".join(f"{one:.2f}" for one in sorted(times))
        print(f"{name:<26} {statistics.median(times):5.2f} s   {spread}")


def run(command: list[str]) -> float:
    """Return the seconds that a command takes."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
