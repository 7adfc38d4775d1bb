"""A sweep measures what `ettin search` answers, and scores each pair once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ettin_cli.corpus import EVERYDAY_ANSWERS, sample_corpus
from ettin_cli.evaluation.metrics import parse_metrics
from ettin_cli.evaluation.outcome import Labelled, Outcome
from ettin_cli.evaluation.results import System
from ettin_cli.evaluation.sweep import Sweep, run_sweep
from ettin_cli.files.queries import read_queries
from ettin_cli.files.trec import read_qrels
from ettin_cli.files.writers.trec import trec_ranking
from ettin_cli.index.reader import Index
from ettin_cli.indexing.building import build_index
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.models.embedders import find_embedder, load_embedder
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.records import Advance, Qrels, Query, RerankerCard, Scores, Silence, no_progress
from ettin_cli.searching.answering import search
from ettin_cli.searching.cascade import Step
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.retrievers import DenseRetriever, Retrieved, Retriever, Search
from tests.fakes import OverlapReranker
from tests.indexes import Builder, WordEmbedder, jsonl

CORPUS = sample_corpus(EVERYDAY_ANSWERS)
QUERIES = list(read_queries(CORPUS / "queries.jsonl"))
QRELS = read_qrels(CORPUS / "qrels.tsv")
METRICS = parse_metrics("nDCG@10,RR@10,R@100")


class Timed(OverlapReranker):
    """Reports a thousand seconds per pair, so that no other time matters."""

    def timed(
        self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress
    ) -> tuple[Scores, NDArray[np.float32]]:
        return self.score(pairs, advance), np.full(len(pairs), 1000, np.float32)


class Backwards(Timed):
    """Prefers the texts that match least, and of these the shorter."""

    card = RerankerCard("backwards", "words", 1000)

    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        found = super().score(pairs, advance)
        lengths = np.array([len(text) for _, text in pairs], np.float32)
        return Scores(-found.values - lengths / np.float32(10_000), found.truncated)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("sweep") / "index"
    build_index(BuildRequest(folder, add=[str(CORPUS)]), Silence())
    return Index(folder)


@pytest.fixture(scope="module")
def retriever(index: Index) -> Retriever:
    files = find_embedder("embedded", offline=True, reporter=Silence())
    return DenseRetriever(index, load_embedder(files, EngineSettings(), Silence()))


def sweep(
    depths: Sequence[int], blends: Sequence[float] = (0.0,), reranker: Timed | None = None
) -> Sweep:
    rerankers = {"overlap": reranker or Timed()}
    return Sweep({}, rerankers, depths, blends, METRICS)


def judged_by(
    index: Index, retriever: Retriever, queries: Sequence[Query], qrels: Qrels, tried: Sweep
) -> Outcome:
    tried = replace(tried, retrievers={retriever.name: retriever})
    return run_sweep(index, queries, qrels, tried, Silence())


def run(
    index: Index, retriever: Retriever, tried: Sweep, queries: Sequence[Query] = QUERIES
) -> Outcome:
    return judged_by(index, retriever, queries, QRELS, tried)


def test_every_system_ranks_as_a_search_with_its_options_does(
    index: Index, retriever: Retriever
) -> None:
    outcome = run(index, retriever, sweep([5, 20], [0.0, 0.3]))
    assert [measured.system for measured in outcome.systems] == [
        System("overlap", depth, blend, "dense") for depth in (5, 20) for blend in (0.0, 0.3)
    ]
    for measured in outcome.systems:
        system = measured.system
        options = SearchOptions(100, system.candidates or 1, blend=system.blend)
        for answer in search(index, QUERIES, retriever, OverlapReranker(), options, Silence()):
            assert measured.run[answer.query.query_id] == trec_ranking(answer.hits)


def test_a_cascade_ranks_as_a_search_with_it_does(index: Index, retriever: Retriever) -> None:
    first, last = Timed(), Backwards()
    steps = {"both": [Step(first, 4)]}
    tried = Sweep({}, {"both": last}, [5, 20], [0.0, 0.3], METRICS, steps)
    outcome = run(index, retriever, tried)
    for measured in outcome.systems:
        system = measured.system
        options = SearchOptions(100, system.candidates or 1, blend=system.blend)
        before = [Step(first, 4)]
        for answer in search(index, QUERIES, retriever, last, options, Silence(), None, before):
            assert measured.run[answer.query.query_id] == trec_ranking(answer.hits)
            assert len(answer.hits) == 4
    base = outcome.baseline.seconds or 0.0
    extra = [(measured.seconds or 0) - base for measured in outcome.systems]
    assert extra == pytest.approx([9_000, 9_000, 24_000, 24_000], rel=0.01)
    assert outcome.scored == {"both": 24 * len(QUERIES)}


def test_a_cascade_that_keeps_everything_is_its_last_reranker(
    index: Index, retriever: Retriever
) -> None:
    for depths in ([20], []):
        steps = {"both": [Step(Timed(), 1000)]}
        both = run(
            index, retriever, Sweep({}, {"both": Backwards()}, depths, [0.0], METRICS, steps)
        )
        alone = run(index, retriever, Sweep({}, {"both": Backwards()}, depths, [0.0], METRICS))
        assert both.systems[0].run == alone.systems[0].run


def test_retrieval_alone_ranks_as_a_search_without_a_reranker_does(
    index: Index, retriever: Retriever
) -> None:
    baseline = run(index, retriever, sweep([5])).baseline
    options = SearchOptions(top_k=100)
    for answer in search(index, QUERIES, retriever, None, options, Silence()):
        shown = [hit.passage.doc_id for hit in answer.hits]
        assert [doc_id for doc_id, _ in baseline.run[answer.query.query_id]] == shown


def test_documents_that_retrieval_finds_equal_are_ordered_as_a_search_orders_them(
    tmp_path: Path, build: Builder
) -> None:
    source = jsonl(tmp_path / "s.jsonl", z="the ferry", m="a boat", a="the ferry")
    build(tmp_path / "i", source)
    index, query = Index(tmp_path / "i"), Query("1", "ferry")
    found = DenseRetriever(index, WordEmbedder(index.manifest.embedder))
    tried = replace(sweep([5]), options=SearchOptions(fold="none"))
    outcome = judged_by(index, found, [query], {"1": {"a": 1}}, tried)
    (answer,) = search(index, [query], found, None, SearchOptions(fold="none"), Silence())
    ranked = [doc_id for doc_id, _ in outcome.baseline.run["1"]]
    assert ranked == [hit.passage.doc_id for hit in answer.hits] == ["a", "z", "m"]


def test_a_system_ranks_its_candidates_and_no_other_documents(
    index: Index, retriever: Retriever
) -> None:
    outcome = run(index, retriever, sweep([5]))
    for query_id, ranking in outcome.systems[0].run.items():
        retrieved = [doc_id for doc_id, _ in outcome.baseline.run[query_id]]
        assert sorted(doc_id for doc_id, _ in ranking) == sorted(retrieved[:5])
        scores = np.array([score for _, score in ranking], np.float32)
        assert (scores[1:] < scores[:-1]).all()


def test_pairs_are_scored_once_for_every_depth_and_blend(
    index: Index, retriever: Retriever
) -> None:
    reranker = Timed()
    run(index, retriever, sweep([5, 10, 20], [0.0, 0.5], reranker))
    assert reranker.calls == [20 * len(QUERIES)]


def test_a_query_costs_the_pairs_of_its_depth(index: Index, retriever: Retriever) -> None:
    outcome = run(index, retriever, sweep([5, 20]))
    base = outcome.baseline.seconds or 0.0
    assert base > 0
    extra = [(measured.seconds or 0) - base for measured in outcome.systems]
    assert extra == pytest.approx([5_000, 20_000], rel=0.01)


def test_the_order_of_queries_changes_nothing(index: Index, retriever: Retriever) -> None:
    there = run(index, retriever, sweep([10]))
    back = run(index, retriever, sweep([10]), QUERIES[::-1])
    assert dict(there.systems[0].run) == dict(back.systems[0].run)
    assert there.systems[0].values == back.systems[0].values


def test_judged_documents_alone_are_ranked_when_that_is_asked(
    index: Index, retriever: Retriever
) -> None:
    lost = {**QRELS, "q01": {**QRELS["q01"], "not-there": 1}}
    outcome = judged_by(index, retriever, QUERIES, lost, sweep([]))
    [measured] = outcome.systems
    assert measured.system.candidates is None
    for query_id, ranking in measured.run.items():
        assert {doc_id for doc_id, _ in ranking} == QRELS[query_id].keys()
    assert outcome.unindexed == 1


def test_hits_without_a_judgement_are_labelled_irrelevant_whatever_else_is_judged(
    index: Index, retriever: Retriever
) -> None:
    labelled = run(index, retriever, sweep([5, 20])).labelled["overlap"]
    assert len(labelled) == 20 * len(QUERIES)
    assert 0 < sum(one.relevant for one in labelled) <= sum(map(len, QRELS.values()))
    assert all(one.judged == one.relevant for one in labelled)
    zeros = {**QRELS, "q01": {**QRELS["q01"], "bike-02": 0}}
    judged = judged_by(index, retriever, QUERIES, zeros, sweep([20])).labelled["overlap"]
    changed = [after for before, after in zip(labelled, judged, strict=True) if before != after]
    assert [(one.query_id, one.relevant, one.judged) for one in changed] == [("q01", False, True)]


class Picks:
    """Retrieves the given rows, in that order."""

    backend, embedder = "picks", None

    def __init__(self, name: str, rows: Sequence[int]) -> None:
        self.name, self.rows = name, rows

    def searches(self, forms: Sequence[Sequence[str]]) -> list[Search]:
        def search(depth: int, among: NDArray[np.int64] | None) -> Retrieved:
            found = np.array(self.rows[:depth], np.int64)
            return Retrieved(found, np.linspace(1, 0.5, len(found), dtype=np.float32))

        return [search for _ in forms]

    def score_texts(self, query: Sequence[str], texts: Sequence[str]) -> list[float]:
        return [0.0 for _ in texts]


def test_hits_of_every_retriever_are_labelled_each_document_of_a_query_once(
    tmp_path: Path, build: Builder
) -> None:
    source = jsonl(tmp_path / "s.jsonl", a="the ferry sails", b="a boat", c="some bread", d="ferry")
    build(tmp_path / "i", source)
    index = Index(tmp_path / "i")
    row_of = {doc_id: row for row, doc_id in enumerate(index.doc_ids())}
    found = {"one": "ab", "two": "bcd"}
    retrievers: dict[str, Retriever] = {
        name: Picks(name, [row_of[doc_id] for doc_id in doc_ids]) for name, doc_ids in found.items()
    }
    tried = replace(sweep([5]), retrievers=retrievers)
    qrels = {"1": {"a": 1, "c": 0}, "2": {"d": 1}}
    queries = [Query("1", "ferry"), Query("2", "boat")]
    labelled = run_sweep(index, queries, qrels, tried, Silence()).labelled["overlap"]
    scores = OverlapReranker().score([("ferry", "the ferry sails")]).values
    assert labelled[0] == Labelled("1", float(scores[0]), True, True)
    assert sorted((one.query_id, one.relevant, one.judged) for one in labelled) == [
        *[("1", False, False), ("1", False, False), ("1", False, True), ("1", True, True)],
        *[("2", False, False), ("2", False, False), ("2", False, False), ("2", True, True)],
    ]


def test_the_best_passage_of_each_document_is_kept(index: Index, retriever: Retriever) -> None:
    outcome = run(index, retriever, sweep([5]))
    rows = outcome.rows["q01"]
    assert [doc_id for doc_id, _ in outcome.baseline.run["q01"]] == list(rows)[:100]
    [passage] = index.read(np.array([rows["bike-01"]]))
    assert passage.doc_id == "bike-01"


def test_a_sweep_without_a_reranker_measures_retrieval_alone(
    index: Index, retriever: Retriever
) -> None:
    outcome = run(index, retriever, Sweep({}, {}, [100], [0.0], METRICS))
    assert outcome.systems == []
    assert outcome.baseline.mean("nDCG@10") > 0.5


def test_a_metric_without_a_cut_off_sees_a_whole_run(
    index: Index, retriever: Retriever, tmp_path: Path
) -> None:
    deep = Sweep({}, {}, [5], [0.0], parse_metrics("AP"))
    outcome = run(index, retriever, deep)
    assert {len(ranking) for ranking in outcome.baseline.run.values()} == {120}
