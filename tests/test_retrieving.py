"""BM25 finds what embeddings miss, hybrid keeps the best of both, and constraints hold."""

from pathlib import Path

import numpy as np
import pytest

from ettin_cli.index.reader import Index
from ettin_cli.records import Query, Silence
from ettin_cli.searching.answering import search
from ettin_cli.searching.constraints import demands_of, matching_rows
from ettin_cli.searching.feedback import expanded_terms, expanded_vector
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.retrievers import (
    LEXICAL_WEIGHT,
    DenseRetriever,
    HybridRetriever,
    LexicalRetriever,
    Retriever,
    highest,
)
from ettin_cli.text.lexical.query_syntax import Demands, parse_query
from tests.indexes import Builder, WordEmbedder, jsonl

TEXTS = {
    "ferry": "The ferries sail at nine from the old pier",
    "fare": "a ferry ticket costs four coins",
    "bread": "knead the dough and bake the bread",
    "code": "call readFile(path) before the ferry leaves the pier",
    "train": "the train leaves at nine",
    "again": "a ferry ticket costs four coins",
}


@pytest.fixture
def index(tmp_path: Path, build: Builder) -> Index:
    build(tmp_path / "i", jsonl(tmp_path / "t.jsonl", **TEXTS))
    return Index(tmp_path / "i")


def embedder(index: Index) -> WordEmbedder:
    return WordEmbedder(index.manifest.embedder)


def names(index: Index, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[str]:
    return index.passages.column("doc_id", rows)


def test_words_are_found_whatever_their_endings(index: Index) -> None:
    [one] = LexicalRetriever(index).searches([["a sailing ferry"]])
    found = one(10, None)
    assert names(index, found.rows)[0] == "ferry"
    assert set(names(index, found.rows)) == {"ferry", "fare", "code", "again"}


def test_an_identifier_is_found_by_its_other_spelling(index: Index) -> None:
    [one] = LexicalRetriever(index).searches([["read_file"]])
    assert names(index, one(10, None).rows) == ["code"]


def test_both_scores_of_every_candidate_are_exact(index: Index) -> None:
    query = "ferry ticket at nine"
    [hybrid] = HybridRetriever(index, embedder(index)).searches([[query]])
    [dense] = DenseRetriever(index, embedder(index)).searches([[query]])
    [words] = LexicalRetriever(index).searches([[query]])
    found, near, held = hybrid(3, None), dense(6, None), words(6, None)
    cosine = dict(zip(near.rows.tolist(), near.scores.tolist(), strict=True))
    worth = dict(zip(held.rows.tolist(), held.scores.tolist(), strict=True))
    spread = float(np.std(list(cosine.values())))
    for at, row in enumerate(found.rows.tolist()):
        places = found.ranks_of(at)
        assert places["dense"].score == pytest.approx(cosine[row])
        assert places["bm25"].score == pytest.approx(worth.get(row, 0.0))
        expected = cosine[row] / spread + LEXICAL_WEIGHT * worth.get(row, 0.0)
        assert found.scores[at] == pytest.approx(expected, rel=1e-5)
        ranked = near.rows.tolist()[:3]
        assert places["dense"].rank == (ranked.index(row) + 1 if row in ranked else None)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_passages_that_are_all_equally_near_are_told_apart_by_words(
    tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", jsonl(tmp_path / "t.jsonl", **{f"d{n}": "a b c" for n in range(600)}))
    index = Index(tmp_path / "i")
    [hybrid] = HybridRetriever(index, embedder(index)).searches([["a c"]])
    found = hybrid(5, None)
    place = found.ranks_of(0)
    expected = place["dense"].score + LEXICAL_WEIGHT * place["bm25"].score
    assert found.scores.tolist() == pytest.approx([expected] * 5)


def test_a_query_of_no_known_word_is_left_to_the_embeddings(index: Index) -> None:
    [hybrid] = HybridRetriever(index, embedder(index)).searches([["zebra!"]])
    [dense] = DenseRetriever(index, embedder(index)).searches([["zebra!"]])
    assert hybrid(4, None).rows.tolist() == dense(4, None).rows.tolist()


@pytest.mark.parametrize("query", ["", "?!", "the of and", "x" * 100_000, "ferry " * 10_000, "где"])
def test_any_query_can_be_asked(index: Index, query: str) -> None:
    for retriever in (LexicalRetriever(index), HybridRetriever(index, embedder(index))):
        [one] = retriever.searches([[query]])
        assert len(one(2, None).rows) <= 2


def test_equal_scores_are_in_the_order_of_the_corpus(index: Index) -> None:
    [one] = LexicalRetriever(index).searches([["ticket"]])
    assert names(index, one(10, None).rows) == ["fare", "again"]
    assert names(index, one(1, None).rows) == ["fare"]


def test_the_highest_are_chosen_as_a_whole_sort_would() -> None:
    scores = np.random.default_rng(1).integers(0, 9, 500).astype(np.float32)
    order = [row for row in np.argsort(-scores, kind="stable").tolist() if scores[row] > 0]
    for depth in (1, 7, 100, 1000):
        assert highest(scores, depth).tolist() == order[:depth]
    among = np.arange(0, 500, 3)
    assert highest(scores, 20, among).tolist() == [row for row in order if row % 3 == 0][:20]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('"old pier"', ["ferry"]),
        ('"pier old"', []),
        ("ferry -ticket", ["ferry", "bread", "code", "train"]),
        ('ferry -"ferry ticket"', ["ferry", "bread", "code", "train"]),
        ('"read_file"', ["code"]),
        ('"ferry" -pier', ["fare", "again"]),
    ],
)
def test_demands_leave_what_holds_to_them(index: Index, query: str, expected: list[str]) -> None:
    assert names(index, matching_rows(index, parse_query(query))) == expected


def test_a_field_must_have_the_words(tmp_path: Path, build: Builder) -> None:
    (tmp_path / "t.jsonl").write_text(
        '{"_id": "a", "text": "one", "title": "Fire Pumps", "tags": ["Red", "old boat"]}\n'
        '{"_id": "b", "text": "two", "title": "Pumps", "year": 2024}\n'
    )
    build(tmp_path / "i", str(tmp_path / "t.jsonl"))
    index = Index(tmp_path / "i")
    for query, expected in {
        'x title:"fire pump"': ["a"],
        "x title:pumps": ["a", "b"],
        'x tags:"old boat"': ["a"],
        "x year:2024": ["b"],
        "x colour:red": [],
        "x -year:2024": ["a"],
        'x -tags:"old boat" title:pumps': ["b"],
    }.items():
        assert names(index, matching_rows(index, parse_query(query))) == expected


def test_operators_count_by_what_the_index_has(tmp_path: Path, build: Builder) -> None:
    (tmp_path / "t.jsonl").write_text(
        '{"_id": "a", "text": "run java -jar app.jar now", "lang": "en"}\n'
        '{"_id": "b", "text": "a jar of jam in a well-known jar"}\n'
    )
    build(tmp_path / "i", str(tmp_path / "t.jsonl"))
    index = Index(tmp_path / "i")
    assert demands_of("java -jar app", index) == Demands("java -jar app", options=("-jar",))
    assert demands_of("java -known", index).excluded == ("known",)
    assert demands_of("java lang:en", index).fields == (("lang", "en"),)
    assert demands_of("java status:500", index).unknown == (("status", "status:500"),)
    assert demands_of("java title:x", index).fields == (("title", "x"),)


def test_demands_hold_for_both_ways_of_retrieving(index: Index) -> None:
    demands = parse_query("ferry ticket -coins")
    options = SearchOptions(demands=demands)
    retriever = HybridRetriever(index, embedder(index))
    query = [Query("1", demands.text)]
    [answer] = search(index, query, retriever, None, options, Silence())
    assert {hit.passage.doc_id for hit in answer.hits} == {"ferry", "bread", "code", "train"}
    assert answer.hits[0].by_retriever.keys() == {"dense", "bm25"}
    left_out = len(index.passages) - len(matching_rows(index, demands))
    assert answer.left_out == answer.to_dict()["left_out"] == left_out > 0


# Query expansion


def test_expanding_finds_what_only_the_first_passages_name(index: Index) -> None:
    [plain] = LexicalRetriever(index).searches([["pier"]])
    [more] = LexicalRetriever(index, expand=True).searches([["pier"]])
    assert "fare" not in names(index, plain(10, None).rows)
    assert "fare" in names(index, more(10, None).rows)
    assert set(names(index, more(10, None).rows)[:2]) == {"ferry", "code"}


def test_terms_are_mixed_as_rm3_says() -> None:
    mixed = expanded_terms({"pier": 1}, [["pier", "rope", "pier"], ["rope", "tide"]], [0.75, 0.25])
    likely = {"pier": 0.5, "rope": 0.25 + 0.125, "tide": 0.125}
    total = sum(likely.values())
    assert mixed == pytest.approx(
        {"pier": 0.5 + 0.5 * 0.5 / total, "rope": 0.5 * 0.375 / total, "tide": 0.5 * 0.125 / total}
    )


def test_words_that_tell_nothing_expand_nothing_whatever_their_stem(
    tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "w", jsonl(tmp_path / "w.jsonl", a="why was the ferry late"))
    one = np.ones(1, np.float32)
    more = LexicalRetriever(Index(tmp_path / "w")).expanded({"ferri": 1}, np.array([0]), one)
    assert more == pytest.approx({"ferri": 0.75, "late": 0.25})


def test_nothing_found_expands_nothing() -> None:
    assert expanded_terms({"zebra": 2}, [], []) == {"zebra": 1.0}
    query = np.array([0.6, 0.8], np.float32)
    assert expanded_vector(query, np.empty((0, 2), np.float32)) is query


def test_a_vector_moves_half_of_the_way() -> None:
    query, found = np.array([1, 0], np.float32), np.array([[0, 1], [0, 1]], np.float32)
    assert expanded_vector(query, found) == pytest.approx([0.5**0.5, 0.5**0.5])


@pytest.mark.parametrize("kind", ["dense", "bm25", "hybrid"])
def test_a_text_outside_the_index_scores_as_if_it_were_a_passage(index: Index, kind: str) -> None:
    retrievers: dict[str, Retriever] = {
        "dense": DenseRetriever(index, embedder(index)),
        "bm25": LexicalRetriever(index),
        "hybrid": HybridRetriever(index, embedder(index)),
    }
    query = ["ferry ticket at nine"]
    [search_one] = retrievers[kind].searches([query])
    found = search_one(len(TEXTS), None)
    retrieved = dict(zip(names(index, found.rows), found.scores.tolist(), strict=True))
    scores = retrievers[kind].score_texts(query, list(TEXTS.values()))
    assert scores == pytest.approx([retrieved.get(name, 0.0) for name in TEXTS], abs=1e-5)
