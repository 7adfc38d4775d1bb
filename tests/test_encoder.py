"""The encoder agrees with the model for every text, in any batch."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import ModelError
from ettin_cli.models.encoders import Encoded, Encoder, TorchEncoder, load_encoder, shared_encoder
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_runtime import Placement
from ettin_cli.records import Silence
from ettin_cli.runtime.loading import Loaded
from tests.indexes import Notices
from tests.models import TEXTS, embedder

SETTINGS = EngineSettings(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embedder(tmp_path_factory.mktemp("tiny"))


def made(folder: Path, max_tokens: int = 64, **settings: Any) -> TorchEncoder:
    return TorchEncoder(folder, max_tokens, Placement(EngineSettings("cpu", **settings), Notices()))


def outputs(encoder: TorchEncoder, texts: list[str]) -> list[np.ndarray[Any, Any]]:
    """Return the token vectors of each text, without padding."""
    found: dict[int, np.ndarray[Any, Any]] = {}
    ids, _ = encoder.token_ids(texts)

    def keep(batch: list[int], output: Encoded) -> None:
        assert output.tokens is not None
        for row, at in enumerate(batch):
            assert at not in found
            found[at] = output.tokens[row, : len(ids[at].ids)]

    encoder.encode(ids, keep, tokens=True)
    return [found[at] for at in range(len(texts))]


def test_token_vectors_are_those_of_the_bare_model(folder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    texts = [*TEXTS, "", "a", TEXTS[0] * 9]
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for text, found in zip(texts, outputs(made(folder), texts), strict=True):
        tokens = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            expected = model(**tokens).last_hidden_state[0].numpy()
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, None])
def test_batches_change_nothing(folder: Path, batch_size: int | None) -> None:
    texts = [text[:length] for text in TEXTS for length in (3, 20, 60)]
    whole = outputs(made(folder), texts)
    for one, other in zip(whole, outputs(made(folder, batch_size=batch_size), texts), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_text_at_the_limit_is_whole_and_one_beyond_is_cut(folder: Path) -> None:
    encoder = made(folder, 16)
    long = encoder.tokenizer(TEXTS[0] * 5)["input_ids"]
    words = [encoder.tokenizer.decode(long[1 : 1 + count]) for count in (13, 14, 15, 40)]
    for either in (encoder, load_encoder(folder, 16, SETTINGS, Silence())):
        texts, cut = either.token_ids(words)
        assert [len(text.ids) for text in texts] == [15, 16, 16, 16]
        assert cut == [False, False, True, True]
        assert texts[-1].ids[-1] == encoder.tokenizer.sep_token_id
        assert either.token_ids([]) == ([], [])


def test_a_model_is_loaded_once_for_those_who_share_it(folder: Path) -> None:
    loaded = Loaded()

    def shared(tokens: int, settings: EngineSettings) -> Encoder:
        return shared_encoder(folder, tokens, settings, Silence(), loaded)

    one = shared(64, SETTINGS)
    assert shared(64, EngineSettings("cpu", max_length=9)) is one
    assert shared(32, SETTINGS) is not one
    assert shared(64, EngineSettings("cpu", dtype="bf16")) is not one
    assert shared_encoder(folder, 64, SETTINGS, Silence(), Loaded()) is not one


@pytest.fixture
def altered(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "model")
    return tmp_path / "model"


def test_a_model_that_pools_nothing_is_refused(altered: Path) -> None:
    modules = json.loads((altered / "modules.json").read_text())
    (altered / "modules.json").write_text(json.dumps(modules[:1]))
    encoder = made(altered)
    with pytest.raises(ModelError, match="it has no pooling"):
        encoder.encode(encoder.token_ids(TEXTS)[0], lambda *_: None)


def test_a_bare_transformer_is_averaged_and_that_is_said(altered: Path) -> None:
    (altered / "modules.json").unlink()
    notices = Notices()
    load_encoder(altered, 64, SETTINGS, notices)
    assert notices.said == [f"{altered} defines no pooling, so token vectors are averaged"]


def test_a_model_of_static_vectors_is_refused(tmp_path: Path, folder: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    static = StaticEmbedding(tokenizer, embedding_dim=8)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"))
    with pytest.raises(ModelError, match="is not a transformer"):
        made(tmp_path / "static")


@pytest.mark.parametrize(
    ("module_type", "activation", "named"),
    [
        ("evil.Dense", "torch.nn.modules.linear.Identity", "evil.Dense"),
        ("sentence_transformers.models.Dense", "evil.Act", "evil.Act"),
    ],
)
def test_code_from_elsewhere_is_refused_by_its_name(
    altered: Path, module_type: str, activation: str, named: str
) -> None:
    modules = json.loads((altered / "modules.json").read_text())
    modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": module_type})
    (altered / "modules.json").write_text(json.dumps(modules))
    (altered / "2_Dense").mkdir()
    (altered / "2_Dense" / "config.json").write_text(
        json.dumps({"in_features": 32, "out_features": 8, "activation_function": activation})
    )
    with pytest.raises(ModelError, match=f"needs {named}, which is custom code") as caught:
        load_encoder(altered, 64, SETTINGS, Silence())
    assert hint_of(caught.value) == "if you trust it: --trust-remote-code"
