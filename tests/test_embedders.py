"""The embedders known by name: each architecture matches its reference implementation."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.base.modules.normalize import Normalize
from sentence_transformers.base.modules.transformer import Transformer
from sentence_transformers.sentence_transformer.modules.pooling import Pooling
from sentence_transformers.sentence_transformer.modules.static_embedding import StaticEmbedding
from transformers import (
    BertConfig,
    BertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    Lfm2Config,
    Lfm2Model,
    NomicBertConfig,
    NomicBertModel,
    PreTrainedModel,
    Qwen3Config,
    Qwen3Model,
)

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import ModelError
from ettin_cli.models import hub, model_folder
from ettin_cli.models.embedders import find_embedder, load_embedder, read_card
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.tokens import NO_LIMIT
from ettin_cli.records import Embedder, Silence
from ettin_cli.settings import EMBEDDERS, MINILM_ID
from tests.conftest import Ettin
from tests.models import TEXTS, tokenizer

VARIED = [
    *TEXTS,
    "",
    " leading and trailing blanks ",
    "ÜBER naïve café — 日本語 🙂",
    "line\nbreaks\tand tabs",
    " ".join(TEXTS) * 3,
]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
}
IDS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GROUPED: dict[str, Any] = {**SIZES, **IDS, "num_key_value_heads": 2, "head_dim": 8}


def bert(vocab: int) -> PreTrainedModel:
    return BertModel(BertConfig(vocab_size=vocab, **SIZES))


def nomic_bert(vocab: int) -> PreTrainedModel:
    return NomicBertModel(NomicBertConfig(vocab_size=vocab, **SIZES))


def embedding_gemma(vocab: int) -> PreTrainedModel:
    """Both implementations, with windows shorter than the texts and a global layer."""
    kinds = ["sliding_attention", "sliding_attention", "full_attention"]
    both: dict[str, Any] = {
        "use_bidirectional_attention": True,
        "sliding_window": 16,
        "layer_types": kinds,
    }
    return Gemma3TextModel(Gemma3TextConfig(vocab_size=vocab, **both, **GROUPED))


def qwen3(vocab: int) -> PreTrainedModel:
    return Qwen3Model(Qwen3Config(vocab_size=vocab, **GROUPED))


def lfm2(vocab: int) -> PreTrainedModel:
    kinds = ["conv", "full_attention", "conv"]
    sizes = {name: value for name, value in GROUPED.items() if name != "head_dim"}
    return Lfm2Model(Lfm2Config(vocab_size=vocab, layer_types=kinds, **sizes))


def built(
    folder: Path,
    alias: str,
    trunk: Callable[[int], PreTrainedModel],
    pooling: str,
    *,
    side: str = "right",
    template: str = "[CLS] $A [SEP]",
    inner: int = 0,
) -> Path:
    """Save a small copy of an embedder, with random weights and the published prompts."""
    torch.manual_seed(3)
    size = tokenizer(folder / "trunk", side=side, template=template)
    trunk(size).save_pretrained(folder / "trunk")
    modules = [Transformer(str(folder / "trunk"), max_seq_length=64), Pooling(32, pooling)]
    if inner:
        identity = torch.nn.Identity()
        modules += [Dense(32, inner, bias=False, activation_function=identity)]
        modules += [Dense(inner, 32, bias=False, activation_function=identity)]
    model = EMBEDDERS[alias]
    prompts = {"query": model.query_prompt, "document": model.document_prompt}
    whole = SentenceTransformer(modules=[*modules, Normalize()], prompts=prompts, device="cpu")
    whole.save(str(folder / "whole"))
    return folder / "whole"


def found(folder: Path) -> hub.ModelFiles:
    return find_embedder(str(folder), offline=True, reporter=Silence())


def loaded(folder: Path, **settings: Any) -> Embedder:
    return load_embedder(found(folder), EngineSettings("cpu", **settings), Silence())


def reference(folder: Path, **options: Any) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True, **options)


def assert_same(ours: Embedder, theirs: SentenceTransformer, within: float = 1e-5) -> None:
    for mine, yours in (
        (ours.embed_queries(VARIED), theirs.encode_query(VARIED, normalize_embeddings=True)),
        (ours.embed_documents(VARIED), theirs.encode_document(VARIED, normalize_embeddings=True)),
    ):
        assert mine == pytest.approx(yours, abs=within)
    # They differ enough for the comparison to be meaningful.
    assert np.ptp(mine @ mine.T) > 1e-2


@pytest.mark.parametrize(
    ("alias", "trunk", "pooling", "options", "engine"),
    [
        ("minilm", bert, "mean", {}, "onnxruntime"),
        ("bge-small", bert, "cls", {}, "onnxruntime"),
        ("nomic", nomic_bert, "mean", {}, "torch"),
        (
            "embeddinggemma",
            embedding_gemma,
            "mean",
            {"inner": 96},
            "torch",
        ),
        (
            "embeddinggemma",
            embedding_gemma,
            "mean",
            {"inner": 96, "side": "left"},
            "torch",
        ),
        ("jina-v5-small", qwen3, "lasttoken", {"template": "$A [SEP]", "side": "left"}, "torch"),
        ("jina-v5-small", qwen3, "lasttoken", {"template": "$A [SEP]"}, "torch"),
        ("lfm2-embedding", lfm2, "mean", {"template": "[CLS] $A"}, "torch"),
        ("lfm2-embedding", lfm2, "mean", {"template": "[CLS] $A", "side": "left"}, "torch"),
    ],
)
def test_a_small_copy_of_each_architecture_embeds_as_its_reference_code(
    tmp_path: Path,
    alias: str,
    trunk: Callable[[int], PreTrainedModel],
    pooling: str,
    options: dict[str, Any],
    engine: str,
) -> None:
    folder = built(tmp_path, alias, trunk, pooling, **options)
    ours, theirs = loaded(folder), reference(folder)
    assert ours.backend.startswith(engine)
    assert ours.card.query_prompt == EMBEDDERS[alias].query_prompt
    assert ours.card.document_prompt == EMBEDDERS[alias].document_prompt
    assert_same(ours, theirs)
    if ours.card.query_prompt:
        assert not np.allclose(ours.embed_queries(TEXTS), ours.embed_documents(TEXTS), atol=1e-3)


# Static embedders


def static(folder: Path, *, cut: int | None = None, dtype: torch.dtype = torch.float32) -> Path:
    """Save a static embedder, as sentence-transformers does."""
    from tokenizers import Tokenizer

    torch.manual_seed(4)
    size = tokenizer(folder / "words")
    words = Tokenizer.from_file(str(folder / "words" / "tokenizer.json"))
    if cut:
        words.enable_truncation(cut)
    table = torch.randn(size, 24).to(dtype)
    whole = SentenceTransformer(
        modules=[StaticEmbedding(words, embedding_weights=table), Normalize()],
        prompts={"query": "seek: "},
        device="cpu",
    )
    whole.save(str(folder / "whole"))
    return folder / "whole"


@pytest.mark.parametrize("cut", [None, 12])
def test_a_static_embedder_gives_the_vectors_of_sentence_transformers(
    tmp_path: Path, cut: int | None
) -> None:
    folder = static(tmp_path, cut=cut)
    ours = loaded(folder)
    assert (ours.backend, ours.card.dimension) == ("numpy cpu float32", 24)
    assert ours.card.max_tokens == cut or (cut is None and ours.card.max_tokens > 100_000)
    assert_same(ours, reference(folder), within=1e-6)
    assert ours.embed_documents([]).shape == (0, 24)
    assert not ours.embed_documents([""]).any()


def test_a_static_embedder_in_a_folder_of_its_own_and_in_half_precision_is_the_same(
    tmp_path: Path,
) -> None:
    folder = static(tmp_path, dtype=torch.float16)
    part = folder / "0_StaticEmbedding"
    part.mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).rename(part / name)
    kinds = [("0_StaticEmbedding", "StaticEmbedding"), ("1_Normalize", "Normalize")]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    expected = reference(folder).encode_document(TEXTS, normalize_embeddings=True)
    assert loaded(folder).embed_documents(TEXTS) == pytest.approx(expected, abs=1e-3)


def test_an_index_by_a_static_embedder_reads_whole_texts(
    tmp_path: Path, ettin: Ettin, docs: Path
) -> None:
    folder = static(tmp_path)
    long = " ".join(TEXTS * 200)
    (docs / "long.txt").write_text(long)
    made = ettin("index", "docs", "--embedder", str(folder), "--chunk-size", "none")
    assert made.code == 0
    assert "4 passages embedded" in made.err
    assert "longer than" not in made.err
    ran = ettin("search", "ferry", "-r", "none", "--retriever", "dense", "-f", "json")
    scores = {hit["doc_id"]: hit["score"] for hit in json.loads(ran.out)["hits"]}
    theirs = reference(folder)
    query = theirs.encode_query(["ferry"], normalize_embeddings=True)
    text = theirs.encode_document([f"long {long}"], normalize_embeddings=True)
    assert scores["long.txt"] == pytest.approx((query @ text.T).item(), abs=1e-4)


def test_a_static_embedder_needs_no_torch(tmp_path: Path) -> None:
    folder = static(tmp_path)
    code = (
        "import sys\n"
        "from ettin_cli.models.embedders import find_embedder, load_embedder\n"
        "from ettin_cli.models.engines import EngineSettings\n"
        "from ettin_cli.records import Silence\n"
        "files = find_embedder(sys.argv[1], offline=True, reporter=Silence())\n"
        "load_embedder(files, EngineSettings(), Silence()).embed_queries(['ferry'])\n"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["False", "False"]


def test_a_static_text_is_cut_where_the_user_says(tmp_path: Path) -> None:
    folder = static(tmp_path)
    cut = load_embedder(found(folder), EngineSettings("cpu", max_length=9), Silence())
    theirs: Any = reference(folder)
    theirs[0].tokenizer.enable_truncation(9)
    assert cut.embed_documents(VARIED) == pytest.approx(
        theirs.encode_document(VARIED, normalize_embeddings=True), abs=1e-6
    )


def test_static_vectors_that_are_no_plain_table_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = static(tmp_path)
    odd = {"embeddings": torch.randn(4, 8), "mapping": torch.zeros(300, dtype=torch.int64)}
    save_file(odd, folder / "model.safetensors")
    with pytest.raises(ModelError, match="not a plain table: embeddings, mapping"):
        read_card(found(folder))
    save_file({"embedding.weight": torch.randn(4, 8)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="but the model has only 4"):
        loaded(folder).embed_documents(TEXTS)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights"):
        found(folder)


# Custom code

OWN = """
from transformers import BertModel

class {name}(BertModel):
    def forward(self, *arguments, **named):
        output = super().forward(*arguments, **named)
        output.last_hidden_state = -output.last_hidden_state
        return output
"""


@pytest.fixture
def own(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that makes a model with custom code, which inverts signs."""

    def make(name: str) -> Path:
        folder = built(tmp_path / name, "minilm", bert, "mean")
        (folder / "modeling_own.py").write_text(OWN.format(name=name))
        config = json.loads((folder / "config.json").read_text())
        config["auto_map"] = {"AutoModel": f"modeling_own.{name}"}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def test_code_of_its_own_runs_with_trust_alone(
    own: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    folder = own("OwnModel")
    with pytest.raises(
        ModelError, match=r"needs modeling_own\.OwnModel, which is custom code"
    ) as caught:
        loaded(folder)
    assert hint_of(caught.value) == "if you trust it: --trust-remote-code"
    trusted = loaded(folder, trust_remote_code=True)
    assert trusted.backend.startswith("torch")
    assert_same(trusted, reference(folder, trust_remote_code=True))
    plain = built(tmp_path / "plain", "minilm", bert, "mean")
    expected = loaded(plain).embed_documents(TEXTS)
    assert trusted.embed_documents(TEXTS) == pytest.approx(-expected, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "named", "refused"),
    [
        ("nomic_bert", "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel", False),
        ("lfm2", "modeling_lfm2_bidirectional.Lfm2BidirectionalModel", True),
        ("lfm2", "modeling_lfm2_bidirectional.Lfm2Model", False),
        ("nobodys", "modeling_nobodys.NomicBertModel", True),
        (None, "modeling_nobodys.None", True),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
def test_a_class_that_transformers_does_not_have_by_its_name_is_code_from_elsewhere(
    tmp_path: Path, kind: str | None, named: str, refused: bool, listed: bool
) -> None:
    config = {"model_type": kind, "auto_map": {"AutoConfig": "x.Y", "AutoModel": named}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    if listed:
        modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
        (tmp_path / "modules.json").write_text(json.dumps(modules))
    if refused:
        with pytest.raises(ModelError, match=f"needs {named}, which is custom code"):
            model_folder.refuse_code(tmp_path)
    else:
        model_folder.refuse_code(tmp_path)


def test_code_that_transformers_has_taken_in_is_not_run(own: Callable[[str], Path]) -> None:
    folder = own("BertModel")
    plain = loaded(folder)
    assert plain.backend.startswith("torch")
    assert_same(plain, reference(folder))


def test_an_embedder_with_code_of_its_own_is_refused_before_anything_is_read(
    own: Callable[[str], Path], ettin: Ettin, docs: Path
) -> None:
    folder = own("OwnModel")
    ran = ettin("index", "docs", "--embedder", str(folder))
    assert (ran.code, ran.out) == (1, "")
    assert "modeling_own.OwnModel, which is custom code" in ran.err
    assert "--trust-remote-code" in ran.err


# The table


def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alias: str, folder: Path) -> None:
    """Let a folder stand in for an alias on the hub."""
    model = EMBEDDERS[alias]
    here = {model.alias: folder, model.hub_id: folder}
    monkeypatch.setattr(hub, "cached_folder", here.get)


def prompted(folder: Path, prompts: dict[str, str]) -> None:
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))


def test_published_prompts_stand_in_where_a_models_own_files_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = built(tmp_path, "bge-small", bert, "cls")
    cached(tmp_path, monkeypatch, "bge-small", folder)

    def prompts(name: str) -> tuple[str, str]:
        card = read_card(find_embedder(name, offline=True, reporter=Silence()))
        return card.query_prompt, card.document_prompt

    published = "Represent this sentence for searching relevant passages: ", ""
    prompted(folder, {})
    assert prompts("bge-small") == prompts("BAAI/bge-small-en-v1.5") == published
    assert prompts(str(folder)) == ("", "")
    prompted(folder, {"query": "", "document": ""})
    assert prompts("bge-small") == published
    prompted(folder, {"document": "own: "})
    assert prompts("bge-small") == ("", "own: ")


def test_an_alias_is_a_hub_id_at_its_revision(tmp_path: Path) -> None:
    for model in EMBEDDERS.values():
        assert hub.hub_name(model.alias) == hub.hub_name(model.hub_id)
        assert hub.hub_name(model.alias) == (model.hub_id, model.revision)
        assert not model.matryoshka or model.matryoshka[0] == model.dimension
    assert find_embedder("minilm", offline=True, reporter=Silence()).name == hub.EMBEDDED
    assert EMBEDDERS["minilm"].hub_id == MINILM_ID


def test_a_static_embedder_in_the_cache_is_found_without_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = EMBEDDERS["static-mrl"]
    whole = static(tmp_path)
    (whole / "config.json").unlink(missing_ok=True)
    repository = tmp_path / "hub" / f"models--{model.hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / str(model.revision)
    snapshot.parent.mkdir(parents=True)
    whole.rename(snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    files = find_embedder("static-mrl", offline=True, reporter=Silence())
    assert (files.name, files.folder) == (model.hub_id, snapshot)


PUBLISHED: Sequence[tuple[str, list[float]]] = (
    ("static-mrl", [0.27474, 0.72625, 0.61197, 0.65317]),
    ("minilm", [0.46371, 0.81205, 0.72828, 0.75051]),
    ("bge-small", [0.60191, 0.82845, 0.7786, 0.70781]),
    ("nomic", [0.65182, 0.88804, 0.79979, 0.81292]),
    ("embeddinggemma", [0.30141, 0.63614, 0.4938, 0.48726]),
    ("jina-v5-small", [0.486, 0.76114, 0.5914, 0.6188]),
)
PLANET = "Which planet is known as the Red Planet?"
PLANETS = [
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
]


def test_the_packaged_weights_give_the_similarities_that_are_published() -> None:
    ours = load_embedder(found(Path(hub.EMBEDDED)), EngineSettings("cpu"), Silence())
    query = ours.embed_queries([PLANET])
    assert (query @ ours.embed_documents(PLANETS).T)[0] == pytest.approx(
        dict(PUBLISHED)["minilm"], rel=0.01
    )


def test_the_table_has_the_published_scores_of_retrieval_alone() -> None:
    facts = Path(__file__).parents[1].parent / "shared" / "facts" / "ettin-models.json"
    if not facts.is_file():
        pytest.skip("the published figures are not at hand")
    released = json.loads(facts.read_text())["embedders_in_the_release"]
    assert {one["id"]: one["retriever_only_ndcg10"] for one in released} == {
        model.hub_id: model.ndcg10 for model in EMBEDDERS.values() if model.ndcg10
    }


def from_hub(alias: str) -> hub.ModelFiles:
    return find_embedder(EMBEDDERS[alias].hub_id, offline=False, reporter=Silence())


def own_prompts(files: hub.ModelFiles) -> dict[str, str]:
    path = files.folder / "config_sentence_transformers.json"
    return json.loads(path.read_text()).get("prompts") or {}


@pytest.mark.hub
@pytest.mark.parametrize(("alias", "similarities"), PUBLISHED)
def test_an_embedder_from_the_hub_gives_the_similarities_that_are_published(
    alias: str, similarities: list[float]
) -> None:
    """As in sentence-transformers' tests, with only the prompts of the model's files."""
    files = from_hub(alias)
    own = {name: prompt for name, prompt in own_prompts(files).items() if prompt}
    card = replace(
        read_card(files),
        query_prompt=own.get("query", ""),
        document_prompt=own.get("document", ""),
    )
    ours = load_embedder(files, EngineSettings("cpu"), Silence(), card)
    query = ours.embed_queries([PLANET])
    assert (query @ ours.embed_documents(PLANETS).T)[0] == pytest.approx(similarities, rel=0.02)


@pytest.mark.hub
@pytest.mark.parametrize("alias", list(EMBEDDERS))
def test_an_embedder_from_the_hub_embeds_as_its_reference_code(alias: str) -> None:
    model, files = EMBEDDERS[alias], from_hub(alias)
    settings = EngineSettings("cpu", trust_remote_code=model.own_code)
    ours = load_embedder(files, settings, Silence())
    theirs = reference(files.folder, trust_remote_code=model.own_code)
    for mine, prompt in (
        (ours.embed_queries(VARIED), model.query_prompt),
        (ours.embed_documents(VARIED), model.document_prompt),
    ):
        expected = theirs.encode(VARIED, prompt=prompt, normalize_embeddings=True)
        assert mine == pytest.approx(expected, abs=1e-4)


@pytest.mark.hub
@pytest.mark.parametrize("alias", list(EMBEDDERS))
def test_the_table_says_what_the_hub_says(alias: str) -> None:
    from huggingface_hub import HfApi

    model, files = EMBEDDERS[alias], from_hub(alias)
    card, own = read_card(files), own_prompts(files)
    assert (card.dimension, card.max_tokens) == (model.dimension, model.max_tokens or NO_LIMIT)
    if own.get("query"):
        assert own["query"] == model.query_prompt
        assert own.get("document", "") == model.document_prompt
    info = HfApi().model_info(model.hub_id, revision=model.revision)
    licence = str(info.card_data and info.card_data.license)
    assert licence in (model.licence.replace(" ", "-").lower(), "gemma", "other")
    if model.own_code:
        with pytest.raises(ModelError, match="trust|code"):
            load_embedder(files, EngineSettings("cpu"), Silence())
