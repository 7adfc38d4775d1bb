"""The package leaves a program's process-wide settings alone; `ettin` sets its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.indexes import ferry_files
from tests.models import embedder, ettin

ROOT = Path(__file__).parents[1]
# All process-wide settings that the libraries share.
SETTINGS = """
import csv, json, locale, logging, os, signal, sys, warnings
import faiss, onnxruntime, sentence_transformers, tokenizers, torch, transformers

def seen():
    umask = os.umask(0)
    os.umask(umask)
    return {
        "environment": dict(os.environ),
        "csv": csv.field_size_limit(),
        "levels": {name: logging.getLogger(name).level for name in
                   ("", "transformers", "sentence_transformers", "huggingface_hub")},
        "bars": transformers.utils.logging.is_progress_bar_enabled(),
        "threads": [torch.get_num_threads(), faiss.omp_get_max_threads()],
        "filters": [str(one) for one in warnings.filters],
        "signals": [str(signal.getsignal(one)) for one in signal.valid_signals()],
        "umask": umask,
        "locale": locale.setlocale(locale.LC_ALL),
        "hooks": [str(sys.excepthook), str(sys.unraisablehook)],
        "streams": [str(sys.stdin), str(sys.stdout), str(sys.stderr)],
        "folder": os.getcwd(),
        "path": sys.path,
        "recursion": sys.getrecursionlimit(),
    }
"""
WORK = """
from pathlib import Path
from ettin_cli.models.embedders import load_embedder
from ettin_cli.models.engines import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.index import Index
from ettin_cli.indexing import BuildRequest, build_index
from ettin_cli.records import Silence
from ettin_cli.models.rerankers.registry import load_reranker, reranker_of

folder = Path(sys.argv[1])
pairs = [("ferry 3", "the ferry sails"), ("bread", "knead the dough")] * 20

def work(threads=None):
    for engine in ("torch", "onnxruntime"):
        settings = EngineSettings("cpu", engine=engine, threads=threads)
        found = reranker_of(ModelFiles("r", folder / "reranker"))
        load_reranker(found, settings, Silence()).score(pairs)
        model = load_embedder(ModelFiles("e", folder / "embedder"), settings, Silence())
        model.embed_queries(["ferry"])
    build_index(BuildRequest(folder / "i", [str(folder / "docs")], offline=True), Silence())
    with Index(folder / "i") as index:
        index.retrieve(index.vectors[:3].astype("float32"), 2)
"""
COMMAND = """
import sys
sys.argv = ["ettin", *{!r}]
from ettin_cli.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("process")
    for name in ("reranker", "embedder"):
        (folder / name).mkdir()
    ettin(folder / "reranker", hidden=64, layers=4, heads=2)
    embedder(folder / "embedder")
    docs = ferry_files(folder / "docs")
    (docs / "table.csv").write_text("id,text\n1,a ferry\n2,a train\n")
    return folder


def python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    names = ("ETTIN_", "TOKENIZERS_", "ORT_", "TRANSFORMERS_", "OMP_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(names)}
    environment |= {
        "OMP_NUM_THREADS": "2",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
        "ETTIN_CACHE_DIR": str(folder / "cache"),
    }
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


# One program, since it takes seconds to import all libraries.
PROGRAM = f"""{SETTINGS}
{WORK}
def say():
    print(json.dumps(seen()))
    sys.stdout.flush()

say()
work()
say()
os.environ["TOKENIZERS_PARALLELISM"] = "true"
say()
if hasattr(os, "fork"):
    child = os.fork()
    if not child:
        say()
        os._exit(0)
    os.waitpid(child, 0)
else:
    say()
work(threads=1)
say()
"""
Seen = dict[str, Any]


@pytest.fixture(scope="module")
def settings(folder: Path) -> list[Seen]:
    """The settings at the start, after work, before a fork, in its child, and with one thread."""
    ran = python(folder, PROGRAM)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_a_program_that_loads_scores_and_indexes_keeps_its_settings(settings: list[Seen]) -> None:
    start, worked, *_ = settings
    assert worked == start


def test_threads_that_are_asked_for_are_those_of_the_process_with_torch_alone(
    settings: list[Seen],
) -> None:
    *_, before, _, after = settings
    assert before["threads"][0] == 2
    assert after["threads"] == [1, before["threads"][1]]
    assert {**after, "threads": None} == {**before, "threads": None}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_that_does_not_use_the_package_keeps_its_threads(
    settings: list[Seen],
) -> None:
    *_, parent, child, _ = settings
    assert child == parent


def test_the_command_line_keeps_the_libraries_remarks_off_the_terminal(folder: Path) -> None:
    words = ["score", "ferry", "a", "b", "-r", str(folder / "reranker")]
    words += ["--device", "cpu", "--dtype", "bf16"]
    ran = python(folder, COMMAND.format(words))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(ran.stdout.splitlines()) == 2


def test_a_command_loads_a_model_once_that_builds_retrieves_and_reranks(
    folder: Path, tmp_path: Path
) -> None:
    words = ["search", "ferry 3", str(ferry_files(tmp_path / "docs")), "-r", "embedded", "-v"]
    words += ["--device", "cpu", "--offline"]
    ran = python(folder, COMMAND.format(words))
    assert ran.returncode == 0, ran.stderr
    assert "embedding with embedded" in ran.stderr
    assert "reranking with embedded" in ran.stderr
    assert ran.stderr.count("on the CPU in float32") == 1


def test_a_library_that_somebody_else_imports_first_is_found_as_it_is(folder: Path) -> None:
    code = (
        "import os\n"
        "from ettin_cli.models.engines.onnxruntime_backend import OnnxRuntime\n"
        "before = dict(os.environ)\n"
        "print(OnnxRuntime().described())\n"
        "assert dict(os.environ) == before\n"
        "os.environ['ORT_DISABLE_TELEMETRY'] = '0'\n"
        "print(OnnxRuntime().described())\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '0'\n"
    )
    ran = python(folder, code)
    assert ran.returncode == 0, ran.stderr
