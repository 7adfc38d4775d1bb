"""Where the ONNX runtime computes everything, the package works without torch."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Ettin
from tests.models import embedder, ettin as model_of
from tests.serving import Server, scores_of

ROOT = Path(__file__).parents[1]
LIST = ROOT / "deploy" / "without-torch.txt"
LEFT_OUT = ("torch", "transformers", "sentence-transformers")
QUERY = "when does the ferry sail"
TEXTS = ["The ferry sails at nine.", "Bread is at noon.", "Where was the telescope first built?"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_of(tmp_path_factory.mktemp("model"), hidden=64, layers=3, heads=2)


@pytest.fixture
def without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let new processes find none of the packages."""
    names = [name.replace("-", "_") for name in LEFT_OUT]
    folder = tmp_path / "first"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        f"import sys\nsys.modules.update(dict.fromkeys({names!r}))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def reference(model: Path) -> list[float]:
    """Return the scores that sentence-transformers computes."""
    from sentence_transformers import CrossEncoder

    scores = CrossEncoder(str(model), device="cpu").predict([(QUERY, text) for text in TEXTS])
    return [float(score) for score in scores]


def run(python: str, folder: Path, *words: str) -> str:
    """Return what `ettin` prints to stdout."""
    command = [python, "-m", "ettin_cli", *words]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def check_commands(python: str, folder: Path, model: Path) -> None:
    """Score, rerank, index and search, and compare with sentence-transformers."""
    expected = reference(model)
    order = sorted(range(len(TEXTS)), key=lambda at: -expected[at])
    rows = [json.loads(line) for line in run(
        python, folder, "score", "-r", str(model), QUERY, *TEXTS
    ).splitlines()]  # fmt: skip
    assert [row["index"] for row in rows] == order
    np.testing.assert_allclose([row["score"] for row in rows], sorted(expected)[::-1], atol=1e-3)
    (folder / "asked.jsonl").write_text(json.dumps({"query": QUERY, "documents": TEXTS}) + "\n")
    answer = json.loads(run(python, folder, "rerank", "asked.jsonl", "-r", str(model)))
    assert [hit["text"] for hit in answer["hits"]] == [TEXTS[at] for at in order]
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    (folder / "embedder").mkdir()
    words = ("index", str(source), "-i", "idx", "--embedder")
    run(python, folder, *words, str(embedder(folder / "embedder")))
    reranked = ("search", QUERY, "-i", "idx", "-r", str(model), "--blend", "0")
    answer = json.loads(run(python, folder, *reranked))
    assert [hit["text"] for hit in answer["hits"]] == [TEXTS[at] for at in order]


@pytest.mark.usefixtures("without_torch")
def test_commands_that_need_no_torch_run_without_it(tmp_path: Path, model: Path) -> None:
    check_commands(sys.executable, tmp_path, model)


@pytest.mark.usefixtures("without_torch")
def test_the_server_runs_without_torch(tmp_path: Path, model: Path) -> None:
    server = Server(tmp_path, "-r", str(model), "--scores", "raw")
    try:
        scores = scores_of(server.ask("/v1/rerank", {"query": QUERY, "documents": TEXTS}))
    finally:
        server.kill()
    np.testing.assert_allclose(scores, reference(model), atol=1e-3)


@pytest.mark.usefixtures("without_torch")
def test_a_server_that_needs_torch_names_the_command_that_installs_it(
    tmp_path: Path, model: Path
) -> None:
    server = Server(tmp_path, "-r", str(model), "--device", "cuda")
    try:
        server.until("cannot be loaded: this needs torch, .*: pip install ettin-cli")
        assert server.ask("/ready").status == 503
    finally:
        server.kill()


def test_commands_that_need_torch_name_the_command_that_installs_it(
    ettin: Ettin, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"query": "q", "positive": "a", "negatives": ["b"]}) + "\n")
    for words in (
        ("bench", "-r", str(model)),
        ("train", str(data), "--base", str(model), "-o", str(tmp_path / "trained")),
        ("score", "-r", str(model), "--device", "cuda", "q", "a"),
    ):
        ran = ettin(*words)
        problem = "ettin: error: this needs torch, which is not installed"
        assert ran.code == 1
        assert ran.err.splitlines()[-2:] == [problem, "  hint: pip install ettin-cli"]
    # A machine may have a GPU that nothing can use.
    monkeypatch.setattr("ettin_cli.models.engines.devices.NVIDIA_DRIVERS", (str(tmp_path),))
    monkeypatch.setattr("sys.platform", "linux")
    assert ettin("score", "-r", str(model), "--device", "auto", "q", "a").code == 0


def test_the_list_has_every_other_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = {one for one in project["dependencies"] if one.split(">")[0] not in LEFT_OUT}
    lines = LIST.read_text().splitlines()
    listed = [line for line in lines if not line.startswith("#")]
    assert sorted(listed) == sorted({*needed, *extras["serve"]})


@pytest.mark.slow
def test_an_environment_of_the_list_runs(tmp_path: Path, model: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), "-r", str(LIST)], check=True)
    subprocess.run([*pip, "--no-deps", str(ROOT)], check=True)
    installed = subprocess.run([*pip[:3], "list"], capture_output=True, text=True, check=True)
    assert "torch" not in installed.stdout
    assert "transformers" not in installed.stdout
    check_commands(python, tmp_path, model)
