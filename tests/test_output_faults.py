"""Each disk operation of `rerank` and `eval` fails once, without partial files or later faults."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.errors import OutputError
from tests.conftest import Ettin
from tests.faults import DiedError, Disk, on
from tests.reading import write
from tests.test_resuming import write as reranked

FAULTS = ["ENOSPC", "EIO", "short", "dies"]


def everything_once(folder: Path, fault: str, least: int) -> Iterator[Disk]:
    """Yield disks that fail at the first operation, at the second and so on."""
    place = 0
    while True:
        place += 1
        disk = Disk(folder, place, fault)
        yield disk
        if disk.failed is None:
            assert place > least
            return


# A process that died closes nothing.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_a_rerank_that_fails_anywhere_resumes_to_the_same_bytes(
    tmp_path: Path, format: str, fault: str
) -> None:
    (tmp_path / "calm").mkdir()
    calm = tmp_path / "calm" / f"out.{format}"
    reranked(calm, format)
    rejects = calm.with_name(f"{calm.name}.rejects.jsonl").read_bytes()
    for disk in everything_once(tmp_path / "a", fault, least=30):
        folder = tmp_path / "a"
        folder.mkdir()
        target = folder / calm.name
        try:
            with on(disk):
                reranked(target, format)
        except DiedError:
            pass
        except OutputError as error:
            assert os.strerror(getattr(errno, "ENOSPC" if fault == "short" else fault)) in (
                error.problem
            )
        assert not target.exists() or target.read_bytes() == calm.read_bytes()
        reranked(target, format, resume=True)
        assert target.read_bytes() == calm.read_bytes()
        assert target.with_name(f"{calm.name}.rejects.jsonl").read_bytes() == rejects
        left = {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}
        if fault != "dies":
            assert left == {calm.name, f"{calm.name}.rejects.jsonl"}
        shutil.rmtree(folder)


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A BEIR folder of boats."""
    folder = tmp_path / "boats"
    boats = [{"_id": f"d{n}", "text": f"boat {n} sails at {n % 12}"} for n in range(30)]
    write(folder / "corpus.jsonl", "".join(json.dumps(boat) + "\n" for boat in boats))
    queries = [{"_id": f"q{n}", "text": f"when does boat {n} sail?"} for n in range(12)]
    write(folder / "queries.jsonl", "".join(json.dumps(query) + "\n" for query in queries))
    rows = "".join(f"q{n}\td{n}\t1\n" for n in range(12))
    write(folder / "qrels.tsv", f"query-id\tcorpus-id\tscore\n{rows}")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Return the output of an evaluation, except the page, which contains times."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {name: path.read_bytes() for name, path in found.items() if path.suffix == ".trec"}


@pytest.mark.parametrize("fault", ["ENOSPC", "short"])
@pytest.mark.usefixtures("collection")
def test_an_evaluation_that_fails_anywhere_is_one_line_and_the_next_is_whole(
    ettin: Ettin, tmp_path: Path, fault: str
) -> None:
    words = ("eval", "boats", "-r", "none", "--retriever", "bm25", "-o", "out")
    assert ettin(*words).code == 0
    calm = content(tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    refused = 0
    for disk in everything_once(tmp_path / "out", fault, least=15):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        with on(disk):
            ran = ettin(*words)
        if disk.failed:
            refused += ran.code
            assert ran.code in (0, 1), ran.err
            assert bool(ran.code) == (os.strerror(errno.ENOSPC) in ran.err), disk.failed
        left = content(tmp_path / "out") if (tmp_path / "out").exists() else {}
        assert left.items() <= calm.items()
        assert not list(tmp_path.glob("out/**/*.tmp"))
    assert refused > 10
    assert ettin(*words).code == 0
    assert content(tmp_path / "out") == calm
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == names


@pytest.mark.usefixtures("collection")
def test_an_evaluation_that_is_killed_says_the_same_when_it_is_run_again(tmp_path: Path) -> None:
    words = ["eval", "boats", "-r", "embedded", "-c", "5,20", "-f", "json", "-o"]

    def started(cache: str, out: str) -> subprocess.Popen[bytes]:
        folder = {"ETTIN_CACHE_DIR": str(tmp_path / cache), "HF_HUB_OFFLINE": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "ettin_cli", *words, out],
            cwd=tmp_path,
            env={**os.environ, **folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    with started("calm", "whole") as process:
        assert process.wait(120) == 0
    seen: tuple[Any, ...] = ("indexes/*/manifest.json", "scores/*")
    for awaited in seen:
        with started("cache", "out") as process:
            while not list((tmp_path / "cache").glob(awaited)) and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
    with started("cache", "out") as process:
        assert process.wait(120) == 0
    assert content(tmp_path / "out") == content(tmp_path / "whole") != {}
