"""A search embeds, retrieves and scores the right texts, and answers each query separately."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ettin_cli.index.reader import Index
from ettin_cli.records import Advance, Answer, Query, RerankerCard, Scores, Silence, no_progress
from ettin_cli.searching.answering import search, source_index
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.retrievers import DenseRetriever
from ettin_cli.text.chunking import Chunking
from tests.indexes import Builder, Notices, WordEmbedder, jsonl, word_vector

TEXTS = {
    "ferry": "the ferry sails at nine",
    "fare": "a ferry ticket costs four coins",
    "bread": "knead the dough and bake the bread",
    "train": "the train leaves at nine",
}


class OverlapReranker:
    """Scores by the words shared with the query, minus the text's length; records the pairs."""

    card = RerankerCard("overlap", "words", 64)

    def __init__(self) -> None:
        self.batches: list[list[tuple[str, str]]] = []

    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        self.batches.append(list(pairs))
        advance(len(pairs))
        return Scores(
            np.array([overlap(*pair) for pair in pairs], np.float32),
            np.array(["bread" in text for _, text in pairs], np.bool_),
        )


def overlap(query: str, text: str) -> float:
    return len({*query.split()} & {*text.split()}) - len(text) / 1000


@pytest.fixture
def folder(tmp_path: Path, build: Builder) -> Path:
    build(tmp_path / "i", jsonl(tmp_path / "t.jsonl", **TEXTS))
    return tmp_path / "i"


def answers(
    folder: Path,
    *queries: str,
    reranker: OverlapReranker | None = None,
    reporter: Silence | None = None,
    **options: Any,
) -> list[Answer]:
    index = Index(folder)
    asked = [Query(f"q{number}", text) for number, text in enumerate(queries)]
    retriever = DenseRetriever(index, WordEmbedder(index.manifest.embedder))
    chosen = SearchOptions(**options)
    return list(search(index, asked, retriever, reranker, chosen, reporter or Silence()))


def ids(answer: Answer) -> list[str]:
    return [hit.passage.doc_id for hit in answer.hits]


def test_without_a_reranker_hits_are_in_the_order_of_retrieval(folder: Path) -> None:
    (answer,) = answers(folder, "the ferry at nine")
    query = word_vector("the ferry at nine")
    values = {doc_id: float(word_vector(text) @ query) for doc_id, text in TEXTS.items()}
    assert ids(answer) == sorted(values, key=lambda doc_id: -values[doc_id])
    assert [hit.score for hit in answer.hits] == pytest.approx(sorted(values.values())[::-1])
    assert [hit.retrieval_rank for hit in answer.hits] == [1, 2, 3, 4]
    assert (answer.reranker, answer.backend, answer.embedder) == (
        "none",
        "words",
        Index(folder).manifest.embedder.name,
    )


def test_a_reranker_scores_every_candidate_of_every_query(folder: Path) -> None:
    reranker, notices = OverlapReranker(), Notices()
    queries = ["bake the bread", "ferry ticket"]
    both = answers(folder, *queries, reranker=reranker, reporter=notices, candidates=3)
    assert notices.tracked == [("reranking", 6, "pairs")]
    assert notices.advanced == 6
    (pairs,) = reranker.batches
    assert [query for query, _ in pairs] == [queries[0]] * 3 + [queries[1]] * 3
    for answer, query in zip(both, queries, strict=True):
        expected = {text for asked, text in pairs if asked == query}
        assert {hit.passage.text for hit in answer.hits} == expected
        for hit in answer.hits:
            assert hit.score == pytest.approx(overlap(query, hit.passage.text))
            assert hit.truncated == ("bread" in hit.passage.text)
        assert [hit.score for hit in answer.hits] == sorted([h.score for h in answer.hits])[::-1]
    assert ids(both[0])[0] == "bread"
    assert ids(both[1])[0] == "fare"
    assert both[0].reranker == "overlap"


def test_queries_are_answered_in_windows_and_alike_alone(folder: Path) -> None:
    queries = [f"{word} ferry {n}" for n in range(50) for word in ("nine", "bake", "four")]
    reranker = OverlapReranker()
    together = answers(folder, *queries, reranker=reranker)
    assert [len(batch) for batch in reranker.batches] == [256, 256, 88]
    assert [answer.query.text for answer in together] == queries
    for answer in together[::29]:
        (alone,) = answers(folder, answer.query.text, reranker=OverlapReranker())
        assert [(h.passage_id, h.score) for h in answer.hits] == [
            (h.passage_id, h.score) for h in alone.hits
        ]


def test_a_window_is_answered_before_the_next_is_read(folder: Path) -> None:
    index, read = Index(folder), []

    def queries() -> Any:
        for number in range(200):
            read.append(number)
            yield Query(str(number), "ferry")

    retriever = DenseRetriever(index, WordEmbedder(index.manifest.embedder))
    found = search(index, queries(), retriever, None, SearchOptions(), Silence())
    next(found)
    assert len(read) == 64


def test_seconds_tell_of_every_stage(folder: Path) -> None:
    for answer in answers(folder, "ferry", "bread", reranker=OverlapReranker()):
        assert set(answer.seconds) == {"embed", "retrieve", "rerank", "total"}
        assert all(0 <= value <= answer.seconds["total"] for value in answer.seconds.values())


def test_an_index_of_nothing_gives_no_hits(tmp_path: Path, build: Builder) -> None:
    (tmp_path / "docs").mkdir()
    build(tmp_path / "i", tmp_path / "docs")
    (answer,) = answers(tmp_path / "i", "ferry", reranker=OverlapReranker())
    assert answer.hits == []


def test_a_filter_comes_before_the_cut(tmp_path: Path, build: Builder) -> None:
    rows = [{"_id": str(n), "text": "ferry", "port": "ab"[n == 37]} for n in range(40)]
    table = tmp_path / "t.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    build(tmp_path / "i", table)
    (answer,) = answers(tmp_path / "i", "ferry", candidates=1, filters=(("port", "b"),))
    assert ids(answer) == ["37"]
    (answer,) = answers(tmp_path / "i", "ferry", paths=("*.md",))
    assert answer.hits == []


@pytest.fixture
def chunked(tmp_path: Path, build: Builder) -> Path:
    """Return an index whose document `long` owns the forty best passages for "ferry"."""
    texts = {"long": "ferry. " * 40, "a": "ferry one", "b": "ferry one two", "c": "boat"}
    build(tmp_path / "i", jsonl(tmp_path / "t.jsonl", **texts), chunking=Chunking(1))
    return tmp_path / "i"


def test_one_document_cannot_crowd_out_the_others(chunked: Path) -> None:
    (answer,) = answers(chunked, "ferry", candidates=5, top_k=3)
    assert sorted(ids(answer)) == ["a", "b", "long"]
    (answer,) = answers(chunked, "ferry", candidates=5, top_k=10, by="passage")
    assert len(answer.hits) == 5
    assert len({hit.passage_id for hit in answer.hits}) == 5


@pytest.mark.parametrize("candidates", [1, 3, 5, 100])
def test_no_more_passages_are_scored_than_asked_for(chunked: Path, candidates: int) -> None:
    reranker = OverlapReranker()
    answers(chunked, "ferry", reranker=reranker, candidates=candidates, top_k=4, fold="none")
    (pairs,) = reranker.batches
    assert len(pairs) == min(candidates, len(Index(chunked).passages))


@pytest.mark.parametrize("factory", ["IVF16,Flat", "HNSW8", "SQ8", "RaBitQ", "IVF4,RaBitQfs"])
def test_an_approximate_index_gives_exact_scores(
    tmp_path: Path, build: Builder, factory: str
) -> None:
    texts = {f"d{n}": f"word{n} word{n + 1} ferry" for n in range(300)}
    build(tmp_path / "i", jsonl(tmp_path / "t.jsonl", **texts), factory=factory)
    (answer,) = answers(tmp_path / "i", "word7 ferry", candidates=200, top_k=50)
    assert len(answer.hits) == 50
    for hit in answer.hits:
        expected = float(word_vector(hit.passage.text) @ word_vector("word7 ferry"))
        assert hit.score == pytest.approx(expected, abs=1e-6)


def test_a_changed_or_missing_file_makes_its_hits_stale(tmp_path: Path, build: Builder) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("same", "changed", "gone"):
        (docs / f"{name}.txt").write_text(f"ferry {name}")
    build(tmp_path / "i", docs)
    (docs / "changed.txt").write_text("ferry CHANGED")
    (docs / "gone.txt").unlink()
    (answer,) = answers(tmp_path / "i", "ferry")
    assert {hit.passage.doc_id: hit.stale for hit in answer.hits} == {
        "same.txt": False,
        "changed.txt": True,
        "gone.txt": True,
    }


def test_the_index_of_sources_is_kept_by_what_and_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = source_index(["docs"], "auto")
    assert folder.parent == tmp_path / "cache" / "indexes"
    assert folder.name.startswith("docs-")
    assert source_index([str(tmp_path / "docs")], "auto") == folder
    assert source_index(["docs/../docs/"], "auto") == folder
    others = [source_index(["doc"], "auto"), source_index(["docs"], "e5")]
    others += [source_index(["docs", "x"], "auto"), source_index(["-"], "auto")]
    assert len({folder, *others}) == 5
    assert source_index(["/"], "auto").name.startswith("root-")


def test_no_more_documents_are_looked_for_than_there_are(
    tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"ferry{number}" for number in range(300)]
    source = jsonl(tmp_path / "s.jsonl", one=" ".join(words[:150]), two=" ".join(words[150:]))
    build(tmp_path / "i", source, chunking=Chunking(5, 0))
    depths = []
    retrieve = Index.retrieve

    def noted(self: Index, queries: Any, depth: int, among: Any = None) -> Any:
        depths.append(depth)
        return retrieve(self, queries, depth, among)

    monkeypatch.setattr(Index, "retrieve", noted)
    (answer,) = answers(tmp_path / "i", "ferry3 ferry200", candidates=30)
    assert set(ids(answer)) == {"one", "two"}
    assert depths == [30]


# Duplicate passages


def folder_of(tmp_path: Path, build: Builder, **texts: str) -> Path:
    build(tmp_path / "i", jsonl(tmp_path / "s.jsonl", **texts))
    return tmp_path / "i"


def test_passages_of_the_same_text_are_one_hit(tmp_path: Path, build: Builder) -> None:
    same = {f"copy{number}": "the ferry sails at nine" for number in range(5)}
    folder = folder_of(tmp_path, build, **same, other="a ferry ticket costs four coins")
    reranker = OverlapReranker()
    (answer,) = answers(folder, "the ferry", reranker=reranker, candidates=2, top_k=2)
    assert ids(answer) == ["copy0", "other"]
    assert [one.doc_id for one in answer.hits[0].duplicates.values()] == [*same][1:]
    assert len(reranker.batches[0]) == 2
    (plain,) = answers(folder, "the ferry", fold="none", top_k=6)
    assert len(plain.hits) == 6
    assert not any(hit.duplicates for hit in plain.hits)


class LongReranker(OverlapReranker):
    """Scores by length."""

    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        lengths = np.array([len(text) for _, text in pairs], np.float32)
        return Scores(lengths, np.zeros(len(pairs), np.bool_))


@pytest.mark.parametrize(
    ("query", "reranker"), [("ferry sails", None), ("ferry boat", LongReranker())]
)
def test_a_document_is_found_by_what_another_says_too_and_says_something_better_than(
    tmp_path: Path, build: Builder, query: str, reranker: OverlapReranker | None
) -> None:
    texts = {"one": "ferry boat. ferry sails. ", "two": "ferry boat.", "c": "tea"}
    build(tmp_path / "i", jsonl(tmp_path / "s.jsonl", **texts), chunking=Chunking(2, 0))
    (answer,) = answers(tmp_path / "i", query, reranker=reranker)
    assert ids(answer) == ["one", "two", "c"]
    found = answer.hits[1]
    (plain,) = answers(tmp_path / "i", query, reranker=reranker, fold="none")
    assert (found.passage, found.score) == (plain.hits[1].passage, plain.hits[1].score)
    assert [one.doc_id for one in found.duplicates.values()] == ["one"]


def test_a_copy_of_a_whole_document_is_no_hit_by_any_of_its_passages(
    tmp_path: Path, build: Builder
) -> None:
    texts = {name: "ferry boat. ferry sails. " for name in ("one", "two", "three")}
    build(tmp_path / "i", jsonl(tmp_path / "s.jsonl", **texts), chunking=Chunking(2, 0))
    for reranker in (None, LongReranker()):
        (answer,) = answers(tmp_path / "i", "ferry boat", reranker=reranker)
        assert ids(answer) == ["one"]
        assert [one.doc_id for one in answer.hits[0].duplicates.values()] == ["two", "three"]


def test_where_passages_count_no_other_document_takes_the_place_of_a_better_one(
    tmp_path: Path, build: Builder
) -> None:
    source = jsonl(
        tmp_path / "s.jsonl", one="ferry boat. ferry sails. ", two="ferry boat.", c="tea"
    )
    build(tmp_path / "i", source, chunking=Chunking(2, 0))
    (answer,) = answers(tmp_path / "i", "ferry boat", candidates=2, top_k=2, by="passage")
    assert ids(answer) == ["one", "one"]
    (answer,) = answers(tmp_path / "i", "ferry boat", candidates=2, top_k=2)
    assert ids(answer) == ["one", "c"]


def test_passages_of_nearly_the_same_text_are_one_hit_if_asked_for(
    tmp_path: Path, build: Builder
) -> None:
    notice = "All rights reserved by the harbour office, whose word is final in all disputes"
    folder = folder_of(
        tmp_path, build, a=f"{notice} of 2023", b=f"{notice} of 2024", c="the ferry sails at nine"
    )
    (answer,) = answers(folder, notice, fold="near")
    assert ids(answer)[0] in ("a", "b")
    assert len(answer.hits) == 2
    (answer,) = answers(folder, notice)
    assert len(answer.hits) == 3


def test_forms_of_a_question_are_asked_together(folder: Path) -> None:
    index = Index(folder)
    retriever = DenseRetriever(index, WordEmbedder(index.manifest.embedder))
    several = Query("1", "ferry", ("bread dough",))
    (answer,) = search(index, [several], retriever, None, SearchOptions(top_k=2), Silence())
    assert "bread" in ids(answer)
