"""Scores equal those of sentence-transformers, of NumPy, and of the formula."""

import json
from pathlib import Path

import numpy as np
import pytest

from ettin_cli.embedding import find_embedder, load_embedder
from ettin_cli.engines import EngineSettings, Placement, run
from ettin_cli.errors import ModelError
from ettin_cli.hub import find_model
from ettin_cli.records import Silence
from ettin_cli.reranking import LateInteraction, idf_table, load_reranker, maxsim
from tests.models import TEXTS, ettin

QUERIES = ["When does the ferry sail?", "How long is the dough kneaded?"]
PAIRS = [(query, text * times) for query in QUERIES for text in TEXTS for times in (1, 4, 30)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ettin(tmp_path_factory.mktemp("ettin"))


def found(folder: Path) -> list[float]:
    files = find_model(str(folder), offline=True, reporter=Silence())
    scores = load_reranker(files, EngineSettings(), Silence()).score(PAIRS)
    assert not scores.truncated.any()
    values: list[float] = scores.values.tolist()
    return values


def test_an_ettin_scores_as_sentence_transformers_does(model: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    reference = CrossEncoder(str(model), device="cpu")
    expected = reference.predict(PAIRS, activation_fn=torch.nn.Identity())
    assert np.allclose(found(model), expected, atol=1e-5)
    assert np.std(expected) > 0.01


def test_the_head_is_dense_gelu_norm_dense_over_the_first_token(model: Path) -> None:
    from math import erf

    from safetensors.numpy import load_file
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(model)(*PAIRS[0], return_tensors="pt")
    trunk = AutoModel.from_pretrained(model)
    row = trunk(**tokens).last_hidden_state[0, 0].detach().numpy()
    dense, norm, last = (
        load_file(model / part / "model.safetensors")
        for part in ("2_Dense", "3_LayerNorm", "4_Dense")
    )
    hidden = dense["linear.weight"] @ row
    hidden = np.array([x * 0.5 * (1 + erf(x / 2**0.5)) for x in hidden])
    hidden = (hidden - hidden.mean()) / np.sqrt(hidden.var() + 1e-5)
    hidden = hidden * norm["norm.weight"] + norm["norm.bias"]
    score = float((last["linear.weight"] @ hidden + last["linear.bias"])[0])
    assert found(model)[0] == pytest.approx(score, abs=1e-4)


def test_a_model_without_its_head_is_refused(tmp_path: Path) -> None:
    folder = ettin(tmp_path / "m", hidden=32, layers=2, heads=2)
    (folder / "4_Dense" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="4_Dense"):
        find_model(str(folder), offline=True, reporter=Silence())


def test_a_text_beyond_the_limit_is_cut_and_said(tmp_path: Path) -> None:
    folder = ettin(tmp_path / "m", hidden=32, layers=2, heads=2)
    files = find_model(str(folder), offline=True, reporter=Silence())
    reranker = load_reranker(files, EngineSettings(max_length=40), Silence())
    assert reranker.score(PAIRS[:3]).truncated.tolist() == [False, True, True]


def test_a_pickle_and_a_path_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_text("")
    with pytest.raises(ModelError, match="pickle"):
        find_model(str(tmp_path), offline=True, reporter=Silence())
    (tmp_path / "model.safetensors").write_text("")
    (tmp_path / "modules.json").write_text(json.dumps([{"path": "../out", "type": "a.Dense"}]))
    with pytest.raises(ModelError, match="outside"):
        find_model(str(tmp_path), offline=True, reporter=Silence())


def test_a_batch_too_large_for_the_gpu_is_halved() -> None:
    import torch

    done: list[int] = []

    def forward(batch: list[int]) -> None:
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        done.extend(batch)

    placement = Placement(EngineSettings(device="cpu"), Silence())
    run([5] * 7, forward, placement)
    assert sorted(done) == list(range(7))
    with pytest.raises(ModelError, match="does not fit"):
        run([5], lambda batch: forward([0, 0, 0]), placement)


def test_maxsim_is_the_weighted_mean_of_the_best_matches() -> None:
    import torch

    torch.manual_seed(3)
    query, documents = torch.randn(3, 8), torch.randn(2, 5, 8)
    weights = torch.tensor([1.0, 2.0, 0.5])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    query = torch.nn.functional.normalize(query, dim=-1)
    documents = torch.nn.functional.normalize(documents, dim=-1)
    expected = [
        sum(
            float(weight) * max(float(documents[d, j] @ token) for j in range(int(mask[d].sum())))
            for token, weight in zip(query, weights, strict=True)
        )
        / 3.5
        for d in range(2)
    ]
    assert maxsim(query, weights, documents, mask).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_stand_in_follows_its_formula_on_real_texts() -> None:
    from sentence_transformers import SentenceTransformer

    files = find_model("embedded", offline=True, reporter=Silence())
    reranker = load_reranker(files, EngineSettings(), Silence())
    assert isinstance(reranker, LateInteraction)
    values = reranker.score(PAIRS[:9]).values
    model = SentenceTransformer(str(files.folder), device="cpu")
    for (query, text), value in zip(PAIRS[:9], values, strict=True):
        q = model.encode(query, output_value="token_embeddings").numpy()
        d = model.encode(text, output_value="token_embeddings").numpy()
        cosine = float(model.similarity(model.encode(query), model.encode(text)))
        q, d = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, d))
        weights = idf_table()[model.tokenizer(query)["input_ids"][1:-1]]
        best = (q[1:-1] @ d.T).max(axis=1)
        expected = cosine + 2 * float((weights * best).sum() / weights.sum())
        assert float(value) == pytest.approx(expected, abs=1e-4)


def test_embeddings_equal_those_of_sentence_transformers() -> None:
    from sentence_transformers import SentenceTransformer

    files = find_embedder("auto", offline=True, reporter=Silence())
    vectors = load_embedder(files, EngineSettings(), Silence()).embed_documents(TEXTS)
    expected = SentenceTransformer(str(files.folder), device="cpu").encode(TEXTS)
    assert np.allclose(vectors, expected, atol=1e-5)
