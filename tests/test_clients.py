"""The clients of other services get the order and the scores of `ettin score`.

    python -m tests.clients.environments FOLDER
    ETTIN_CLIENTS=FOLDER pytest -m clients

The first command downloads the clients. A client without an environment is skipped.
"""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clients.calls import QUERY, TEXTS, cases
from tests.clients.environments import NODE, PYTHON, python_of
from tests.models import embedder, ettin
from tests.serving import Server

pytestmark = pytest.mark.clients

ENVIRONMENTS = os.environ.get("ETTIN_CLIENTS")
REASONS = {
    "empty query": "`query` is empty",
    "unknown model": "model 'unknown' is not served",
    "unknown path": "there is no /nowhere/",
}
# Clients that show none of the server's reasons, whatever they are.
SILENT = (
    "infinity-client",
    "InfinityRerank",
    "TextEmbeddingInference",
    "rerankers cohere",
    "rerankers jina",
    "rerankers voyage",
    "rerankers mixedbread",
    "rerankers tei",
    "llamaindex VoyageAIRerank",
)
# They send no model, or replace the path of their base URL.
ANSWERED = {
    ("HuggingFaceTEIRanker", "unknown model"),
    ("HuggingFaceTEIRanker", "unknown path"),
    ("TextEmbeddingInference", "unknown model"),
    ("litellm huggingface", "unknown model"),
    ("litellm jina_ai", "unknown path"),
}
# Nothing tells their requests from those of another service: docs/guides/serving.md names them.
FAILING = {
    ("litellm infinity", "returned"),
    ("litellm voyage", "all"),
    ("litellm voyage", "returned"),
}
# They return the texts that were sent, or have no option for it.
WITHOUT_TEXTS = ("cohere v2", "cohere-ai v2", "langchain CohereRerank")


class Running:
    """A server that refuses other models, and the folders of its models."""

    def __init__(self, folder: Path) -> None:
        for name in ("reranker", "embedder"):
            (folder / name).mkdir()
        self.reranker = ettin(folder / "reranker", hidden=64, layers=3, heads=2)
        self.embedder = embedder(folder / "embedder")
        (folder / "sources").mkdir()
        for at, text in enumerate(TEXTS):
            (folder / "sources" / f"{at}.txt").write_text(text, encoding="utf-8")
        self.index = folder / "texts"
        self.printed("index", str(folder / "sources"), "--embedder", str(self.embedder))
        models = ("-r", str(self.reranker), "--embedder", str(self.embedder))
        index = ("-i", str(self.index), "--no-token")
        self.server = Server(folder, *models, *index, "--strict-models")

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.server.port}"

    def printed(self, command: str, *words: str) -> str:
        """Return what a command prints, with the index or the reranker of the server."""
        own = ("-r", str(self.reranker)) if command != "index" else ()
        index = () if command == "score" else ("-i", str(self.index))
        program = [sys.executable, "-m", "ettin_cli", command, "--device", "cpu", *own, *index]
        ran = subprocess.run([*program, *words], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def scores(self) -> list[float]:
        """Return the sigmoids of the scores of `ettin score`, in the order of the texts."""
        rows = [json.loads(line) for line in self.printed("score", QUERY, *TEXTS).splitlines()]
        ordered = sorted(rows, key=lambda row: row["index"])
        return [sigmoid(row["score"]) for row in ordered]


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("server"))
    yield made
    made.server.kill()


@pytest.fixture(scope="module")
def expected(running: Running) -> list[float]:
    return running.scores()


def _environment(name: str) -> Path:
    folder = Path(ENVIRONMENTS or "environments of clients")
    there = folder / name / "node_modules" if name == NODE else python_of(folder, name)
    if not there.exists():
        pytest.skip(f"{there} does not exist: python -m tests.clients.environments FOLDER")
    return folder / name


def _lines(command: list[str], folder: Path, home: Path) -> list[dict[str, Any]]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "NO_PROXY": "127.0.0.1",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
    }
    ran = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def _check(line: dict[str, Any], name: str, expected: list[float]) -> None:
    client, case = line["client"], line["case"]
    if (client, case) in FAILING:
        assert "error" in line
        return
    if case in REASONS and (client, case) not in ANSWERED:
        silent = client in SILENT or f"{name} {client}" in SILENT
        assert "error" in line, line
        assert silent or REASONS[case] in line["error"], line
        return
    order = sorted(range(len(TEXTS)), key=lambda at: -expected[at])
    best = order[:2] if case == "two" else order
    assert "rows" in line, line
    assert [(index, score) for index, score, _ in line["rows"]] == [
        (at, expected[at]) for at in best
    ], line
    if case == "returned" and client not in WITHOUT_TEXTS:
        assert [text for *_, text in line["rows"]] == [TEXTS[at] for at in order], line


@pytest.mark.parametrize("name", PYTHON)
def test_clients_get_the_scores(
    running: Running, expected: list[float], tmp_path: Path, name: str
) -> None:
    python = _environment(name) / "bin" / "python"
    root = Path(__file__).parents[1]
    program = [str(python), "-m", f"tests.clients.{name}", running.url, str(running.reranker)]
    lines = _lines(program, root, tmp_path)
    for line in lines:
        if line["case"] == "more":
            _check_more(line, running)
        else:
            _check(line, name, expected)
    assert len(lines) > 20


def test_clients_in_javascript_get_the_scores(
    running: Running, expected: list[float], tmp_path: Path
) -> None:
    folder = _environment(NODE)
    shutil.copy(Path(__file__).with_name("clients") / "node.mjs", folder)
    asked = {n: asdict(ask) for n, ask in cases(running.url, str(running.reranker)).items()}
    lines = _lines(["node", "node.mjs", json.dumps(asked)], folder, tmp_path)
    for line in lines:
        _check(line, NODE, expected)
    assert len(lines) == 24


def _check_more(line: dict[str, Any], running: Running) -> None:
    from sentence_transformers import SentenceTransformer

    if line["client"] == "openai token ids":
        assert "check_embedding_ctx_length=False" in line["error"]
        return
    if line["client"] == "openai vector store":
        hits = json.loads(running.printed("search", QUERY, "-k", "3"))["hits"]
        names = [["sources/" + Path(hit["path"]).name, hit["text"]] for hit in hits]
        assert [[name, text] for name, _, text in line["rows"]] == names
        # On the scale of OpenAI's scores.
        scores = [1 / (1 + math.exp(-hit["score"])) for hit in hits]
        assert [score for _, score, _ in line["rows"]] == pytest.approx(scores, abs=1e-12)
        return
    model = SentenceTransformer(str(running.embedder), device="cpu")
    wanted = model.encode(["a ferry", "bread"], normalize_embeddings=True)
    if line["client"] == "openai":
        assert line["rows"]["models"] == [str(running.reranker), str(running.embedder)]
        np.testing.assert_allclose(line["rows"]["vectors"], wanted, atol=1e-5)
    else:
        np.testing.assert_allclose(line["rows"], wanted[:1], atol=1e-5)
