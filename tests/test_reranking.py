"""Scores equal those of sentence-transformers, of NumPy, and of the formula."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import ModelError
from ettin_cli.models.encoders import unit
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import find_model
from ettin_cli.models.rerankers.embedded import idf_table
from ettin_cli.models.rerankers.maxsim import maxsim
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker
from ettin_cli.models.token_counting import load_token_counter
from ettin_cli.records import Advance, Reranker, Silence
from ettin_cli.text.lexical.terms import Terms
from tests.models import TEXTS, embedder, ettin

QUERIES = ["When does the ferry sail?", "How long is the dough kneaded?"]
PAIRS = [(query, text * times) for query in QUERIES for text in TEXTS for times in (1, 4, 30)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ettin(tmp_path_factory.mktemp("ettin"))


def found(folder: Path) -> list[float]:
    files = find_reranker(str(folder), offline=True, reporter=Silence())
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


def test_maxsim_is_the_weighted_sum_of_the_best_matches() -> None:
    random = np.random.default_rng(3)
    query = unit(random.standard_normal((3, 8)).astype(np.float32))
    document = unit(random.standard_normal((5, 8)).astype(np.float32))
    weights = np.array([1.0, 2.0, 0.5], np.float32)
    expected = sum(
        float(weight) * max(float(other @ token) for other in document)
        for token, weight in zip(query, weights, strict=True)
    )
    assert maxsim(query, weights, document) == pytest.approx(expected, abs=1e-6)


def words(count: int, start: int = 0) -> str:
    return " ".join(f"ferry{number}" for number in range(start, start + count))


LONG_PAIRS = [(query, words(count)) for query in ("ferry?", words(30)) for count in (1, 9, 60)]


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
@pytest.mark.parametrize("limit", [40, 64, 100, 7999])
def test_an_ettin_scores_any_length_as_sentence_transformers_does(
    model: Path, limit: int, engine: str
) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    reference = CrossEncoder(str(model), device="cpu", max_length=limit)
    expected = reference.predict(LONG_PAIRS, activation_fn=torch.nn.Identity())
    whole = [len(reference.tokenizer(*pair)["input_ids"]) for pair in LONG_PAIRS]
    scores = reranker(model, max_length=limit, engine=engine).score(LONG_PAIRS)
    assert scores.values == pytest.approx(expected, abs=3e-5)
    assert scores.truncated.tolist() == [length > limit for length in whole]
    assert scores.truncated.any() == (limit < 7999)
    assert max(whole) > 100


def reranker(folder: Path | str, **settings: Any) -> Reranker:
    files = find_reranker(str(folder), offline=True, reporter=Silence())
    return load_reranker(files, EngineSettings("cpu", **settings), Silence())


@pytest.mark.parametrize("name", ["ettin", "embedded"])
def test_the_order_of_the_pairs_and_their_repeats_change_no_score(model: Path, name: str) -> None:
    ours = reranker(model if name == "ettin" else name, batch_size=3)
    pairs = [PAIRS[at] for at in (4, 0, 7, 4, 1, 0, 4)]
    advanced: list[int] = []
    values = ours.score(pairs, advanced.append).values
    assert sum(advanced) == len(pairs)
    for pair, value in zip(pairs, values, strict=True):
        assert value == pytest.approx(float(ours.score([pair]).values[0]), abs=1e-5)
    assert values[0] == values[3] == values[6]
    nothing = ours.score([])
    assert (len(nothing.values), len(nothing.truncated)) == (0, 0)


def test_equal_pairs_are_scored_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = reranker(model)
    counted: list[int] = []
    score = ours.model.score  # type: ignore[attr-defined]

    def counting(pairs: list[tuple[str, str]], advance: Advance) -> Any:
        counted.append(len(pairs))
        return score(pairs, advance)

    monkeypatch.setattr(ours.model, "score", counting)  # type: ignore[attr-defined]
    ours.score([PAIRS[0], PAIRS[1], PAIRS[0], PAIRS[0]])
    assert counted == [2]


def test_a_score_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = ettin(tmp_path / "m", hidden=32, layers=1, heads=2)
    path = folder / "4_Dense" / "model.safetensors"
    weights = load_file(path)
    weights["linear.bias"][:] = float("nan")
    save_file(weights, path)
    with pytest.raises(ModelError, match="a score that is not a number") as caught:
        reranker(folder).score(PAIRS[:2])
    assert hint_of(caught.value) == "try --dtype fp32, or a different model"


def test_a_model_of_several_scores_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    folder = embedder(tmp_path / "m", hidden=16)
    (folder / "modules.json").unlink()
    config = BertConfig.from_pretrained(folder, num_labels=3)
    BertForSequenceClassification(config).save_pretrained(folder)
    with pytest.raises(ModelError, match="returns 3 scores per pair, not one"):
        reranker(folder)


def test_an_older_cross_encoder_scores_as_sentence_transformers_does(tmp_path: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(4)
    folder = embedder(tmp_path / "m", hidden=16)
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (folder / name).unlink()
    config = BertConfig.from_pretrained(folder, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(folder)
    reference = CrossEncoder(str(folder), device="cpu")
    expected = reference.predict(PAIRS, activation_fn=torch.nn.Identity())
    assert reranker(folder).score(PAIRS).values == pytest.approx(expected, abs=1e-5)
    assert len(set(expected.tolist())) > 6


# The embedded reranker


class PlainStandIn:
    """The embedded reranker's formula over sentence-transformers' own token vectors."""

    def __init__(self, limit: int) -> None:
        from sentence_transformers import SentenceTransformer

        files = find_model("embedded", offline=True, reporter=Silence())
        self.model = SentenceTransformer(str(files.folder), device="cpu")
        self.model.max_seq_length = limit

    def vectors(self, text: str) -> tuple[Any, Any]:
        tokens = self.model.encode(text, output_value="token_embeddings").numpy()
        pooled = self.model.encode(text)
        return tokens / np.linalg.norm(tokens, axis=1, keepdims=True), pooled

    def score(self, query: str, text: str) -> float:
        (inside, one), (document, other) = self.vectors(query), self.vectors(text)
        cosine = float(one @ other) / float(np.linalg.norm(one) * np.linalg.norm(other))
        pieces = self.model.tokenizer(query, truncation=True)["input_ids"][1:-1]
        if not pieces:
            return cosine
        best = [max(float(token @ own) for token in document) for own in inside[1:-1]]
        weights = idf_table()[pieces]
        maxsim = float(np.dot(weights, best) / weights.sum())
        return cosine + 2 * maxsim + self.words_shared(query, text)

    def read(self, text: str) -> str:
        cut = self.model.tokenizer(text, truncation=True, return_offsets_mapping=True)
        return text[: max(end for _, end in cut["offset_mapping"])]

    def words_shared(self, query: str, text: str) -> float:
        own = Terms("english").of(self.read(text))
        asked = Terms("english").of_query(self.read(query))
        told = total = 0.0
        for term in asked:
            pieces = self.model.tokenizer(term, add_special_tokens=False)["input_ids"]
            rarity = max(float(idf_table()[piece]) for piece in pieces)
            total += rarity
            count = own.count(term)
            told += rarity * count / (count + 1.6 * (0.25 + 0.75 * len(own) / 150))
        return told / total


@pytest.mark.parametrize("limit", [24, 256])
def test_the_stand_in_is_maxsim_and_the_words_shared_at_any_length(limit: int) -> None:
    ours, plain = reranker("embedded", max_length=limit), PlainStandIn(limit)
    queries = ["When does the ferry sail?", "", "café 日本 ferry", TEXTS[0] * 9]
    texts = ["a", *TEXTS, TEXTS[2] * 30]
    pairs = [(query, text) for text in texts for query in queries]
    scores = ours.score(pairs)
    expected = [plain.score(query, text) for query, text in pairs]
    assert scores.values == pytest.approx(expected, abs=1e-4)
    lengths = [max(len(plain.model.tokenizer(side)["input_ids"]) for side in p) for p in pairs]
    assert scores.truncated.tolist() == [length > limit for length in lengths]


def test_words_that_are_cut_off_and_queries_without_any_share_nothing() -> None:
    model = reranker("embedded")
    read, unread = "We knead the dough and bake it. " * 60, "a ferry"
    there, not_there, empty = model.score(
        [("ferry", read + unread), ("ferry", read), ("", read)]
    ).values
    assert there == pytest.approx(not_there, abs=1e-6)
    assert np.isfinite(empty)
    # A combining mark without its letters has no word piece.
    assert np.isfinite(model.score([("\u094d", "\u094d")]).values).all()


def test_rare_words_weigh_more_than_common_ones() -> None:
    files = find_model("embedded", offline=True, reporter=Silence())
    table = idf_table()
    tokenizer = load_token_counter(files).tokenizer
    the, ferry = (tokenizer.token_to_id(word) for word in ("the", "ferry"))
    assert table.shape == (tokenizer.get_vocab_size(),)
    assert np.isfinite(table).all()
    assert 0 < table[the] < table[ferry]
