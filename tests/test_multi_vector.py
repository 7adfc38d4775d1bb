"""Multi-vector models score as in sentence-transformers, in ONNX Runtime and torch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import ModelError
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.rerankers.long_texts import with_long_texts
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker
from ettin_cli.records import Reranker, Silence
from tests.indexes import Notices
from tests.models import TEXTS
from tests.multi_vectors import DOCUMENT_TOKENS, multi_vector, pylate, stanford

QUERIES = ["When does the ferry sail?", "dough", "Who, where?! and " * 12, ""]
DOCUMENTS = [*TEXTS, TEXTS[0] * 9, "", "a, b. (c)!", "?!"]
PAIRS = [(query, text) for query in QUERIES for text in DOCUMENTS]
FIXED = {"strategy": "fixed", "length": 32}
Made = Callable[[Path], Path]


def reranker(folder: Path, reporter: Any = None, **settings: Any) -> Reranker:
    files = find_reranker(str(folder), offline=True, reporter=Silence())
    return load_reranker(files, EngineSettings("cpu", **settings), reporter or Silence())


def expected(folder: Path) -> Any:
    """Return sentence-transformers' own scores of all pairs; an empty text ranks last."""
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(folder), device="cpu")
    scores = model.similarity(model.encode_query(QUERIES), model.encode_document(DOCUMENTS))
    values = scores.numpy().reshape(-1)
    values[[not text for _, text in PAIRS]] = -1e9
    return values


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
@pytest.mark.parametrize("skipped", [False, True], ids=["all", "skiplist"])
@pytest.mark.parametrize(
    "expansion",
    [None, FIXED, {**FIXED, "attend": True}, {"strategy": "min", "length": 24}],
    ids=["plain", "fixed", "attended", "least"],
)
def test_a_model_scores_as_its_library_does(
    tmp_path: Path, kind: str, skipped: bool, expansion: dict[str, Any] | None
) -> None:
    folder = multi_vector(tmp_path, kind, expansion=expansion, skipped=skipped)
    wanted = expected(folder)
    fixed = expansion is not None and expansion["strategy"] == "fixed"
    for engine in ("onnxruntime", "torch"):
        scores = reranker(folder, engine=engine).score(PAIRS)
        assert scores.values == pytest.approx(wanted, abs=1e-4)
        assert scores.truncated.tolist() == [
            text == DOCUMENTS[3] or (fixed and query == QUERIES[2] and text != "")
            for query, text in PAIRS
        ]
    assert np.std(wanted) > 0.1


VARIANTS: dict[str, Made] = {
    "mean": lambda path: multi_vector(path, similarity="meanmaxsim"),
    "queries skip too": lambda path: multi_vector(
        path, skipped=True, skiplist_tasks=["query", "document"], expansion=FIXED
    ),
    "kept ids": lambda path: multi_vector(path, keep_only_token_ids=[1, 30, 31, 40]),
    "nothing kept": lambda path: multi_vector(path, keep_only_token_ids=[4]),
    "expanded by a word": lambda path: multi_vector(path, expansion={**FIXED, "token": "[SEP]"}),
    "pylate": pylate,
    "pylate, attending": lambda path: pylate(
        path, "modernbert", attend_to_expansion_tokens=True, prompts={"query": "find: "}
    ),
    "pylate, not expanding": lambda path: pylate(
        path, model_type="ColBERT", do_query_expansion=False, skiplist_words=["."]
    ),
    "stanford": stanford,
    "stanford, all tokens": lambda path: stanford(
        path, mask_punctuation=False, attend_to_mask_tokens=True
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_layout_and_setting_is_read(tmp_path: Path, name: str) -> None:
    folder = VARIANTS[name](tmp_path)
    wanted = expected(folder)
    for engine in ("onnxruntime", "torch"):
        assert reranker(folder, engine=engine).score(PAIRS).values == pytest.approx(
            wanted, abs=1e-4
        )


def test_a_prefix_is_one_token_though_the_tokenizer_would_break_it(tmp_path: Path) -> None:
    from ettin_cli.models.engines.tokens import load_tokenizer
    from ettin_cli.models.multi_vector.encoding import register_markers

    tokenizer = load_tokenizer(pylate(tmp_path))
    assert tokenizer.encode("[Q] ferry", add_special_tokens=False).tokens[0] != "[Q] "
    register_markers(tokenizer, ["[Q] ", "", "[unknown] "])
    assert tokenizer.encode("[Q] ferry", add_special_tokens=False).tokens[0] == "[Q] "
    assert tokenizer.token_to_id("[unknown] ") is None


def test_another_trunk_takes_torch(tmp_path: Path) -> None:
    folder = multi_vector(tmp_path, "lfm2", expansion={**FIXED, "attend": True})
    ours = reranker(folder)
    assert ours.card.backend.startswith("torch")
    assert ours.score(PAIRS).values == pytest.approx(expected(folder), abs=1e-4)


def test_expansion_beyond_a_window_of_attention_takes_torch(tmp_path: Path) -> None:
    folder = multi_vector(tmp_path, "modernbert", expansion={**FIXED, "length": 80})
    assert reranker(folder).card.backend.startswith("torch")


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_a_lower_limit_cuts_texts_and_is_counted(tmp_path: Path, engine: str) -> None:
    notices = Notices()
    folder = multi_vector(tmp_path, expansion=FIXED)
    ours = reranker(folder, notices, engine=engine, max_length=12)
    scores = ours.score(PAIRS)
    assert ours.card.max_tokens == 12 < DOCUMENT_TOKENS
    lengths = {text: len(token_ids(folder, "[D] " + text)) for text in DOCUMENTS}
    assert scores.truncated.tolist() == [
        text != "" and (query == QUERIES[2] or lengths[text] > 12) for query, text in PAIRS
    ]
    assert scores.truncated.sum() >= len(DOCUMENTS)
    ours.score(PAIRS)
    assert [one for one in notices.said if "was truncated" in one] == [
        f"a query was truncated at the token limit of {folder}"
    ]


def token_ids(folder: Path, text: str) -> list[int]:
    from transformers import AutoTokenizer

    ids: list[int] = AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    return ids


@pytest.mark.parametrize("name", ["ours", "pylate"])
def test_a_long_text_is_read_whole_in_windows(tmp_path: Path, name: str) -> None:
    folder = (pylate if name == "pylate" else multi_vector)(tmp_path)
    files = find_reranker(str(folder), offline=True, reporter=Silence())
    text = " ".join(f"{TEXTS[at % 3]} {at}" for at in range(40))
    plain = reranker(folder)
    scores = with_long_texts(plain, files, "max", Silence()).score(
        [("ferry", text), ("ferry", TEXTS[0])]
    )
    short = plain.score([("ferry", text), ("ferry", TEXTS[0])])
    assert not scores.truncated.any()
    assert short.truncated.tolist() == [True, False]
    assert scores.values[0] > short.values[0]
    assert scores.values[1] == short.values[1]


CODE = """
from pathlib import Path
from transformers import BertConfig, BertModel
Path(__file__).with_name("ran").touch()
class OddConfig(BertConfig):
    model_type = "odd"
class OddModel(BertModel):
    config_class = OddConfig
"""


def test_code_that_comes_with_a_model_runs_only_where_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "m"))
    folder = multi_vector(tmp_path)
    wanted = expected(folder)
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "odd.OddConfig", "AutoModel": "odd.OddModel"}
    odd = {**config, "model_type": "odd", "architectures": ["OddModel"], "auto_map": names}
    (folder / "config.json").write_text(json.dumps(odd))
    (folder / "odd.py").write_text(CODE)
    with pytest.raises(ModelError) as refused:
        reranker(folder)
    assert hint_of(refused.value) == "if you trust it: --trust-remote-code"
    assert not list(tmp_path.rglob("ran"))
    ours = reranker(folder, trust_remote_code=True)
    assert ours.score(PAIRS).values == pytest.approx(wanted, abs=1e-4)
    assert list(tmp_path.rglob("ran"))


def test_a_mask_without_its_settings_is_refused(tmp_path: Path) -> None:
    folder = multi_vector(tmp_path, skipped=True)
    [mask] = folder.glob("*_MultiVectorMask")
    (mask / "config.json").unlink()
    with pytest.raises(ModelError, match="lacks 2_MultiVectorMask/config.json"):
        reranker(folder)


@pytest.mark.hub
def test_the_published_model_of_liquid_ai_finds_the_ferry() -> None:
    files = find_reranker("LiquidAI/LFM2.5-ColBERT-350M", offline=False, reporter=Silence())
    ours = load_reranker(files, EngineSettings("cpu", trust_remote_code=True), Silence())
    values = ours.score([("When does the ferry sail?", text) for text in TEXTS]).values
    assert values.argmax() == 0
