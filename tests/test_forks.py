"""A forked child computes the same as its parent, and exits; every library has two threads."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ettin_cli.indexing.building import build_index
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.records import Silence
from ettin_cli.text.chunking import Chunking
from tests import models
from tests.forking import CASES
from tests.indexes import ferry_files
from tests.reading import write_pdf

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
ROOT = Path(__file__).parents[1]
# Far longer than a case takes; a child that hangs takes this long.
PATIENCE_S = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index, its documents, a PDF and two models."""
    folder = tmp_path_factory.mktemp("forks")
    (folder / "reranker").mkdir()
    (folder / "embedder").mkdir()
    models.ettin(folder / "reranker", hidden=64, layers=4, heads=2)
    models.embedder(folder / "embedder", hidden=64)
    write_pdf(folder / "a.pdf", ["the ferry sails"])
    docs = ferry_files(folder / "docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETTIN_CACHE_DIR", str(folder / "cache"))
        build_index(BuildRequest(folder / "i", [str(docs)], chunking=Chunking(24, 0)), Silence())
    return folder


def python(*words: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python with two threads; kill it and its children if it hangs."""
    names = ("ETTIN_", "TOKENIZERS_", "ORT_", "CI", "GITHUB_")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(names)},
        **{"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        **{"HOME": str(home), "ETTIN_CACHE_DIR": str(home / "cache"), **more},
    }
    command = [sys.executable, "-W", "ignore", *words]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"still running after {PATIENCE_S} s: {words}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.parametrize("case", CASES)
def test_a_child_computes_what_its_parent_does_and_ends(folder: Path, case: str) -> None:
    if "openvino" in case:
        pytest.importorskip("openvino")
    ran = python("-m", "tests.forking", case, str(folder), home=folder)
    assert ran.returncode == 0, ran.stderr
    parent, child, again = map(json.loads, ran.stdout.splitlines())
    assert parent
    assert child == parent
    assert again == parent


def test_a_tokenizer_that_is_told_to_use_threads_does_not_in_a_child(folder: Path) -> None:
    ran = python(
        "-m", "tests.forking", "embed", str(folder), home=folder, TOKENIZERS_PARALLELISM="true"
    )
    assert ran.returncode == 0, ran.stderr
    parent, child, _ = ran.stdout.splitlines()
    assert child == parent


def test_onnx_runtime_neither_sends_nor_keeps_anything_of_its_user(
    folder: Path, tmp_path: Path
) -> None:
    ran = python("-m", "tests.forking", "rerank by onnxruntime", str(folder), home=tmp_path)
    assert ran.returncode == 0, ran.stderr
    # Its telemetry keeps a device identifier, and its queue of events.
    assert [path.name for path in tmp_path.rglob("*") if "onnxruntime" in path.name] == []
