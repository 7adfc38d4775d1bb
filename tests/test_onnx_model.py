"""The torch-free route agrees with sentence-transformers at any length, in any batch."""

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

from ettin_cli.errors import InvalidArgumentError, ModelError
from ettin_cli.models.encoders import Encoded, OnnxEncoder, load_encoder
from ettin_cli.models.engines import (
    backends as libraries,
    onnxruntime_backend as onnx_runtime,
    openvino_backend as open_vino,
    registry,
)
from ettin_cli.models.engines.attention import LONG_TOKENS
from ettin_cli.models.engines.backends import Library
from ettin_cli.models.engines.batch_tuning import candidates, known_pace
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.weights import Weights
from ettin_cli.models.rerankers.cross_encoder import (
    OnnxCrossEncoder,
    TorchCrossEncoder,
    load_cross_encoder,
)
from ettin_cli.records import Silence
from tests import models
from tests.indexes import Notices
from tests.models import TEXTS, embedder, ettin

CPU = EngineSettings("cpu")
TORCH = EngineSettings("cpu", engine="torch")
LENGTHS = (2, 15, 16, 17, 129, 300, LONG_TOKENS, LONG_TOKENS + 1, 447, 448, 449, 512, 700, 1300)


def pairs_of(lengths: tuple[int, ...]) -> list[tuple[str, str]]:
    """Return pairs of this many tokens, special ones included; a letter here is two tokens."""
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
    # At full length torch is slow, and more layers would test nothing new.
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
        vocab_size=models.tokenizer(folder),
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
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[0])]
    alike = scored(folder, pairs)
    typed(folder)
    found = scored(folder, pairs)
    assert found == pytest.approx(expected(folder, pairs), abs=2e-5)
    assert (found != alike).all()


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


def json_file(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(values))


def set_in(path: Path, **values: Any) -> None:
    """Change values of a JSON file; None removes one."""
    found = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


def tables_cut(folder: Path, rows: int, name: str) -> None:
    """Remove all but the first rows of a weights table."""
    weights = load_file(folder / "model.safetensors")
    whole = next(key for key in weights if key.endswith(f"{name}.weight"))
    weights[whole] = weights[whole][:rows].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("kind", ["Bert", "ModernBert"])
def test_a_model_of_few_positions_reads_as_many_as_it_has(tmp_path: Path, kind: str) -> None:
    folder = classifier(tmp_path / "m", kind)
    set_in(folder / "config.json", max_position_embeddings=100)
    if kind == "Bert":
        tables_cut(folder, 100, "position_embeddings")
    pairs = pairs_of((97, 99, 200))
    model = load_cross_encoder(folder, CPU, Silence())
    assert isinstance(model, OnnxCrossEncoder)
    assert model.max_tokens == 100
    found, cut = model.score(pairs)
    assert found == pytest.approx(expected(folder, pairs), abs=2e-5)
    assert cut == [False, False, True]


def test_a_roberta_reads_no_further_than_its_positions_behind_the_padding(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "m", "Roberta", type_vocab_size=1)
    set_in(folder / "tokenizer_config.json", model_max_length=None)
    model = load_cross_encoder(folder, CPU, Silence())
    assert isinstance(model, OnnxCrossEncoder)
    assert model.max_tokens == 599
    assert np.isfinite(model.score(pairs_of((599, 700)))[0]).all()


def test_a_roberta_counts_no_position_for_padding_that_a_text_spells_out(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "m", "Roberta", type_vocab_size=1)
    pairs = [("a [PAD] b", "c [PAD][PAD] d"), ("a b", "c d")]
    assert scored(folder, pairs) == pytest.approx(expected(folder, pairs), abs=2e-5)


def typed(folder: Path) -> None:
    """Make a BERT's tokenizer.json and weights distinguish the two sides of a pair."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    for piece in tokenizer["post_processor"]["pair"][3:]:
        next(iter(piece.values()))["type_id"] = 1
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    weights = load_file(folder / "model.safetensors")
    weights["bert.embeddings.token_type_embeddings.weight"][1] += torch.randn(32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("names", [None, ["input_ids", "attention_mask"]])
def test_sides_are_not_told_apart_where_the_tokenizer_does_not_say(
    tmp_path: Path, names: list[str] | None
) -> None:
    folder = classifier(tmp_path / "m", "Bert")
    typed(folder)
    set_in(folder / "tokenizer_config.json", model_input_names=names)
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[0])]
    assert scored(folder, pairs) == pytest.approx(expected(folder, pairs), abs=2e-5)


def test_settings_that_name_no_types_leave_them_to_the_weights(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "m", "Bert")
    typed(folder)
    set_in(folder / "config.json", type_vocab_size=None)
    pairs = [(TEXTS[0], TEXTS[1])]
    assert scored(folder, pairs) == pytest.approx(expected(folder, pairs), abs=2e-5)


def test_settings_of_a_transformer_count_only_beside_a_list_of_modules(
    small: Path, tmp_path: Path
) -> None:
    folder = classifier(tmp_path / "m", "Bert")
    json_file(folder / "sentence_bert_config.json", max_seq_length=30)
    pairs = pairs_of((40, 200))
    assert scored(folder, pairs) == pytest.approx(expected(folder, pairs), abs=2e-5)
    shutil.copytree(small, tmp_path / "s")
    (tmp_path / "s" / "sentence_bert_config.json").unlink()
    json_file(tmp_path / "s" / "sentence_roberta_config.json", max_seq_length=30)
    assert scored(tmp_path / "s", pairs) == pytest.approx(expected(tmp_path / "s", pairs), abs=2e-5)


@pytest.mark.parametrize(
    ("kind", "file", "values"),
    [
        ("Bert", "config.json", {"is_decoder": True}),
        ("ModernBert", "config.json", {"local_attention": 1}),
        ("Bert", "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"}),
        ("Bert", "tokenizer_config.json", {"tokenizer_class": None}),
        ("Bert", "tokenizer_config.json", {"add_bos_token": True}),
        ("Roberta", "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer"}),
    ],
)
def test_settings_that_change_what_is_computed_go_to_torch(
    tmp_path: Path, kind: str, file: str, values: dict[str, Any]
) -> None:
    folder = classifier(tmp_path / "m", kind)
    set_in(folder / file, **values)
    model = load_cross_encoder(folder, CPU, Silence())
    assert isinstance(model, TorchCrossEncoder)
    pairs = [(TEXTS[0], TEXTS[1]), ("É À", TEXTS[2].upper())]
    assert model.score(pairs)[0] == pytest.approx(expected(folder, pairs), abs=2e-5)


def test_a_text_that_is_to_be_lowered_goes_to_torch(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "m")
    set_in(tmp_path / "m" / "sentence_bert_config.json", do_lower_case=True)
    model = load_cross_encoder(tmp_path / "m", CPU, Silence())
    pairs = [(TEXTS[0], TEXTS[2].upper())]
    assert model.score(pairs)[0] == pytest.approx(expected(tmp_path / "m", pairs), abs=2e-5)


def test_a_tokenizer_without_special_tokens_of_its_own_goes_to_torch(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "m", "Bert")
    whole = json.loads((folder / "tokenizer.json").read_text()) | {"post_processor": None}
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    model = load_cross_encoder(folder, CPU, Silence())
    pairs = [(TEXTS[0], TEXTS[1])]
    assert model.score(pairs)[0] == pytest.approx(expected(folder, pairs), abs=2e-5)


def test_an_adapter_is_not_left_out(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "m")
    (tmp_path / "m" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(ModelError, match="onnxruntime cannot run m here: an adapter is not"):
        load_cross_encoder(tmp_path / "m", EngineSettings("cpu", engine="onnxruntime"), Silence())


def test_weights_of_another_version_beside_the_model_are_not_read(
    small: Path, tmp_path: Path
) -> None:
    shutil.copytree(small, tmp_path / "m")
    weights = load_file(small / "model.safetensors")
    other = {name: values + 1 for name, values in weights.items()}
    save_file(other, tmp_path / "m" / "model_int8.safetensors", metadata={"format": "pt"})
    pairs = pairs_of((20,))
    assert scored(tmp_path / "m", pairs) == scored(small, pairs)


def test_weights_in_parts_are_read_by_their_index(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "m")
    whole = tmp_path / "m" / "model.safetensors"
    weights = load_file(whole)
    whole.unlink()
    places = {name: f"part-{at % 2}.safetensors" for at, name in enumerate(weights)}
    for part in set(places.values()):
        some = {name: weights[name] for name in weights if places[name] == part}
        save_file(some, tmp_path / "m" / part, metadata={"format": "pt"})
    json_file(tmp_path / "m" / "model.safetensors.index.json", weight_map=places)
    pairs = pairs_of((20,))
    assert scored(tmp_path / "m", pairs) == scored(small, pairs)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_token_that_the_model_has_no_vector_for_ends_in_one_clear_line(
    tmp_path: Path, engine: str
) -> None:
    pytest.importorskip(engine)
    folder = classifier(tmp_path / "m", "Bert")
    tables_cut(folder, 200, "word_embeddings")
    model = load_cross_encoder(folder, EngineSettings("cpu", engine=engine), Silence())
    with pytest.raises(ModelError, match="returns ids up to .*, but the model has only 200"):
        model.score(pairs_of((20,)))


def test_a_side_that_the_model_has_no_vector_for_ends_in_one_clear_line(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "m", "Bert")
    typed(folder)
    tables_cut(folder, 1, "token_type_embeddings")
    with pytest.raises(ModelError, match="returns types up to 1, but the model has only 1"):
        load_cross_encoder(folder, CPU, Silence()).score(pairs_of((20,)))


@pytest.mark.parametrize("values", [{"hidden_size": 32}, {"num_attention_heads": 3}])
def test_weights_that_do_not_fit_the_configuration_end_in_one_clear_line(
    small: Path, tmp_path: Path, values: dict[str, int]
) -> None:
    shutil.copytree(small, tmp_path / "m")
    set_in(tmp_path / "m" / "config.json", **values)
    with pytest.raises(ModelError, match="onnxruntime cpu float32 cannot run this model: "):
        load_cross_encoder(tmp_path / "m", CPU, Silence()).score(pairs_of((20,)))


@pytest.mark.parametrize("kinds", [["full_attention"] * 3, ["linear_attention"] * 4])
def test_layers_that_are_not_known_end_in_one_clear_line(
    small: Path, tmp_path: Path, kinds: list[str]
) -> None:
    shutil.copytree(small, tmp_path / "m")
    set_in(tmp_path / "m" / "config.json", layer_types=kinds)
    with pytest.raises(ModelError, match="cannot load the model"):
        load_cross_encoder(tmp_path / "m", CPU, Silence())


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
    with pytest.raises(ModelError, match="cannot run m here: activation silu is not supported"):
        load_cross_encoder(folder, EngineSettings("cpu", engine="onnxruntime"), Silence())
    with pytest.raises(InvalidArgumentError, match="unknown engine 'abacus'"):
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


def test_openvino_where_it_is_installed_gives_the_same_scores(small: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pairs = pairs_of(LENGTHS)
    ours = scored(small, pairs, engine="openvino")
    assert ours == pytest.approx(scored(small, pairs), abs=2e-5)
    folder = classifier(tmp_path / "m", "Bert")
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[2], "")]
    ours = scored(folder, pairs, engine="openvino")
    assert ours == pytest.approx(expected(folder, pairs), abs=2e-5)


SIGNALLED = """
import signal, sys
from pathlib import Path
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.rerankers.cross_encoder import load_cross_encoder
from ettin_cli.records import Silence

settings = EngineSettings("cpu", engine="openvino")
folder = Path(sys.argv[1])
models = [load_cross_encoder(folder, settings, Silence()) for _ in range(2)]
for model in models:
    model.score([("a", "b")])
# The older one is freed first.
del model
while models:
    del models[0]
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_signal_is_handled_after_two_models_of_openvino_are_freed(small: Path) -> None:
    pytest.importorskip("openvino")
    command = [sys.executable, "-c", SIGNALLED, str(small)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "interrupted\n"), ran.stderr


@pytest.mark.parametrize("installed", [False, True])
def test_fast_is_bf16_where_the_cpu_has_it_and_else_exact(
    small: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    fast = EngineSettings("cpu", dtype="fast")
    monkeypatch.setattr(libraries, "find_spec", lambda name: installed or None)

    def bf16(able: bool) -> None:
        for module in (onnx_runtime, open_vino):
            monkeypatch.setattr(module, "cpu_has_bf16", lambda: able)

    def chosen() -> Library | None:
        fit = [one for one in registry._tried(fast) if one.problem(fast) is None]
        return fit[0].library(fast)

    bf16(False)
    assert isinstance(chosen(), onnx_runtime.OnnxRuntime)
    bf16(True)
    if installed:
        library = chosen()
        assert isinstance(library, open_vino.OpenVino)
        assert library.backend == "openvino cpu bfloat16"
    else:
        assert chosen() is None
        assert isinstance(load_cross_encoder(small, fast, Silence()), TorchCrossEncoder)
        with pytest.raises(ModelError, match="it is not installed"):
            load_cross_encoder(small, EngineSettings("cpu", engine="openvino"), Silence())


def test_the_fastest_pace_is_found_in_passing_and_remembered(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("ettin_cli.models.engines.batch_tuning.SAMPLE_TOKENS", 200)
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
