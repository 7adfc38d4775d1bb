"""The figures of public collections are those of sentence-transformers' evaluators."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ettin_cli.collections import NANOBEIR, NANOBEIR_REPOSITORY, family
from ettin_cli.models import embedded_folder
from tests.conftest import Ettin
from tests.dataset_repositories import nanobeir
from tests.hub_server import Hub, Repository
from tests.models import ettin as ettin_model

FILES = nanobeir()


def rows_of(subset: str, split: str) -> list[dict[str, Any]]:
    content = FILES[f"{subset}/{split}-00000-of-00001.parquet"]
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
    return rows


class Rows(list[dict[str, Any]]):
    """What the evaluator uses of a data set."""

    def __getitem__(self, name: Any) -> Any:
        return [row[name] for row in self]

    def map(self, function: Callable[..., dict[str, Any]], fn_kwargs: Mapping[str, Any]) -> "Rows":
        return Rows(row | function(row, **fn_kwargs) for row in self)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parity") / "reranker"
    folder.mkdir()
    return ettin_model(folder, hidden=64, layers=2, heads=2)


@pytest.fixture
def run(ettin: Ettin, tmp_path: Path) -> Iterator[Ettin]:
    with Hub({f"datasets/{NANOBEIR_REPOSITORY}": Repository(FILES)}) as hub:
        hub.serve(ettin.monkeypatch, tmp_path)
        yield ettin


def test_rerankers_have_the_figures_of_the_nanobeir_evaluator(
    run: Ettin, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderNanoBEIREvaluator

    monkeypatch.setattr(
        CrossEncoderNanoBEIREvaluator,
        "_load_dataset_subset_split",
        lambda _, subset, split, required_columns: Rows(rows_of(subset, split)),
    )
    every = [one.split.removeprefix("Nano").lower() for one in family(NANOBEIR)]
    reranker = CrossEncoder(str(model), device="cpu")
    expected = CrossEncoderNanoBEIREvaluator(every, write_csv=False)(reranker)
    usual = CrossEncoderNanoBEIREvaluator(write_csv=False)
    assert usual.primary_metric == "ndcg@10"
    of_11 = usual(reranker)["NanoBEIR_R100_mean_ndcg@10"]

    done = run("eval", "nanobeir", "-r", str(model), "--device", "cpu")
    assert done.code == 0, done.err
    found = {
        (row["collection"], row["reranker"] != "none"): row
        for row in map(json.loads, done.out.splitlines())
    }
    names = {"ndcg@10": "nDCG@10", "mrr@10": "RR@10", "map": "AP"}
    compared = 0
    for one in family(NANOBEIR):
        for prefix, reranked in (("base_", False), ("", True)):
            for theirs, ours in names.items():
                value = expected[f"{one.split}_R100_{prefix}{theirs}"]
                assert found[one.name, reranked][ours] == pytest.approx(value, abs=1e-6)
                compared += 0 < value < 1
    assert compared > 50
    for theirs, ours in names.items():
        value = expected[f"NanoBEIR_R100_mean_{theirs}"]
        assert found["mean of 13", True][ours] == pytest.approx(value, abs=1e-6)
    assert found["mean of 11", True]["nDCG@10"] == pytest.approx(of_11, abs=1e-6)


def test_the_weights_are_chosen_by_the_figure_that_chose_those_of_the_release(
    run: Ettin, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderNanoBEIREvaluator

    monkeypatch.setattr(
        CrossEncoderNanoBEIREvaluator,
        "_load_dataset_subset_split",
        lambda _, subset, split, required_columns: Rows(rows_of(subset, split)),
    )
    every = [one.split.removeprefix("Nano").lower() for one in family(NANOBEIR)]
    evaluator = CrossEncoderNanoBEIREvaluator(every, write_csv=False, always_rerank_positives=False)
    expected = evaluator(CrossEncoder(str(model), device="cpu"))
    (tmp_path / "data.jsonl").write_text('{"query": "a", "document": "b", "score": 1.5}\n')
    words = ("train", "data.jsonl", "--base", str(model), "-o", "student", "--device", "cpu")
    done = run(*words, "--eval", "nanobeir", "--steps", "1")
    assert done.code == 0, done.err
    first, *_ = map(json.loads, (tmp_path / "student" / "metrics.jsonl").read_text().splitlines())
    value = expected["NanoBEIR_R100_mean_ndcg@10"]
    assert 0 < value < 1
    assert first["nDCG@10"] == pytest.approx(value, abs=1e-6)


def test_retrieval_has_the_figures_of_the_information_retrieval_evaluator(run: Ettin) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    relevant: dict[str, set[str]] = {}
    for row in rows_of("qrels", "NanoSciFact"):
        relevant.setdefault(row["query-id"], set()).add(row["corpus-id"])
    queries, corpus = (
        {row["_id"]: row["text"] for row in rows_of(subset, "NanoSciFact")}
        for subset in ("queries", "corpus")
    )
    evaluator = InformationRetrievalEvaluator(
        queries, corpus, relevant, ndcg_at_k=[10], mrr_at_k=[10], map_at_k=[100], write_csv=False
    )
    expected = evaluator(SentenceTransformer(str(embedded_folder()), device="cpu"))

    metrics = "nDCG@10,RR@10,AP@100,R@10,P@5,Success@3"
    words = ("-c", "10", "-r", "none", "--retriever", "dense", "--metrics", metrics)
    done = run("eval", "nanobeir/scifact", *words)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    theirs = ("ndcg@10", "mrr@10", "map@100", "recall@10", "precision@5", "accuracy@3")
    for name, metric in zip(theirs, metrics.split(","), strict=True):
        assert found[metric] == pytest.approx(expected[f"cosine_{name}"], abs=1e-6)
