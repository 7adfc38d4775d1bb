"""Kill parts of a command with `--on ray` at random moments and compare the bytes.

    python benchmarks/cluster_kills.py [--rounds 20] [--what actor,node,driver] [--command index]

The cluster is on this machine: a head without CPUs and three nodes of one. In each round an actor,
a node or the driver gets SIGKILL after a random part of the time of an undisturbed run. A killed
node is replaced; after a killed driver the command is run again. The output of `ettin rerank` and
its rejects, or the files of `ettin index`, must have the bytes of a run without Ray. The reranker
has Ettin's architecture, a small shape and seeded random weights; the embedder is the packaged one.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rerank_kills import make_input
from tests.models import ettin
from tests.test_index_units import contents as index_contents

SEED = 11
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@dataclass(frozen=True)
class Story:
    """A command whose parts are killed.

    Args:
        words: The command, to which the output is added.
        on_ray: What is added for a run on Ray.
        resume: What is added to resume it.
        code: The exit code of a complete run.
        units: The number of units.
        parts: The files of the units that are done.
        contents: Returns the output.
    """

    words: tuple[str, ...]
    on_ray: tuple[str, ...]
    resume: tuple[str, ...]
    code: int
    units: int
    parts: str
    contents: Callable[[Path], object]


def reranked(output: Path) -> list[bytes]:
    """Return the output of a rerank run, and its rejects."""
    return [output.with_name(f"{output.name}{end}").read_bytes() for end in ("", ".rejects.jsonl")]


STORIES = {
    "rerank": Story(
        ("rerank", "in.jsonl", "-r", "model", "-f", "jsonl", "-q", "-o"),
        ("--on", "ray", "--workers", "3", "--unit", "40"),
        ("--resume",),
        *(3, 15, "out.parts/parts/*", reranked),
    ),
    "index": Story(
        ("index", "texts.jsonl", "--embedder", "embedded", "-q", "-i"),
        ("--on", "ray", "--workers", "3", "--unit", "40"),
        (),
        *(0, 15, "out/work/*/units.parts/parts/*", index_contents),
    ),
}


def make_texts(path: Path, count: int) -> None:
    """Write records with distinct texts."""
    rows = [{"_id": str(n), "text": f"note {n} of the ferry and the baker"} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # A file that has just been written is recorded as one that may still change.
    os.utime(path, (1e9, 1e9))


def start(folder: Path, address: str | None, *words: str) -> subprocess.Popen[str]:
    """Start a run in the background, on Ray if there is an address."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "ETTIN_CACHE_DIR": str(folder / "cache")}
    environment |= {"ETTIN_DAEMON": "never"} | ({"RAY_ADDRESS": address} if address else {})
    return subprocess.Popen(
        [sys.executable, "-m", "ettin_cli", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers() -> list[int]:
    """Return the processes of the actors."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            begins = path.read_bytes().startswith(b"ray::MapWorker")
        except OSError:
            continue
        if begins:
            found.append(int(path.parent.name))
    return sorted(found)


def disturb(what: str, cluster: Any, nodes: list[Any], running: Any, drawn: random.Random) -> bool:
    """Kill something; return whether there was something to kill."""
    if what == "driver":
        running.kill()
        return True
    if what == "node":
        cluster.remove_node(nodes.pop(drawn.randrange(len(nodes))), allow_graceful=False)
        nodes.append(cluster.add_node(**NODE))
        return True
    actors = workers()
    if actors:
        os.kill(drawn.choice(actors), signal.SIGKILL)
    return bool(actors)


def main() -> None:
    """Print a table; exit with 1 if an output differs."""
    from ray.cluster_utils import Cluster

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--what", default="actor,node,driver")
    parser.add_argument("--command", choices=STORIES, default="rerank")
    arguments = parser.parse_args()
    drawn, story = random.Random(SEED), STORIES[arguments.command]
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    nodes = [cluster.add_node(**NODE) for _ in range(3)]
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_input(folder / "in.jsonl", queries=600)
        ettin(folder / "model", hidden=64, layers=3, heads=2)
        make_texts(folder / "texts.jsonl", 40 * 15)
        start(folder, None, *story.words, "whole").communicate()
        whole = story.contents(folder / "whole")
        on_ray = (*story.words, "out", *story.on_ray)
        began = time.perf_counter()
        start(folder, cluster.address, *on_ray).communicate()
        length = time.perf_counter() - began
        print(f"an undisturbed run on Ray takes {length:.1f} s")
        print("| killed | rounds | of them while units were done | other bytes | mean s |")
        print("|---|---|---|---|---|", flush=True)
        for what in arguments.what.split(","):
            different = amid = 0
            spent = 0.0
            for _ in range(arguments.rounds):
                for path in folder.glob("out*"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                began = time.perf_counter()
                running = start(folder, cluster.address, *on_ray)
                time.sleep(drawn.uniform(0.4, 0.95) * length)
                parts = list(folder.glob(story.parts))
                struck = running.poll() is None
                struck = struck and disturb(what, cluster, nodes, running, drawn)
                amid += struck and 0 < len(parts) < story.units
                _, err = running.communicate()
                if what == "driver" and struck:
                    running = start(folder, cluster.address, *on_ray, *story.resume)
                    _, err = running.communicate()
                spent += time.perf_counter() - began
                ended = running.returncode == story.code
                same = ended and story.contents(folder / "out") == whole
                if not same or any(folder.rglob("*.parts")):
                    different += 1
                    print(running.returncode, same, err, file=sys.stderr)
            failed += different
            mean = spent / arguments.rounds
            print(
                f"| {what} | {arguments.rounds} | {amid} | {different} | {mean:.1f} |", flush=True
            )
    cluster.shutdown()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
