"""`--on ray` on a cluster of this machine: the same bytes, and nothing of Ray's in the output."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.test_index_units import contents as index_contents

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = pytest.mark.ray

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
sizes = {"num_cpus": 3, "object_store_memory": 100 << 20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=sizes)
print("address", cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@dataclass(frozen=True)
class Place:
    """A folder, and the environment of commands that use the cluster."""

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    def ettin(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "ettin_cli", *words)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("ray")
    root = str(Path(__file__).parents[1])
    environment = {
        **os.environ,
        "RAY_USAGE_STATS_ENABLED": "0",
        "ETTIN_CACHE_DIR": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        "ETTIN_DEVICE": "cpu",
        "PYTHONPATH": root,
    }
    environment.pop("RAY_ADDRESS", None)
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as cluster:
        assert cluster.stdout and cluster.stdin
        address = next(line for line in cluster.stdout if line.startswith("address")).split()[1]
        yield Place(folder, {**environment, "RAY_ADDRESS": address})
        cluster.stdin.close()
        cluster.wait(60)


def test_the_bytes_are_those_of_a_single_run_and_ray_prints_nothing(place: Place) -> None:
    with (place.folder / "in.jsonl").open("w", encoding="utf-8") as file:
        for n in range(12):
            row = {"query": f"word{n} ferry", "documents": [f"w{n} bread", f"word{n} sails {n}"]}
            file.write((json.dumps(row) if n != 5 else "broken") + "\n")
    single = place.ettin("rerank", "in.jsonl", "-r", "embedded", "-o", "single.jsonl")
    words = ["rerank", "in.jsonl", "-r", "embedded", "-o", "out.jsonl"]
    # More workers than units.
    done = place.ettin(*words, "--on", "ray", "--workers", "9", "--unit", "6")
    assert (single.returncode, done.returncode) == (3, 3), done.stderr
    for name in ("single.jsonl", "single.jsonl.rejects.jsonl"):
        other = name.replace("single", "out", 1)
        assert (place.folder / other).read_bytes() == (place.folder / name).read_bytes()
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == f"ettin: on Ray: 2 workers of 1 CPU at {place.environment['RAY_ADDRESS']}"
    assert all(line.startswith("ettin: ") for line in lines)
    assert not list(place.folder.glob("*.parts"))


def test_a_unit_that_ends_every_worker_is_given_up_and_the_rest_is_done(place: Place) -> None:
    done = place.run("-m", "tests.unit_jobs", "ray", str(place.folder / "capitals"), "begin")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("units-given-up given up after 3 starts")
    assert len(list((place.folder / "capitals.parts" / "parts").iterdir())) == 8


def test_a_worker_that_fails_ends_the_command_with_its_error(place: Place) -> None:
    code = (
        "from pathlib import Path\nfrom ettin_cli.clusters import Placement\n"
        "from tests.unit_jobs import Capitals, run\n"
        "for fails in ('known', 'unknown'):\n"
        "    try:\n"
        "        run(Path(f'{fails}.out').resolve(), job=Capitals(fails),"
        " placement=Placement('ray', (1, 1)))\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, error.code, error)\n"
    )
    done = place.run("-c", code)
    known, unknown = done.stdout.splitlines()
    assert known == "ModelError model-unavailable the model is not here"
    assert unknown.startswith("EttinError worker-failed unit ")
    assert unknown.endswith(": a fault of its own")
    assert "RuntimeError" in (place.folder / "unknown.out.parts" / "ray.log").read_text()


def test_an_address_without_a_cluster_is_one_line(place: Place) -> None:
    environment = {**place.environment, "RAY_ADDRESS": "127.0.0.1:1"}
    (place.folder / "one.jsonl").write_text('{"query": "a", "documents": ["b"]}\n')
    words = ("rerank", "one.jsonl", "-r", "embedded", "-o", "one.out.jsonl", "--on", "ray")
    done = Place(place.folder, environment).ettin(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("ettin: error: no Ray cluster at RAY_ADDRESS=127.0.0.1:1\n")
    assert not (place.folder / "one.out.jsonl.parts").exists()


def test_a_cluster_that_is_started_for_the_command_is_as_quiet(place: Place) -> None:
    environment = {k: v for k, v in place.environment.items() if k != "RAY_ADDRESS"}
    rows = [json.dumps({"query": f"q{n}", "text": f"bread {n}"}) for n in range(4)]
    (place.folder / "pairs.jsonl").write_text("\n".join(rows))
    alone = Place(place.folder, environment)
    words = ("score", "--pairs", "pairs.jsonl", "-r", "embedded", "-o")
    assert alone.ettin(*words, "all.jsonl").returncode == 0
    done = alone.ettin(*words, "units.jsonl", "--on", "ray", "--workers", "1", "--unit", "2")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert all(line.startswith("ettin: ") for line in done.stderr.splitlines()), done.stderr
    assert "ettin: on Ray: 1 worker of 1 CPU on this machine" in done.stderr
    single, units = (place.folder / name for name in ("all.jsonl", "units.jsonl"))
    assert units.read_bytes() == single.read_bytes()


def test_an_index_has_the_bytes_of_one_built_without_ray(place: Place) -> None:
    path = place.folder / "notes.jsonl"
    rows = [{"_id": str(n), "text": f"Note {n}: the ferry is late."} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # A file that has just been written is recorded as one that may still change.
    os.utime(path, (1e9, 1e9))
    words = ("index", "notes.jsonl", "--shards", "2", "-i")
    assert place.ettin(*words, "whole").returncode == 0
    done = place.ettin(*words, "units", "--on", "ray", "--workers", "2", "--unit", "4")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert all(line.startswith("ettin: ") for line in done.stderr.splitlines()), done.stderr
    assert index_contents(place.folder / "units") == index_contents(place.folder / "whole")


@pytest.fixture(scope="module")
def station(place: Place) -> Place:
    """The place, with an index and queries."""
    rows = [{"_id": f"d{n}", "text": f"The ferry of pier {n} sails."} for n in range(9)]
    (place.folder / "piers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"_id": f"q{n}", "text": f"ferry at pier {n}"} for n in range(5)]
    (place.folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (place.folder / "qrels").write_text("".join(f"q{n} 0 d{n} 1\n" for n in range(5)))
    assert place.ettin("index", "piers.jsonl", "-i", "station").returncode == 0
    return place


ON_RAY = ("--on", "ray", "--workers", "2", "--unit", "2")


def quiet(done: subprocess.CompletedProcess[str]) -> None:
    """Check that a command succeeded, and that Ray printed nothing."""
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = done.stderr.splitlines()
    assert all(line.startswith("ettin: ") for line in lines), done.stderr
    assert sum("Ray" in line for line in lines) == 1


def test_a_search_writes_the_bytes_of_one_machine(station: Place) -> None:
    words = ("search", "--queries", "q.jsonl", "-i", "station", "-r", "embedded", "-o")
    assert station.ettin(*words, "found.trec").returncode == 0
    quiet(station.ettin(*words, "units.trec", *ON_RAY))
    whole, units = (station.folder / name for name in ("found.trec", "units.trec"))
    assert units.read_bytes() == whole.read_bytes()


def test_an_evaluation_measures_what_one_machine_does(station: Place) -> None:
    words = ["eval", "--queries", "q.jsonl", "--qrels", "qrels", "-i", "station", "-r", "embedded"]
    words += ["--exact", "-c", "3,6", "-q", "-f", "jsonl", "-o"]
    one = station.ettin(*words, "measured")
    # Without what it cached.
    environment = {**station.environment, "ETTIN_CACHE_DIR": str(station.folder / "other")}
    done = Place(station.folder, environment).ettin(*words, "units", *ON_RAY)
    assert (one.returncode, done.returncode) == (0, 0), done.stderr
    times = re.compile(r'"seconds_per_query":[^,]*')
    assert times.sub("", done.stdout) == times.sub("", one.stdout)
    for run in (station.folder / "measured" / "runs").iterdir():
        assert (station.folder / "units" / "runs" / run.name).read_bytes() == run.read_bytes()
    assert list((station.folder / "other" / "scores").iterdir())


def test_mining_writes_the_bytes_of_one_machine(station: Place) -> None:
    words = ("mine", "--queries", "q.jsonl", "--qrels", "qrels", "-i", "station", "-o")
    assert station.ettin(*words, "mined.jsonl").returncode == 0
    quiet(station.ettin(*words, "units.jsonl", *ON_RAY))
    whole, units = (station.folder / name for name in ("mined.jsonl", "units.jsonl"))
    assert units.read_bytes() == whole.read_bytes()
    assert whole.stat().st_size
