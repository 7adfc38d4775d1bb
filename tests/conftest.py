"""Fixtures shared by tests of commands: `ettin` as a user types it, without a network."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from ettin_cli.cli import main
from ettin_cli.indexing import building
from ettin_cli.indexing.building import build_index
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.records import Silence
from ettin_cli.text.chunking import Chunking
from tests.embedded_once import load_once
from tests.indexes import Builder, word_model

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A process started in the background ignores SIGINT, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Results must not depend on the terminal in which the tests run.
for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
    os.environ.pop(name, None)
# Imported by Python itself; not a test module.
collect_ignore = ["without_openvino"]
# A daemon of the user must not run the commands of tests.
os.environ["ETTIN_DAEMON"] = "never"
# Property tests must not depend on chance or on a busy machine.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")
# Tests run in several processes; threads that wait for each other would slow all of them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Temporary folders are in memory where there is room: a disk may take milliseconds to remove one.
MEMORY, ROOM = Path("/dev/shm"), 2 * 2**30
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


# The files that take longest. They are run first, so that no process waits for one at the end.
LONG = """test_guides test_train_command test_threads test_forks test_reranker_plugins test_training
test_process_wide test_onnx_model test_faults test_one_searcher test_power_cuts test_readme
test_output_faults test_privacy test_processes test_reader_plugins test_batch_bits test_units
test_index_units""".split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONG)


def _no_pipe(*_: object) -> None:
    pytest.skip("there are no named pipes here")


if not hasattr(os, "mkfifo"):
    os.mkfifo = _no_pipe  # type: ignore[assignment]


@pytest.fixture(scope="session", autouse=True)
def _embedded_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        load_once(patch)
        yield


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str


class Ettin:
    """Runs a command line through `main` and returns its output and exit code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd

    def __call__(self, *words: str) -> Outcome:
        self.monkeypatch.setattr("sys.argv", ["ettin", *words])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self.capfd.readouterr()
        assert "Traceback" not in err
        return Outcome(end.value.code if isinstance(end.value.code, int) else 0, out, err)


@pytest.fixture
def ettin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Ettin:
    for name in [name for name in os.environ if name.startswith("ETTIN_")]:
        monkeypatch.delenv(name)
    for name in ("COLUMNS", "NO_COLOR", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    # A GPU's scores differ in the last bits.
    monkeypatch.setenv("ETTIN_DEVICE", "cpu")
    # How many lines of progress there are depends on the time that a command takes.
    monkeypatch.setattr("ettin_cli.console.progress.PLAIN_PROGRESS_S", inf)
    return Ettin(monkeypatch, capfd)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "ferry.md").write_text("# Timetable\n\nBoats.\n\nThe ferry sails at nine o'clock.\n")
    (docs / "bread.txt").write_text("Knead the dough for ten minutes.\n")
    (docs / "fares.txt").write_text("A ferry ticket costs four coins.\n")
    return docs


BOATS: list[dict[str, Any]] = [
    {"_id": "tern", "text": "The Tern is a ferry.", "year": 1999, "open": True, "tags": ["a", "b"]},
    {"_id": "knot", "text": "The Knot is a ferry too.", "year": 2001, "open": False, "tags": ["b"]},
    {"_id": "smew", "text": "The Smew is a rowing boat.", "year": "1999", "length": 7.5},
    {"_id": "auk", "text": "The Auk is a canoe.", "title": "Auk", "year": None},
]
SAILING = "The ferry sails from the western pier at nine o'clock, and again at noon and at five."
CREW = "Whoever wants to help on board speaks to the skipper in the office before the season."


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with documents, a table, and an index of both; tests only read it."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "docs" / "deep").mkdir(parents=True)
    (folder / "docs" / "ferry.md").write_text(f"# Timetable\n\n{SAILING}\n\n## Crew\n\n{CREW}\n")
    (folder / "docs" / "bread.txt").write_text("Knead the dough for ten minutes.\n")
    (folder / "docs" / "deep" / "fares.txt").write_text("A ferry ticket costs four coins.\n")
    (folder / "boats.jsonl").write_text("".join(json.dumps(boat) + "\n" for boat in BOATS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETTIN_CACHE_DIR", str(folder / "cache"))
        sources = [str(folder / "docs"), str(folder / "boats.jsonl")]
        chunking = Chunking(24, 0)
        build_index(BuildRequest(folder / ".ettin", sources, chunking=chunking), Silence())
    return folder


@pytest.fixture
def inside(ettin: Ettin, library: Path) -> Ettin:
    """`ettin` with the library as its working folder."""
    ettin.monkeypatch.chdir(library)
    return ettin


class Terminal:
    """Runs a command line whose stdout and stderr are a terminal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def __call__(self, *words: str, width: int = 80) -> Outcome:
        """Return the exit code, and everything written as `out`."""
        from tests.pseudo_terminal import on_terminal

        self.monkeypatch.setattr("sys.argv", ["ettin", *words])
        self.monkeypatch.delenv("COLUMNS", raising=False)
        self.monkeypatch.setenv("TERM", "xterm-256color")
        with on_terminal(width) as written, pytest.raises(SystemExit) as end:
            main()
        code = end.value.code if isinstance(end.value.code, int) else 0
        return Outcome(code, written(), "")


@pytest.fixture
def terminal(ettin: Ettin) -> Terminal:
    pytest.importorskip("termios", reason="there are no such terminals here")
    return Terminal(ettin.monkeypatch)


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """Return a function that builds or updates an index."""
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "cache"))
    builder = Builder(word_model(tmp_path / "words"))
    monkeypatch.setattr(building, "load_embedder", builder.load)
    return builder
