"""Batches without padding give the same results, and Flash Attention gets valid inputs."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import modeling_flash_attention_utils as flash_attention

from ettin_cli.models.engines import torch_runtime as placement_module
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_runtime import Placement
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.rerankers.cross_encoder import TorchCrossEncoder
from ettin_cli.records import Silence
from ettin_cli.training.examples import read_examples
from ettin_cli.training.folder import ModelFolder
from ettin_cli.training.recipe import Recipe
from ettin_cli.training.run import TrainRequest, train
from ettin_cli.training.student import Student
from tests import models

PAIRS = [
    ("ferry", "The ferry sails at nine o'clock from the western pier."),
    ("dough", "Rest."),
    # Longer than the window of a local layer.
    ("where is the telescope", "Knead the dough for ten minutes and let it rest. " * 12),
]


def varlen(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    softmax_scale: float,
    causal: bool = False,
    dropout_p: float = 0.0,
    window_size: tuple[int, int] = (-1, -1),
    deterministic: bool = False,
) -> torch.Tensor:
    """Compute what the kernel computes, text by text; values have shape (tokens, heads, size)."""
    assert not causal and not dropout_p
    assert torch.equal(cu_seqlens_q, cu_seqlens_k)
    begins = cu_seqlens_q.tolist()
    assert max_seqlen_q == max_seqlen_k == max(b - a for a, b in pairwise(begins))
    found = []
    for begin, end in pairwise(begins):
        query, key, value = (one[begin:end].transpose(0, 1) for one in (q, k, v))
        scores = (query @ key.transpose(1, 2)) * softmax_scale
        places = torch.arange(end - begin)
        distance = (places[:, None] - places[None]).abs()
        if window_size != (-1, -1):
            scores = scores.masked_fill(distance > window_size[0], -torch.inf)
        found.append((scores.softmax(-1) @ value).transpose(0, 1))
    return torch.cat(found)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """Replace the kernel by plain torch, and return the dtypes it receives."""
    dtypes: list[torch.dtype] = []

    def kernel(q: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
        dtypes.append(q.dtype)
        return varlen(q, *given, **more)

    supported = flash_attention._lazy_define_process_function(varlen)  # type: ignore[no-untyped-call]
    monkeypatch.setattr(flash_attention, "_loaded_implementation", "flash_attention_2")
    monkeypatch.setattr(flash_attention, "_flash_varlen_fn", kernel, raising=False)
    monkeypatch.setattr(flash_attention, "_process_flash_kwargs_fn", supported, raising=False)
    for name in ("_flash_fn", "_flash_with_kvcache_fn", "_pad_fn", "_unpad_fn"):
        monkeypatch.setattr(flash_attention, name, None, raising=False)
    monkeypatch.setattr(flash_attention, "_process_with_kvcache_kwargs_fn", None, raising=False)
    return dtypes


def unpad(model: Any) -> None:
    """Make a model that was loaded with SDPA use Flash Attention."""
    model[0].model.config._attn_implementation = "flash_attention_2"
    model[0].unpad_inputs = None
    assert model._can_flatten_inputs()


@pytest.fixture(scope="module")
def ettin_reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.ettin(tmp_path_factory.mktemp("17m"), hidden=32, layers=4, heads=2)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that takes the position of the query's tokens."""
    folder = models.embedder(tmp_path_factory.mktemp("bert"), max_tokens=512)
    path = folder / "tokenizer_config.json"
    names = ["input_ids", "token_type_ids", "attention_mask"]
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_input_names": names}))
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    for one in tokenizer["post_processor"]["pair"][3:]:
        next(iter(one.values()))["type_id"] = 1
    path.write_text(json.dumps(tokenizer))
    return folder


def student(folder: Path, dtype: str = "fp32", device: str = "cpu") -> Student:
    settings = EngineSettings(device=device, dtype=dtype)
    made = Student(ModelFiles("base", folder), settings, Silence(), seed=12)
    made.model.eval()
    return made


def learnt(one: Student) -> tuple[list[float], list[torch.Tensor]]:
    """Return the scores of the pairs, and the gradients of their squares."""
    tokens, _ = one.read(PAIRS)
    scores = one.forward(tokens)
    one.model.zero_grad()
    scores.square().sum().backward()  # type: ignore[no-untyped-call]
    gradients = [weight.grad for weight in one.trained.values() if weight.grad is not None]
    return scores.tolist(), gradients


@pytest.mark.parametrize("base", ["ettin_reranker", "bert"])
def test_a_student_learns_the_same_without_padding(
    base: str, seen: list[torch.dtype], request: pytest.FixtureRequest
) -> None:
    one = student(request.getfixturevalue(base))
    assert ("token_type_ids" in one.placement.features(one.model, one.read(PAIRS)[0])) == (
        base == "bert"
    )
    scores, gradients = learnt(one)
    assert not seen
    unpad(one.model)
    flat_scores, flat_gradients = learnt(one)
    assert seen
    assert flat_scores == pytest.approx(scores, abs=1e-5)
    assert len(flat_gradients) == len(gradients) > 10
    for flat, padded in zip(flat_gradients, gradients, strict=True):
        assert torch.allclose(flat, padded, rtol=1e-4, atol=1e-4)


def test_weights_of_32_bits_reach_the_kernel_in_bf16(
    ettin_reranker: Path, seen: list[torch.dtype]
) -> None:
    one = student(ettin_reranker, "bf16")
    # In fp32 while it is measured.
    one.model.train()
    scores, _ = learnt(one)
    unpad(one.model)
    flat, gradients = learnt(one)
    assert set(seen) == {torch.bfloat16}
    assert flat == pytest.approx(scores, rel=0.05, abs=0.1)
    assert {gradient.dtype for gradient in gradients} == {torch.float32}


def test_a_reranker_scores_the_same_without_padding(
    ettin_reranker: Path, seen: list[torch.dtype]
) -> None:
    settings = EngineSettings(device="cpu", dtype="fp32", max_length=90)
    one = TorchCrossEncoder(ettin_reranker, Placement(settings, Silence()))
    scores, cut = one.score(PAIRS)
    unpad(one.model)
    flat, flat_cut = one.score(PAIRS)
    assert seen
    assert (cut, flat_cut) == ([False, False, True],) * 2
    assert flat == pytest.approx(scores, abs=1e-5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_student_learns_with_flash_attention_what_it_learns_with_sdpa(
    ettin_reranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kernels")
    rows = [{"query": q, "text": f"{t} {n}", "score": n} for n in range(8) for q, t in PAIRS]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def losses(name: str) -> list[float]:
        with read_examples([data], None, Silence()) as examples:
            files, settings = ModelFiles("base", ettin_reranker), EngineSettings(device="cuda")
            recipe = Recipe(steps=6, batch_size=8, learning_rate=1e-3)
            request = TrainRequest(files, examples, recipe, settings)
            train(request, ModelFolder(tmp_path / name, resume=False), Silence())
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    assert student(ettin_reranker, device="cuda", dtype="bf16").model._can_flatten_inputs()
    flash = losses("flash")
    monkeypatch.setattr(placement_module, "find_spec", lambda name: None)
    assert losses("sdpa") == pytest.approx(flash, rel=0.05)
