"""The torch-free route gives what sentence-transformers gives, at any length, for any batch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer

from ettin_cli.cross_encoder import OnnxCrossEncoder, TorchCrossEncoder, load_cross_encoder
from ettin_cli.encoder import Encoded, OnnxEncoder, load_encoder
from ettin_cli.engines import EngineSettings, choosing
from ettin_cli.engines import devices as devices_module
from ettin_cli.engines.attention import LONG_TOKENS
from ettin_cli.engines.pace import candidates, known_pace
from ettin_cli.engines.weights import Weights
from ettin_cli.errors import ModelError, UsageError
from ettin_cli.records import Silence
from tests import models
from tests.indexes import Notices
from tests.models import TEXTS, embedder, ettin

CPU = EngineSettings("cpu")
TORCH = EngineSettings("cpu", engine="torch")
LENGTHS = (2, 15, 16, 17, 129, 300, LONG_TOKENS, LONG_TOKENS + 1, 447, 448, 449, 512, 700, 1300)


def pairs_of(lengths: tuple[int, ...]) -> list[tuple[str, str]]:
    """Return pairs of so many tokens, special ones included; a letter here is two tokens."""
    random = np.random.default_rng(4)
    letters = list("üöäßñç")
    sizes = [max(0, (length - 5 + 1) // 2) for length in lengths]
    return [("é", "".join(random.choice(letters, size))) for size in sizes]


def scored(folder: Path, pairs: list[tuple[str, str]], **settings: Any) -> np.ndarray[Any, Any]:
    model = load_cross_encoder(folder, EngineSettings("cpu", **settings), Silence())
    assert isinstance(model, OnnxCrossEncoder)
    return model.score(pairs)[0]


def expected(folder: Path, pairs: list[tuple[str, str]]) -> np.ndarray[Any, Any]:
    reference = CrossEncoder(str(folder), device="cpu")
    found = [reference.predict([pair], activation_fn=torch.nn.Identity())[0] for pair in pairs]
    return np.array(found)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ettin(tmp_path_factory.mktemp("small"), hidden=64, layers=4, heads=2)


def test_an_ettin_scores_as_sentence_transformers_does_around_every_bound(small: Path) -> None:
    pairs = pairs_of(LENGTHS)
    assert scored(small, pairs) == pytest.approx(expected(small, pairs), abs=2e-5)


@pytest.mark.parametrize("tokens", [512, 2048, 7999])
def test_an_ettin_of_the_size_of_17m_scores_long_documents_exactly(
    tmp_path: Path, tokens: int
) -> None:
    # At the full length torch takes its time, and depth adds nothing to what can differ.
    folder = ettin(tmp_path / "m", layers=7 if tokens < 7999 else 4)
    pairs = pairs_of((tokens,))
    assert scored(folder, pairs) == pytest.approx(expected(folder, pairs), abs=1e-4)


def test_a_score_is_the_same_to_the_last_bit_whatever_shares_the_batch(small: Path) -> None:
    pairs = pairs_of(LENGTHS + tuple(range(20, 160, 7)))
    whole = scored(small, pairs)
    for settings in ({"batch_size": 1}, {"batch_size": 3}, {"threads": 1}, {"threads": 3}):
        assert (scored(small, pairs, **settings) == whole).all()
    assert (scored(small, pairs[::-1])[::-1] == whole).all()


def classifier(folder: Path, kind: str, **shape: Any) -> Path:
    """Write a cross-encoder for sequence classification, as transformers saves one."""
    import transformers

    torch.manual_seed(5)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=models._tokenizer(folder),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        max_position_embeddings=600,
        initializer_range=0.2,
        num_labels=1,
        pad_token_id=0,
        **shape,
    )
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    for name, values in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(values)
    model.save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    names = ["input_ids", "token_type_ids", "attention_mask"] if kind == "Bert" else None
    settings |= {"model_max_length": 500} | ({"model_input_names": names} if names else {})
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("Bert", {}),
        ("Bert", {"hidden_act": "gelu_new"}),
        ("Roberta", {"type_vocab_size": 1}),
        ("XLMRoberta", {"type_vocab_size": 1, "hidden_act": "relu"}),
        ("ModernBert", {"classifier_pooling": "cls"}),
        ("ModernBert", {"classifier_pooling": "mean", "attention_bias": True, "mlp_bias": True}),
        ("ModernBert", {"norm_bias": True, "classifier_bias": True, "local_attention": 32}),
    ],
)
def test_other_cross_encoders_score_as_sentence_transformers_does(
    tmp_path: Path, kind: str, shape: dict[str, Any]
) -> None:
    folder = classifier(tmp_path / "m", kind, **shape)
    pairs = [*pairs_of((5, 40, 200, 450, 490)), (TEXTS[0], TEXTS[1]), ("", "")]
    assert scored(folder, pairs) == pytest.approx(expected(folder, pairs), abs=2e-5)


def test_the_two_sides_of_a_pair_are_told_apart(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "m", "Bert")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    for piece in tokenizer["post_processor"]["pair"][3:]:
        next(iter(piece.values()))["type_id"] = 1
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[0])]
    found = scored(folder, pairs)
    assert found == pytest.approx(expected(folder, pairs), abs=2e-5)
    weights = load_file(folder / "model.safetensors")
    weights["bert.embeddings.token_type_embeddings.weight"][1] += torch.randn(32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert (scored(folder, pairs) != found).all()


def vectors(folder: Path, texts: list[str]) -> np.ndarray[Any, Any]:
    encoder = load_encoder(folder, 64, CPU, Silence())
    assert isinstance(encoder, OnnxEncoder)
    found: dict[int, np.ndarray[Any, Any]] = {}

    def keep(batch: list[int], output: Encoded) -> None:
        found.update(zip(batch, output.vectors, strict=True))

    encoder.encode(encoder.token_ids(texts)[0], keep)
    return np.array([found[at] for at in range(len(texts))])


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_an_embedder_of_any_pooling_and_more_modules_gives_its_vectors(
    tmp_path: Path, pooling: str
) -> None:
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    torch.manual_seed(2)
    folder = embedder(tmp_path / "m", pooling={"pooling_mode": pooling})
    model = SentenceTransformer(str(folder), device="cpu")
    whole = SentenceTransformer(
        modules=[*model, Dense(32, 12, activation_function=torch.nn.Tanh()), Normalize()],
        device="cpu",
    )
    whole.max_seq_length = 64
    whole.save(str(tmp_path / "whole"))
    texts = [*TEXTS, "", "a", TEXTS[0] * 9]
    assert vectors(tmp_path / "whole", texts) == pytest.approx(whole.encode(texts), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_widened(small: Path, tmp_path: Path, dtype: Any) -> None:
    shutil.copytree(small, tmp_path / "m")
    for path in (tmp_path / "m").rglob("*.safetensors"):
        narrow = {name: values.to(dtype) for name, values in load_file(path).items()}
        save_file(narrow, path, metadata={"format": "pt"})
    theirs = {k: v.float().numpy() for k, v in load_file(tmp_path / "m/model.safetensors").items()}
    ours = Weights(tmp_path / "m")
    assert set(ours) == set(theirs)
    assert all((ours[name] == values).all() for name, values in theirs.items())
    assert np.isfinite(scored(tmp_path / "m", pairs_of((20,)))).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:5],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"\xff" * 8 + whole[8:],
        lambda whole: whole[:8] + b"[" + whole[9:],
        lambda whole: whole.replace(b'"data_offsets":[', b'"data_offsets":{', 1),
        lambda whole: whole.replace(b'"shape":[64', b'"shape":[65', 1),
        lambda whole: b"",
    ],
)
def test_damaged_weights_end_in_one_clear_line(small: Path, tmp_path: Path, damage: Any) -> None:
    shutil.copytree(small, tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=r"cannot read the weights in .*model\.safetensors"):
        load_cross_encoder(tmp_path / "m", CPU, Silence())


def test_what_is_not_written_as_a_graph_goes_to_torch_which_is_said(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "m", "Bert", hidden_act="silu")
    said = Notices()
    model = load_cross_encoder(folder, CPU, said)
    assert isinstance(model, TorchCrossEncoder)
    pairs = [(TEXTS[0], TEXTS[1])]
    assert model.score(pairs)[0] == pytest.approx(expected(folder, pairs), abs=1e-5)
    with pytest.raises(ModelError, match="cannot run m here: activation silu is not written"):
        load_cross_encoder(folder, EngineSettings("cpu", engine="onnxruntime"), Silence())
    with pytest.raises(UsageError, match="no engine 'abacus'"):
        load_cross_encoder(folder, EngineSettings("cpu", engine="abacus"), Silence())


@pytest.mark.parametrize(
    "settings",
    [
        EngineSettings("cpu", dtype="bf16"),
        EngineSettings("cpu", engine="torch"),
    ],
)
def test_what_asks_for_torch_gets_it(small: Path, settings: EngineSettings) -> None:
    assert isinstance(load_cross_encoder(small, settings, Silence()), TorchCrossEncoder)


def test_a_gpu_in_sight_leaves_the_choice_to_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if sys.platform != "linux":
        pytest.skip("drivers show themselves otherwise")
    monkeypatch.setattr(devices_module, "DRIVERS", [str(tmp_path / "none")])
    assert devices_module.is_cpu("auto")
    monkeypatch.setattr(devices_module, "DRIVERS", [str(tmp_path / "none"), str(tmp_path)])
    assert not devices_module.is_cpu("auto")
    assert devices_module.is_cpu("cpu")
    assert not devices_module.is_cpu("cuda:1")


def test_openvino_where_it_is_installed_gives_the_same_scores(small: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pairs = pairs_of(LENGTHS)
    ours = scored(small, pairs, engine="openvino")
    assert ours == pytest.approx(scored(small, pairs), abs=2e-5)
    folder = classifier(tmp_path / "m", "Bert")
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[2], "")]
    ours = scored(folder, pairs, engine="openvino")
    assert ours == pytest.approx(expected(folder, pairs), abs=2e-5)


@pytest.mark.parametrize("installed", [False, True])
def test_fast_is_bf16_where_the_cpu_has_it_and_else_exact(
    small: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    fast = EngineSettings("cpu", dtype="fast")
    monkeypatch.setattr(choosing, "find_spec", lambda name: installed or None)
    monkeypatch.setattr(choosing, "cpu_has_bf16", lambda: False)
    assert choosing._problem(fast) is None
    assert choosing._library(fast).engine == "onnxruntime cpu float32"
    monkeypatch.setattr(choosing, "cpu_has_bf16", lambda: True)
    if installed:
        assert choosing._problem(fast) is None
        assert choosing._library(fast).engine == "openvino cpu bfloat16"
    else:
        assert isinstance(load_cross_encoder(small, fast, Silence()), TorchCrossEncoder)
        with pytest.raises(ModelError, match="it is not installed"):
            load_cross_encoder(small, EngineSettings("cpu", engine="openvino"), Silence())


def test_the_fastest_pace_is_found_in_passing_and_remembered(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("ettin_cli.engines.pace.SAMPLE_TOKENS", 200)
    pairs = pairs_of(tuple(range(20, 120)))
    model = load_cross_encoder(small, EngineSettings("cpu", threads=2), Silence())
    assert isinstance(model, OnnxCrossEncoder)
    identity = model.model.identity
    assert known_pace(identity, 2) is None
    advanced: list[int] = []
    measured, _ = model.score(pairs, advanced.append)
    assert sum(advanced) == len(pairs)
    assert known_pace(identity, 2) == model.model.pace
    assert model.model.pace in candidates(2)
    assert known_pace(identity, 1) is None
    again = load_cross_encoder(small, EngineSettings("cpu", threads=2), Silence())
    assert (again.score(pairs)[0] == measured).all()


def test_no_command_imports_torch_on_a_cpu(small: Path) -> None:
    code = (
        "import sys\nfrom ettin_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    arguments = ["score", "ferry", *TEXTS, "-r", str(small), "--device", "cpu"]
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert len(ran.stdout.splitlines()) == len(TEXTS)
    loaded = {name.split(".")[0] for name in ran.stderr.split()}
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint({"torch", "transformers", "sentence_transformers", "faiss", "pyarrow"})
