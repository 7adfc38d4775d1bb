"""Examples of every public call, as a program writes them; mypy checks their types."""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt

import ettin_cli as ettin
from ettin_cli.benchmark import Race
from ettin_cli.evaluation import Evaluation
from ettin_cli.indexing import BuildReport, RepairReport
from ettin_cli.records import Embedder, Scores
from ettin_cli.training import Mined, Trained

RECORDS = [
    {"_id": "ferry", "title": "Ferry", "text": "It sails at nine.", "harbour": "east"},
    {"_id": "bread", "text": "Bread is baked at noon.", "harbour": "west"},
]
FERRY = "when does the ferry sail"


def shortcuts(folder: Path) -> None:
    """Use a session for a single call."""
    report = ettin.build(documents=RECORDS, into=folder / "index")
    assert_type(report, BuildReport)
    with ettin.open(folder / "index", reranker="embedded") as index:
        assert_type(index, ettin.Searcher)
        answer = index.search(FERRY, top_k=1, filters=[("harbour", "east")])
    assert_type(answer, ettin.Answer)
    assert_type(answer.hits[0], ettin.Hit)
    passage = answer.hits[0].passage
    assert_type(passage, ettin.Passage)
    assert (passage.doc_id, passage.title, passage.metadata) == (
        "ferry",
        "Ferry",
        {"harbour": "east"},
    )
    with ettin.reranker("embedded") as reranker:
        assert_type(reranker, ettin.TextReranker)
        assert reranker.rank(FERRY, ["Bread.", "It sails at nine."]).hits[0].passage.doc_id == "1"
    embedder = ettin.embedder()
    assert_type(embedder, Embedder)
    assert embedder.embed_queries([FERRY]).shape == (1, embedder.card.dimension)


def sessions(folder: Path) -> None:
    """Share models and settings between calls."""
    with ettin.Session(ettin.EngineSettings(device="cpu", threads=1), offline=True) as session:
        report = session.build(documents=[ettin.Document("a", "tea")], into=folder / "other")
        assert report.manifest is not None and report.manifest.counts.documents == 1
        documents = [ettin.Document("ferry", "It sails at nine."), ettin.Document("b", "Tea.")]
        answers = session.rerank([(FERRY, documents)], reranker="embedded", top_k=1)
        assert_type(answers, Iterator[ettin.Answer])
        assert [answer.hits[0].passage.doc_id for answer in answers] == ["ferry"]
        scores = session.score([(FERRY, "tea")], reranker="embedded")
        assert_type(scores, Scores)
        assert scores.values.dtype == np.float32
        vectors = session.embed(["tea"])
        assert_type(vectors, npt.NDArray[np.float32])
        with session.open(folder / "other", reranker="none", retriever="bm25") as index:
            options = ettin.SearchOptions(top_k=1)
            assert_type(index.search_many([]), Iterator[ettin.Answer])
            [_] = index.search_many([ettin.Query("1", "tea")], options)
            assert not index.is_outdated()
        try:
            session.open(folder / "nothing")
        except ettin.EttinError as error:
            assert error.code == "index-not-found"


def maintenance(folder: Path) -> None:
    """Update, verify and repair an index."""
    (folder / "docs").mkdir()
    (folder / "docs" / "tea.md").write_text("Tea is at five.", encoding="utf-8")
    with ettin.Session(offline=True) as session:
        session.build(folder / "docs", into=folder / "third")
        report = session.update(folder / "third")
        assert not report.written
        assert session.verify(folder / "third") == []
        repaired = session.repair(folder / "third")
        assert_type(repaired, RepairReport)
        assert not repaired.damaged


def measuring(folder: Path) -> None:
    """Evaluate systems and mine negatives."""
    queries, qrels = [ettin.Query("1", FERRY)], {"1": {"ferry": 1}}
    with ettin.Session(offline=True) as session:
        session.build(documents=RECORDS, into=folder / "fourth")
        found = session.evaluate(folder / "fourth", queries, qrels, rerankers=["embedded"])
        assert_type(found, Evaluation)
        assert found.systems[0].mean("nDCG@10") == 1
        mined = list(session.mine(folder / "fourth", queries, qrels))
        assert_type(mined, list[Mined])
        assert mined[0].to_dict()["negative_ids"] == ["bread"]


def long_work(session: ettin.Session, mined: list[Mined]) -> None:
    """Train a reranker and measure its speed; the examples of these calls are run as doctests."""
    rows = [one.to_dict() for one in mined]
    trained = session.train(base="17m", output="mine", rows=rows, epochs=2, eval="nfcorpus")
    assert_type(trained, Trained)
    for race in session.bench(["./mine", "17m"], dtypes=["auto", "fast"]):
        assert_type(race, Race)
        assert race.speeds[0].error is None
