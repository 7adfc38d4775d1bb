"""Kill parts of `ettin rerank --on ray` at random moments and compare the bytes.

    python benchmarks/cluster_kills.py [--rounds 20] [--what actor,node,driver]

The cluster is on this machine: a head without CPUs and three nodes of one. In each round an actor,
a node or the driver gets SIGKILL after a random part of the time of an undisturbed run. A killed
node is replaced; after a killed driver the command is run again with --resume. The output and its
rejects must have the bytes of a run without Ray. The model has Ettin's architecture, a small shape
and seeded random weights.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.rerank_kills import make_input
from tests.models import ettin

SEED = 11
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


def start(folder: Path, address: str | None, *more: str) -> subprocess.Popen[str]:
    """Start a run in the background, on Ray if there is an address."""
    words = ["rerank", "in.jsonl", "-r", "model", "-q", *more]
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
    arguments = parser.parse_args()
    drawn = random.Random(SEED)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    nodes = [cluster.add_node(**NODE) for _ in range(3)]
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_input(folder / "in.jsonl", queries=600)
        ettin(folder / "model", hidden=64, layers=3, heads=2)
        start(folder, None, "-o", "whole.jsonl").communicate()
        whole = [(folder / f"whole.jsonl{end}").read_bytes() for end in ("", ".rejects.jsonl")]
        on_ray = ("-o", "out.jsonl", "--on", "ray", "--workers", "3", "--unit", "40")
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
                for path in folder.glob("out.jsonl*"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                began = time.perf_counter()
                running = start(folder, cluster.address, *on_ray)
                time.sleep(drawn.uniform(0.4, 0.95) * length)
                parts = list((folder / "out.jsonl.parts" / "parts").glob("*"))
                struck = running.poll() is None
                struck = struck and disturb(what, cluster, nodes, running, drawn)
                amid += struck and 0 < len(parts) < 15
                _, err = running.communicate()
                if what == "driver" and struck:
                    running = start(folder, cluster.address, *on_ray, "--resume")
                    _, err = running.communicate()
                spent += time.perf_counter() - began
                paths = [folder / f"out.jsonl{end}" for end in ("", ".rejects.jsonl")]
                same = [path.exists() and path.read_bytes() for path in paths] == whole
                if running.returncode != 3 or not same or (folder / "out.jsonl.parts").exists():
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
