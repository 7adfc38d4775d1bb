"""Batches contain every text once, within limits; oversized ones are halved; errors are raised."""

import json
import shutil
import weakref
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import BertConfig, BertForSequenceClassification

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import InvalidArgumentError, ModelError
from ettin_cli.models.engines import torch_devices, torch_runtime
from ettin_cli.models.engines.batching import batches
from ettin_cli.models.engines.library_tokens import LibraryTokens
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_memory import is_out_of_memory
from ettin_cli.models.engines.torch_runtime import Placement, run
from ettin_cli.records import Silence
from tests.indexes import Notices
from tests.models import embedder, ettin

LENGTHS = st.lists(st.integers(1, 50), max_size=60)


@given(LENGTHS, st.integers(1, 120), st.none() | st.integers(1, 9))
def test_batches_hold_every_text_once_and_keep_their_bounds(
    lengths: list[int], tokens: int, rows: int | None
) -> None:
    made = list(batches(lengths, tokens, rows))
    assert sorted(at for batch in made for at in batch) == list(range(len(lengths)))
    for batch in made:
        longest = max(lengths[at] for at in batch)
        assert len(batch) == 1 or longest * len(batch) <= tokens
        assert rows is None or len(batch) <= rows
    firsts = [lengths[batch[0]] for batch in made]
    assert firsts == sorted(firsts, reverse=True)


@given(LENGTHS, st.integers(1, 120))
def test_no_two_neighbouring_batches_could_have_been_one(lengths: list[int], tokens: int) -> None:
    made = list(batches(lengths, tokens, None))
    for one, following in pairwise(made):
        assert lengths[one[0]] * (len(one) + 1) > tokens
        assert max(lengths[at] for at in following) <= min(lengths[at] for at in one)


@pytest.fixture
def placement() -> Placement:
    return Placement(EngineSettings(device="cpu", batch_size=8), Notices())


def notices(placement: Placement) -> list[str]:
    return cast(Notices, placement.reporter).said


@pytest.mark.parametrize("fits", [1, 2, 3, 8])
def test_a_batch_beyond_the_memory_is_halved_until_it_fits(placement: Placement, fits: int) -> None:
    tried: list[list[int]] = []
    done: list[int] = []

    def forward(batch: list[int]) -> None:
        tried.append(batch)
        if len(batch) > fits:
            raise torch.OutOfMemoryError("no memory")
        assert torch.is_inference_mode_enabled()
        done.extend(batch)

    advanced: list[int] = []
    run(list(range(1, 21)), forward, placement, advanced.append)
    assert sorted(done) == list(range(20))
    assert sum(advanced) == 20
    assert notices(placement) == ["out of GPU memory; halving the batches"] * (fits < 8)
    assert [len(batch) for batch in tried[:2]] == ([8, 4] if fits < 8 else [8, 8])
    # Texts are processed in the intended order.
    assert done == list(range(19, -1, -1))


def test_a_text_that_does_not_fit_alone_is_said_with_its_length(placement: Placement) -> None:
    def forward(batch: list[int]) -> None:
        if 1 in batch:
            raise torch.OutOfMemoryError("no memory")

    with pytest.raises(ModelError, match="a text of 700 tokens does not fit") as caught:
        run([5, 700, 3], forward, placement)
    assert hint_of(caught.value) == "--max-length 2048, or --device cpu"


def test_what_fits_is_learnt_once_for_all_later_batches(placement: Placement) -> None:
    """With room for 300 tokens, batches of 2,048 fail three times, and then none does."""
    failed: list[int] = []
    done: list[int] = []
    lengths = [10 + at % 7 for at in range(1000)]

    def forward(batch: list[int]) -> None:
        tokens = len(batch) * max(lengths[at] for at in batch)
        if tokens > 300:
            failed.append(tokens)
            raise torch.OutOfMemoryError("no memory")
        done.extend(batch)

    placement.settings = EngineSettings("cpu")
    for _ in range(3):
        run(lengths, forward, placement)
    assert len(failed) == 3
    assert sorted(done) == sorted([*range(1000)] * 3)
    assert notices(placement) == ["out of GPU memory; halving the batches"]
    assert 150 <= placement.batch_tokens <= 300


@pytest.mark.parametrize(
    "message",
    [
        "MPS backend out of memory (MPS allocated: 9.0 GB)",
        "Invalid buffer size: 25.00 GB",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_every_way_to_say_out_of_memory_counts(placement: Placement, message: str) -> None:
    sizes: list[int] = []

    def forward(batch: list[int]) -> None:
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.AcceleratorError(message) if "CUDA" in message else RuntimeError(message)

    run([5, 5], forward, placement)
    assert sizes == [2, 1, 1]
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(ValueError(message))


def test_memory_is_freed_when_nothing_of_the_failure_holds_it(
    placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []

    def forward(batch: list[int]) -> None:
        intermediate = torch.ones(len(batch))
        held.append(weakref.ref(intermediate))
        if len(batch) > 1:
            raise torch.OutOfMemoryError("no memory")

    def freed(device: torch.device) -> None:
        alive.append(held[-1]() is not None)

    monkeypatch.setattr(torch_runtime, "free_memory", freed)
    run([5, 5], forward, placement)
    assert alive == [False]


def test_another_failure_of_a_forward_pass_is_not_hidden(placement: Placement) -> None:
    def forward(batch: list[int]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run([5], forward, placement)
    run([], forward, placement)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cpuu", ""])
def test_a_device_that_is_none_is_wrong_usage(device: str) -> None:
    with pytest.raises(InvalidArgumentError, match="unknown device"):
        Placement(EngineSettings(device=device), Silence())


def test_a_device_that_is_not_here_is_refused_with_the_reason() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    reason = "this torch is built without CUDA" if torch.version.cuda is None else ""
    with pytest.raises(ModelError, match=f"device cuda:7 cannot be used: {reason}") as caught:
        Placement(EngineSettings(device="cuda:7"), Silence())
    assert hint_of(caught.value) == "--device cpu"


@pytest.mark.parametrize(
    ("dtype", "name"), [("auto", "float32"), ("fp32", "float32"), ("bf16", "bfloat16")]
)
def test_the_dtype_is_the_one_asked_for_and_exact_by_default(dtype: str, name: str) -> None:
    made = Placement(EngineSettings(device="cpu", dtype=dtype), Silence())
    assert (made.dtype_name, made.backend) == (name, f"torch cpu {name}")


def test_a_dtype_that_is_none_is_wrong_usage() -> None:
    with pytest.raises(InvalidArgumentError, match="unknown dtype 'int8'"):
        Placement(EngineSettings(device="cpu", dtype="int8"), Silence())


@pytest.mark.parametrize("has_bf16", [True, False])
def test_fast_is_bf16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool
) -> None:
    monkeypatch.setattr(torch_devices, "cpu_has_bf16", lambda: has_bf16)
    made = Placement(EngineSettings(device="cpu", dtype="fast"), Silence())
    assert made.dtype_name == ("bfloat16" if has_bf16 else "float32")


# Heads


def test_scores_are_not_rounded_to_steps_of_bf16(tmp_path: Path) -> None:
    """The trunk is in bf16, the head and what it gives in float32; so it is in training."""
    folder = ettin(tmp_path / "ettin", hidden=32, layers=1, heads=2)
    made = Placement(EngineSettings("cpu", "bf16"), Silence())
    trained = Placement(EngineSettings("cpu", "fp32"), Silence())
    pairs = [(f"ferry {at}", "The ferry sails at nine o'clock.") for at in range(40)]
    for model, autocast in (
        (made.load(CrossEncoder, folder), False),
        (trained.load(CrossEncoder, folder, autocast=True), True),
    ):
        tokens, _ = LibraryTokens(model.tokenizer, 512).of_pairs(pairs)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            features = model[0](made.features(model, tokens))
            assert autocast or features["token_embeddings"].dtype == torch.bfloat16
            scores = model(made.features(model, tokens))["scores"]
        assert scores.dtype == torch.float32
        assert {part.dtype for part in model[2].parameters()} == {torch.float32}
        # Numbers of bf16 have 16 zeros at the end.
        bits = scores.view(torch.int32) & 0xFFFF
        assert bits.count_nonzero() > len(pairs) // 2


def test_the_own_head_of_a_transformers_model_is_exact_too(tmp_path: Path) -> None:
    folder = embedder(tmp_path / "model")
    config = BertConfig.from_pretrained(folder, num_labels=1)
    for path in ("modules.json", "config_sentence_transformers.json"):
        (folder / path).unlink(missing_ok=True)
    BertForSequenceClassification(config).save_pretrained(folder)
    model = Placement(EngineSettings("cpu", "bf16"), Silence()).load(CrossEncoder, folder)
    inner = model[0].model
    assert (inner.bert.dtype, inner.classifier.weight.dtype) == (torch.bfloat16, torch.float32)
    scores = model(dict(model.tokenizer(["a"], ["b"], return_tensors="pt")))["scores"]
    assert scores.dtype == torch.float32


# Loading


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embedder(tmp_path_factory.mktemp("good"), hidden=16)


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"x" * 5000),
        ("model.safetensors", b""),
        ("config.json", b"{}"),
        ("config.json", b'{"model_type": "nosuch"}'),
        ("config.json", b"{"),
        ("tokenizer.json", b"{}"),
        ("1_Pooling/config.json", b"{}"),
        ("modules.json", b'[{"name": "0", "path": "", "type": "sentence_transformers.no.Such"}]'),
    ],
)
def test_a_damaged_model_is_one_line(
    folder: Path, placement: Placement, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"cannot load the model in {folder}: ") as caught:
        placement.load(SentenceTransformer, folder)
    assert "\n" not in caught.value.problem


def test_weights_cut_short_are_refused(folder: Path, placement: Placement) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot load the model"):
        placement.load(SentenceTransformer, folder)


def test_a_model_without_some_weights_is_refused_and_not_filled_at_random(
    folder: Path, placement: Placement
) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "layer.1.output" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"no weights for encoder\.layer\.1\.output\.dense\.w"):
        placement.load(SentenceTransformer, folder)


def test_weights_that_are_never_read_may_be_missing(folder: Path, placement: Placement) -> None:
    whole = placement.load(SentenceTransformer, folder).encode(["a ferry"])
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("pooler.")}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    assert (placement.load(SentenceTransformer, folder).encode(["a ferry"]) == whole).all()


def test_an_embedder_is_no_reranker(folder: Path, placement: Placement) -> None:
    with pytest.raises(ModelError, match=r"no weights for classifier\.weight") as caught:
        placement.load(CrossEncoder, folder)
    assert "incomplete or not a reranker" in caught.value.problem


def test_a_whole_model_of_either_kind_is_loaded(
    folder: Path, placement: Placement, tmp_path: Path
) -> None:
    assert not placement.load(SentenceTransformer, folder).training
    reranker = ettin(tmp_path / "ettin", hidden=32, layers=1, heads=2)
    assert placement.load(CrossEncoder, reranker).num_labels == 1


def test_code_that_comes_with_a_model_is_not_run_unasked(
    folder: Path, placement: Placement
) -> None:
    config = json.loads((folder / "config.json").read_text())
    ran = folder / "ran"
    (folder / "modeling.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    (folder / "config.json").write_text(
        json.dumps({**config, "model_type": "mine", "auto_map": {"AutoConfig": "modeling.Config"}})
    )
    with pytest.raises(ModelError) as caught:
        placement.load(SentenceTransformer, folder)
    assert hint_of(caught.value) == "if you trust it: --trust-remote-code"
    assert not ran.exists()
