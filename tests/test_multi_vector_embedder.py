"""Multi-vector models as embedders: token vectors, their means, and indexes of those."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.reader import Index
from ettin_cli.models.embedders import find_embedder, load_embedder, query_limit, read_card
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.multi_vector.embedder import MultiVectorEmbedder
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker
from ettin_cli.records import Silence
from ettin_cli.runtime import Loaded
from tests.conftest import Ettin
from tests.indexes import Notices
from tests.models import TEXTS, embedder, ettin as ettin_model
from tests.multi_vectors import DIMENSION, DOCUMENT_TOKENS, multi_vector, pylate, stanford

QUERIES = ["When does the ferry sail?", "dough", "Who, where?! and " * 12]
DOCUMENTS = [*TEXTS, TEXTS[0] * 9, "a, b. (c)!"]
FIXED = {"strategy": "fixed", "length": 32}
INDEX = Path(".ettin")
KINDS: dict[str, Callable[[Path], Path]] = {
    "bert": multi_vector,
    "skipping": lambda path: multi_vector(path, skipped=True),
    "modernbert, filled": lambda path: multi_vector(path, "modernbert", expansion=FIXED),
    "lfm2, filled": lambda path: multi_vector(path, "lfm2", expansion={**FIXED, "attend": True}),
    "pylate": pylate,
    "stanford": stanford,
}


def loaded(folder: Path, reporter: Any = None, **settings: Any) -> MultiVectorEmbedder:
    files = find_embedder(str(folder), offline=True, reporter=Silence())
    ours = load_embedder(files, EngineSettings("cpu", **settings), reporter or Silence())
    assert isinstance(ours, MultiVectorEmbedder)
    return ours


def reference(folder: Path, texts: list[str], *, queries: bool = False) -> list[Any]:
    """Return sentence-transformers' token vectors of each text."""
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(folder), device="cpu")
    encode = model.encode_query if queries else model.encode_document
    vectors = encode(texts)
    return [one.numpy() if hasattr(one, "numpy") else np.asarray(one) for one in vectors]


def means(tokens: list[Any]) -> Any:
    """Return the unit mean of each text's token vectors."""
    pooled = np.stack([one.mean(axis=0) for one in tokens])
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


@pytest.mark.parametrize("name", KINDS)
def test_vectors_are_unit_means_of_the_token_vectors(tmp_path: Path, name: str) -> None:
    folder = KINDS[name](tmp_path)
    texts, queries = reference(folder, DOCUMENTS), reference(folder, QUERIES, queries=True)
    for engine in ("auto", "torch"):
        ours, tokens, done = loaded(folder, engine=engine), dict[int, Any](), list[int]()
        pooled, cut = ours.embed_tokens(DOCUMENTS, tokens.__setitem__, done.append)
        assert cut.sum() <= 1
        assert (ours.embed_documents(DOCUMENTS) == pooled).all()
        assert pooled == pytest.approx(means(texts), abs=1e-4)
        assert sum(done) == len(DOCUMENTS)
        assert sorted(tokens) == list(range(len(DOCUMENTS)))
        for at, wanted in enumerate(texts):
            assert tokens[at].vectors == pytest.approx(wanted, abs=1e-4)
        assert ours.embed_queries(QUERIES) == pytest.approx(means(queries), abs=1e-4)
        for query, wanted in zip(ours.query_tokens(QUERIES), queries, strict=True):
            assert query.tokens == pytest.approx(wanted, abs=1e-4)
            assert query.weights.tolist() == [1.0] * len(wanted)


def test_a_query_that_is_divided_by_its_tokens_has_weights_that_sum_to_one(tmp_path: Path) -> None:
    [query] = loaded(multi_vector(tmp_path, similarity="meanmaxsim")).query_tokens(QUERIES[:1])
    assert query.weights == pytest.approx(np.full(len(query.tokens), 1 / len(query.tokens)))


def test_nothing_gives_nothing(tmp_path: Path) -> None:
    ours = loaded(multi_vector(tmp_path))
    assert ours.embed_documents([]).shape == ours.embed_queries([]).shape == (0, DIMENSION)
    assert ours.query_tokens([]) == []
    assert ours.cut([]) == 0


def test_a_text_of_which_no_token_is_compared_has_a_vector_of_zeros(tmp_path: Path) -> None:
    ours, shapes = loaded(multi_vector(tmp_path, keep_only_token_ids=[4])), list[Any]()
    pooled, _ = ours.embed_tokens(TEXTS, lambda _, text: shapes.append(text.vectors.shape))
    assert not pooled.any()
    assert shapes == [(0, DIMENSION)] * len(TEXTS)


@pytest.mark.parametrize(
    ("make", "prompts", "query_tokens"),
    [
        (multi_vector, ("[Q] ", "[D] "), 512),
        (lambda path: multi_vector(path, expansion=FIXED), ("[Q] ", "[D] "), 32),
        (pylate, ("[Q] ", "[D] "), 32),
        (stanford, ("ferry ", "the "), 32),
    ],
    ids=["bert", "filled", "pylate", "stanford"],
)
def test_the_card_has_what_the_model_reads(
    tmp_path: Path, make: Callable[[Path], Path], prompts: tuple[str, str], query_tokens: int
) -> None:
    files = find_embedder(str(make(tmp_path)), offline=True, reporter=Silence())
    card = read_card(files)
    assert (card.dimension, card.max_tokens) == (DIMENSION, DOCUMENT_TOKENS)
    assert (card.query_prompt, card.document_prompt) == prompts
    assert read_card(files, 12).max_tokens == 12
    assert read_card(files, 9999).max_tokens == DOCUMENT_TOKENS
    assert query_limit(files, card) == query_tokens
    assert read_card(files, dimensions=DIMENSION) == card


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_queries_that_are_cut_are_counted_with_the_limit_of_queries(
    tmp_path: Path, engine: str
) -> None:
    folder, notices = multi_vector(tmp_path, expansion=FIXED), Notices()
    ours = loaded(folder, notices, engine=engine)
    assert ours.cut(QUERIES) == 1
    assert notices.said == []
    said = f"1 query truncated at the embedder's token limit ({folder}: 32 tokens)"
    ours.embed_queries(QUERIES)
    assert notices.said == [said]
    ours.embed_documents([DOCUMENTS[3]])
    assert notices.said == [said]


def test_an_embedder_and_a_reranker_share_one_model(tmp_path: Path) -> None:
    folder, shared = multi_vector(tmp_path), Loaded()
    files = find_embedder(str(folder), offline=True, reporter=Silence())
    settings = EngineSettings("cpu")
    ours: Any = load_embedder(files, settings, Silence(), loaded=shared)
    found = find_reranker(str(folder), offline=True, reporter=Silence())
    theirs: Any = load_reranker(found, settings, Silence(), shared)
    assert ours.encoder is theirs.encoder


# Indexes


@pytest.mark.parametrize("name", ["bert", "modernbert, filled", "stanford"])
def test_an_index_is_searched_by_the_means(
    ettin: Ettin, docs: Path, tmp_path: Path, name: str
) -> None:
    folder = KINDS[name](tmp_path)
    made = ettin("index", "docs", "--embedder", str(folder), "--factory", "Flat")
    assert made.code == 0
    assert f"vectors    {DIMENSION} dimensions" in ettin("info").out
    with Index(INDEX) as index:
        stored = means(reference(folder, list(index.passages.contents(range(3)))))
        assert np.asarray(index.vectors) == pytest.approx(stored, abs=1e-3)
    [query] = means(reference(folder, ["the ferry"], queries=True))
    words = ["the ferry", "-r", "none", "-f", "json"]
    ran = ettin("search", *words, "--retriever", "dense")
    scores = [hit["score"] for hit in json.loads(ran.out)["hits"]]
    assert scores == pytest.approx(sorted(stored @ query, reverse=True), abs=1e-3)
    hybrid = json.loads(ettin("search", *words).out)
    assert hybrid["retriever"] == "hybrid"
    assert {hit["passage_id"] for hit in hybrid["hits"]} == {0, 1, 2}
    assert ettin("search", "the ferry", "-r", str(folder)).code == 0

    (docs / "new.txt").write_text("A new timetable.\n")
    assert "1 passage embedded, 3 kept" in ettin("index").err
    assert ettin("verify").code == 0


@pytest.mark.parametrize(
    ("dimensions", "said"),
    [
        ("8", "is a multi-vector model: its 16 dimensions cannot be reduced"),
        ("17", "have 16 dimensions, so 17 cannot be kept"),
    ],
)
def test_other_dimensions_than_the_models_are_refused(
    ettin: Ettin, docs: Path, tmp_path: Path, dimensions: str, said: str
) -> None:
    folder = multi_vector(tmp_path)
    ran = ettin("index", "docs", "--embedder", str(folder), "--dimensions", dimensions)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "hint: --dimensions 16\n" in ran.err
    assert not INDEX.exists() or not list(INDEX.glob("generations/*"))
    made = ettin("index", "docs", "--embedder", str(folder), "--dimensions", "16")
    assert made.code == 0
    assert read_manifest(INDEX).embedder.dimension == 16


def test_a_reranker_that_is_no_multi_vector_model_is_refused(
    ettin: Ettin, docs: Path, tmp_path: Path
) -> None:
    pairs = ettin_model(tmp_path / "pairs", hidden=32, layers=1, heads=2)
    ran = ettin("index", "docs", "--embedder", str(pairs))
    assert ran.code == 1
    assert f"{pairs} is a reranker, not an embedder" in ran.err


def test_a_model_whose_vectors_are_not_as_its_files_say_is_refused(
    ettin: Ettin, docs: Path, tmp_path: Path
) -> None:
    folder = multi_vector(tmp_path)
    [dense] = folder.glob("*_Dense")
    config = json.loads((dense / "config.json").read_text())
    (dense / "config.json").write_text(json.dumps({**config, "out_features": 8}))
    ran = ettin("index", "docs", "--embedder", str(folder))
    assert ran.code == 1
    assert ran.err.count("error: ") == 1
    assert "Traceback" not in ran.err


def test_another_models_token_vectors_are_not_searched(
    ettin: Ettin, docs: Path, tmp_path: Path
) -> None:
    ettin("index", "docs", "--embedder", str(multi_vector(tmp_path / "one")))
    ran = ettin("index", "--embedder", str(embedder(tmp_path / "two")))
    assert ran.code == 1
    assert "was built with embedder" in ran.err


def test_shards_have_the_clusters_of_the_whole(ettin: Ettin, tmp_path: Path) -> None:
    model = pylate(tmp_path / "model")
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in zip("abcdefgh", [*TEXTS, *TEXTS[:3]], strict=False):
        (docs / f"{name}.txt").write_text(text or "nothing")
    words = ("--embedder", str(model), "--factory", "SQ8")
    assert ettin("index", str(docs), "-i", "whole", *words).code == 0
    assert ettin("index", str(docs), "-i", "parted", "--shards", "3", *words).code == 0
    [centroids] = (tmp_path / "whole").rglob("tokens.centroids")
    parts = list((tmp_path / "parted").rglob("tokens.centroids"))
    assert len(parts) == 3
    assert {part.read_bytes() for part in parts} == {centroids.read_bytes()}
    assert ettin("verify", "-i", "parted").code == 0
    for retriever in ("multi-vector", "hybrid", "dense"):
        search = ("search", "nothing of it", "--retriever", retriever, "-r", "none", "-f", "csv")
        hits = {folder: ettin(*search, "-i", folder).out for folder in ("whole", "parted")}
        assert hits["whole"] == hits["parted"] != ""
    before = {path.name for path in (tmp_path / "parted" / "shards").iterdir()}
    (docs / "h.txt").write_text("Another text.")
    assert ettin("index", "-i", "parted").code == 0
    after = {path.name for path in (tmp_path / "parted" / "shards").iterdir()}
    assert len(before & after) == 2
    assert ettin("search", "another", "-i", "parted", "--retriever", "multi-vector").code == 0
