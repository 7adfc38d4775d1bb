"""Every route on a GPU gives what the CPU gives; skipped where there is none."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ettin_cli.errors import ModelError
from ettin_cli.models.embedders import load_embedder
from ettin_cli.models.engines import torch_runtime
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_attention import Kernel, find_kernel, is_unpadded
from ettin_cli.models.engines.torch_runtime import Placement
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.rerankers.cross_encoder import TorchCrossEncoder, load_cross_encoder
from ettin_cli.records import Advance, Silence
from ettin_cli.training.examples import read_examples
from ettin_cli.training.folder import ModelFolder
from ettin_cli.training.recipe import Recipe
from ettin_cli.training.run import TrainRequest, train
from tests.models import TEXTS, embedder, ettin
from tests.multi_vectors import multi_vector

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
PAIRS = [(TEXTS[at % 3][:20], f"{TEXTS[at % 2]} {at} " * (1 + at % 9)) for at in range(3000)]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ettin(tmp_path_factory.mktemp("ettin"), hidden=64, layers=4, heads=2)


@pytest.fixture
def whole_memory() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def on(device: str, dtype: str, **more: Any) -> EngineSettings:
    return EngineSettings(device, dtype, engine="torch", **more)


def needs_kernel() -> None:
    kernel = find_kernel(torch.device("cuda"))
    if not isinstance(kernel, Kernel):
        pytest.skip(f"there is no kernel for batches without padding: {kernel}")


def scores(folder: Path, settings: EngineSettings, pairs: Sequence[tuple[str, str]]) -> Any:
    return load_cross_encoder(folder, settings, Silence()).score(pairs)[0]


def test_a_reranker_scores_in_windows_as_on_the_cpu(reranker: Path) -> None:
    wanted = scores(reranker, on("cpu", "fp32"), PAIRS)
    found = scores(reranker, on("cuda", "fp32"), PAIRS)
    assert found == pytest.approx(wanted, abs=1e-3)
    np.testing.assert_array_equal(found, scores(reranker, on("cuda", "fp32"), PAIRS))


def test_a_reranker_without_padding_scores_as_on_the_cpu(reranker: Path) -> None:
    needs_kernel()
    one = TorchCrossEncoder(reranker, Placement(on("cuda", "bf16"), Silence()))
    assert is_unpadded(one.model)
    assert one.score(PAIRS)[0] == pytest.approx(scores(reranker, on("cpu", "fp32"), PAIRS), abs=0.1)


@pytest.mark.parametrize("make", [embedder, multi_vector])
def test_vectors_are_those_of_the_cpu(make: Any, tmp_path: Path) -> None:
    files, texts = ModelFiles("m", make(tmp_path)), [text for _, text in PAIRS[:1500]]
    wanted = load_embedder(files, on("cpu", "fp32"), Silence()).embed_documents(texts)
    for dtype, least in (("fp32", 1 - 1e-4), ("bf16", 0.999)):
        found = load_embedder(files, on("cuda", dtype), Silence()).embed_documents(texts)
        assert (found * wanted).sum(axis=1).min() > least


def test_batches_that_do_not_fit_are_halved_for_good(
    reranker: Path, whole_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = TorchCrossEncoder(reranker, Placement(on("cuda", "bf16"), Silence()))
    wanted, tries = one.score(PAIRS)[0], list[bool]()
    fits = torch_runtime._fits

    def counted(*given: Any) -> bool:
        tries.append(fits(*given))
        return tries[-1]

    monkeypatch.setattr(torch_runtime, "_fits", counted)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    # The largest batch takes about 65,536 tokens of 64 values, several times over.
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 40 * 2**20) / total)
    assert one.score(PAIRS)[0] == pytest.approx(wanted, abs=0.1)
    if all(tries):
        pytest.skip("this GPU's batches take less memory than was left")
    tries.clear()
    one.score(PAIRS)
    assert tries.count(False) <= 1


def test_a_text_that_does_not_fit_is_one_clear_error(reranker: Path, whole_memory: None) -> None:
    one = TorchCrossEncoder(reranker, Placement(on("cuda", "bf16"), Silence()))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 1) / total)
    with pytest.raises(ModelError, match="does not fit in GPU memory"):
        one.score([("ferry", "The ferry sails at nine. " * 1000)])


def test_several_gpus_score_and_embed_as_one(reranker: Path, tmp_path: Path) -> None:
    count = torch.cuda.device_count()
    if count < 2:
        pytest.skip(f"there is {count} CUDA device")
    devices = tuple(f"cuda:{number}" for number in range(count))
    alone = scores(reranker, on("cuda:0", "bf16"), PAIRS)
    np.testing.assert_array_equal(
        scores(reranker, on("cuda", "bf16", devices=devices), PAIRS), alone
    )
    files, texts = ModelFiles("m", embedder(tmp_path)), [text for _, text in PAIRS]
    shared = load_embedder(files, on("cuda", "bf16", devices=devices), Silence())
    one = load_embedder(files, on("cuda:0", "bf16"), Silence())
    np.testing.assert_array_equal(shared.embed_documents(texts), one.embed_documents(texts))


def test_training_learns_and_resumes_on_a_gpu(
    reranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"query": q, "text": t, "score": at % 5} for at, (q, t) in enumerate(PAIRS[:64])]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def losses(name: str, reporter: Silence, *, resume: bool = False) -> list[float]:
        with read_examples([data], None, Silence()) as examples:
            recipe = Recipe(steps=6, batch_size=16, learning_rate=1e-3)
            files = ModelFiles("base", reranker)
            request = TrainRequest(files, examples, recipe, EngineSettings("cuda"))
            train(request, ModelFolder(tmp_path / name, resume=resume), reporter)
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines if "loss" in line]

    whole = losses("whole", Silence())
    assert len(whole) == 6
    with pytest.raises(KeyboardInterrupt):
        losses("resumed", Stopping())
    assert losses("resumed", Silence(), resume=True) == pytest.approx(whole, rel=0.05)
    monkeypatch.setattr(torch_runtime, "find_kernel", lambda device: "a test")
    assert losses("padded", Silence()) == pytest.approx(whole, rel=0.05)


class Stopping(Silence):
    """Interrupts a training run after its third step."""

    @contextmanager
    def track(self, *given: Any, **more: Any) -> Iterator[Advance]:
        steps = iter(range(3))

        def advance(pairs: int) -> None:
            if next(steps) == 2:
                raise KeyboardInterrupt

        yield advance
