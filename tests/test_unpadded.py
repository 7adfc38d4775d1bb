"""Batches without padding give the same results, and Flash Attention gets valid inputs."""

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ettin_cli.models.encoders import Encoded, TorchEncoder
from ettin_cli.models.engines import torch_runtime
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_attention import Kernel, find_kernel, is_unpadded, unfit, use
from ettin_cli.models.engines.torch_runtime import Placement
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.multi_vector.encoding import TorchTokenEncoder
from ettin_cli.models.rerankers.cross_encoder import TorchCrossEncoder
from ettin_cli.records import Silence
from ettin_cli.training.examples import read_examples
from ettin_cli.training.folder import ModelFolder
from ettin_cli.training.recipe import Recipe
from ettin_cli.training.run import TrainRequest, train
from ettin_cli.training.student import Student
from tests import models
from tests.hub_models import SHAPES
from tests.multi_vectors import multi_vector

if TYPE_CHECKING:
    from ettin_cli.records import Floats

PAIRS = [
    ("ferry", "The ferry sails at nine o'clock from the western pier."),
    ("dough", "Rest."),
    # Longer than the window of a local layer.
    ("where is the telescope", "Knead the dough for ten minutes and let it rest. " * 12),
]


def needs_cuda(test: Any) -> Any:
    """Mark a test that runs on a GPU alone."""
    missing = not torch.cuda.is_available()
    return pytest.mark.cuda(pytest.mark.skipif(missing, reason="there is no CUDA device")(test))


def varlen(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    begins: torch.Tensor,
    longest: int,
    scale: float,
    reach: int | None,
) -> torch.Tensor:
    """Compute what a kernel computes, text by text; values have shape (tokens, heads, size)."""
    assert begins.dtype == torch.int32
    assert longest == max(b - a for a, b in pairwise(begins.tolist()))
    found = []
    for begin, end in pairwise(begins.tolist()):
        query, key, value = (one[begin:end].transpose(0, 1) for one in (q, k, v))
        scores = (query @ key.transpose(1, 2)) * scale
        places = torch.arange(end - begin)
        if reach is not None:
            scores = scores.masked_fill((places[:, None] - places[None]).abs() > reach, -torch.inf)
        found.append((scores.softmax(-1) @ value).transpose(0, 1))
    return torch.cat(found)


@pytest.fixture
def seen() -> list[torch.dtype]:
    """Return the dtypes that the stand-in of the kernel receives."""
    return []


def unpad(model: Any, seen: list[torch.dtype]) -> None:
    """Make a model that was loaded with SDPA use the stand-in of a kernel."""

    def run(q: torch.Tensor, *given: Any) -> torch.Tensor:
        seen.append(q.dtype)
        return varlen(q, *given)

    assert unfit(model, training=False) is None
    use(model, Kernel("ettin_varlen", "a stand-in", run))
    assert is_unpadded(model)


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


def placement() -> Placement:
    return Placement(EngineSettings(device="cpu", dtype="fp32"), Silence())


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
    unpad(one.model, seen)
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
    unpad(one.model, seen)
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
    unpad(one.model, seen)
    flat, flat_cut = one.score(PAIRS)
    assert seen
    assert (cut, flat_cut) == ([False, False, True],) * 2
    assert flat == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("alias", SHAPES)
def test_every_ettin_scores_the_same_without_padding(
    alias: str, tmp_path: Path, seen: list[torch.dtype]
) -> None:
    """With the number of its heads, smaller ones, and the first of its layers, of both kinds."""
    _, _, _, heads = SHAPES[alias]
    folder = models.ettin(tmp_path / alias, hidden=8 * heads, layers=4, heads=heads)
    one = TorchCrossEncoder(folder, placement())
    scores, _ = one.score(PAIRS)
    unpad(one.model, seen)
    assert one.score(PAIRS)[0] == pytest.approx(scores, abs=1e-5)
    assert len(seen) == 4


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_an_embedder_gives_the_same_vectors_without_padding(
    pooling: str, tmp_path: Path, seen: list[torch.dtype]
) -> None:
    folder = models.embedder(tmp_path / "model", max_tokens=512, pooling={"pooling_mode": pooling})
    one = TorchEncoder(folder, 512, placement())

    def encoded() -> "tuple[Floats, Floats]":
        vectors: dict[int, Floats] = {}
        tokens: dict[int, Floats] = {}

        def sink(batch: list[int], output: Encoded) -> None:
            assert output.tokens is not None
            for row, at in enumerate(batch):
                vectors[at] = output.vectors[row]
                tokens[at] = output.tokens[row, : len(ids[at].ids)]

        ids, _ = one.token_ids([text for _, text in PAIRS])
        one.encode(ids, sink, tokens=True)
        ordered = range(len(PAIRS))
        return np.stack([vectors[at] for at in ordered]), np.concatenate(
            [tokens[at] for at in ordered]
        )

    padded = encoded()
    unpad(one.model, seen)
    flat = encoded()
    assert seen
    for ours, theirs in zip(flat, padded, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("kind", ["modernbert", "bert"])
def test_a_multi_vector_model_gives_the_same_vectors_without_padding(
    kind: str, tmp_path: Path, seen: list[torch.dtype]
) -> None:
    expansion = {"strategy": "fixed", "attend": False, "length": 16}
    folder = multi_vector(tmp_path / "model", kind, skipped=True, expansion=expansion)
    one = TorchTokenEncoder(folder, placement())

    def read() -> "list[Floats]":
        texts: dict[int, Floats] = {}
        one.texts([text for _, text in PAIRS], lambda at, found: texts.update({at: found.tokens}))
        queries, _ = one.queries([query for query, _ in PAIRS])
        return [*(texts[at] for at in sorted(texts)), *(query.tokens for query in queries)]

    padded = read()
    unpad(one.model, seen)
    flat = read()
    # Queries stay padded: their expansion takes the place of the padding.
    assert len(seen) == len(one.model[0].model.base_model.layers if kind == "modernbert" else "ab")
    for ours, theirs in zip(flat, padded, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


@needs_cuda
@pytest.mark.parametrize("reach", [None, 64])
def test_the_kernel_of_this_gpu_computes_what_the_stand_in_does(reach: int | None) -> None:
    kernel = find_kernel(torch.device("cuda"))
    assert isinstance(kernel, Kernel), kernel
    torch.manual_seed(3)
    begins = torch.tensor([0, 5, 205, 500], dtype=torch.int32)
    exact = [torch.randn(500, 4, 64, requires_grad=True) for _ in "qkv"]
    q, k, v = exact
    wanted = varlen(q, k, v, begins, 295, 0.125, reach)
    wanted.square().sum().backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        short = [one.cuda().bfloat16().requires_grad_() for one in exact]
    found = kernel.run(*short, begins.cuda(), 295, 0.125, reach)
    found.square().sum().backward()  # type: ignore[no-untyped-call]
    assert torch.allclose(found.float().cpu(), wanted, atol=0.03)
    for ours, theirs in zip(short, exact, strict=True):
        assert ours.grad is not None and theirs.grad is not None
        assert torch.allclose(ours.grad.float().cpu(), theirs.grad, atol=0.1, rtol=0.05)


@needs_cuda
def test_a_gpu_scores_what_the_cpu_does(ettin_reranker: Path) -> None:
    exact = TorchCrossEncoder(ettin_reranker, placement()).score(PAIRS)[0]
    for dtype, apart in (("fp32", 1e-3), ("bf16", 0.1)):
        settings = EngineSettings(device="cuda", dtype=dtype)
        one = TorchCrossEncoder(ettin_reranker, Placement(settings, Silence()))
        assert is_unpadded(one.model) == (dtype == "bf16")
        assert one.score(PAIRS)[0] == pytest.approx(exact, abs=apart)


@needs_cuda
def test_a_student_learns_without_padding_what_it_learns_with_sdpa(
    ettin_reranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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

    assert is_unpadded(student(ettin_reranker, device="cuda", dtype="bf16").model)
    flash = losses("flash")
    monkeypatch.setattr(torch_runtime, "find_kernel", lambda device: "a test")
    assert losses("sdpa") == pytest.approx(flash, rel=0.05)
