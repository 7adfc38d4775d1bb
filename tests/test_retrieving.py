"""BM25 finds what embeddings miss, hybrid keeps the best of both, and constraints hold."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ettin_cli.index.accumulating import Scored
from ettin_cli.index.reader import Index
from ettin_cli.records import Query, Silence
from ettin_cli.searching.answering import search
from ettin_cli.searching.constraints import demands_of, matching_rows
from ettin_cli.searching.feedback import expanded_terms, expanded_vector
from ettin_cli.searching.fusion import HEAD, Scale
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.retrievers import (
    DenseRetriever,
    HybridRetriever,
    LexicalRetriever,
    Retriever,
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
    every = {row: (cosine[row], worth.get(row, 0.0)) for row in cosine}
    expected = fused(every, len(TEXTS))
    for at, row in enumerate(found.rows.tolist()):
        places = found.ranks_of(at)
        assert places["dense"].score == pytest.approx(cosine[row])
        assert places["bm25"].score == pytest.approx(worth.get(row, 0.0))
        assert found.scores[at] == pytest.approx(expected[row], rel=1e-5)
        assert places["dense"].rank == near.rows.tolist().index(row) + 1
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def fused(every: dict[int, tuple[float, float]], searched: int) -> dict[int, float]:
    """Return the fused scores by their definition, from the cosine and BM25 score of each row."""
    weighted = []
    for share, side in ((0.499, 0), (0.501, 1)):
        head = sorted((pair[side] for pair in every.values()), reverse=True)[: min(100, searched)]
        size = head[0] - head[-1] if head[0] - head[-1] > 1e-6 else 1.0
        weighted.append(
            {row: share * (pair[side] - head[-1]) / size for row, pair in every.items()}
        )
    scores = {}
    for row in every:
        parts = [side[row] for side in weighted]
        scores[row] = sum(part for part in parts if part > 0) or sum(parts)
    return scores


@pytest.fixture
def many(tmp_path: Path, build: Builder) -> Index:
    """Return an index of 700 passages of common and rare words."""
    rng = np.random.default_rng(5)
    words = [*"abcdefgh", *(f"w{n}" for n in range(60))]
    weights = 1 / np.arange(1, len(words) + 1)
    texts = {
        f"d{n}": " ".join(rng.choice(words, rng.integers(4, 20), p=weights / weights.sum()))
        for n in range(700)
    }
    texts["d650"] += " lighthouse"
    build(tmp_path / "many", jsonl(tmp_path / "many.jsonl", **texts))
    return Index(tmp_path / "many")


@pytest.mark.parametrize("forms", [["b w3 w40"], ["lighthouse"], ["w7 w8", "w7 h w50"], ["zzz"]])
@pytest.mark.parametrize("among", [None, range(0, 700, 3), range(600, 660), range(5)])
def test_a_score_is_the_mean_of_both_in_the_range_of_their_hundred_best(
    many: Index, forms: Sequence[str], among: range | None
) -> None:
    retriever = HybridRetriever(many, embedder(many))
    rows = None if among is None else np.array(among)
    [dense] = DenseRetriever(many, embedder(many)).searches([forms])
    near = dense(700, rows)
    worth = retriever.lexical.scores(retriever.lexical.terms_of(forms))
    pairs = zip(near.rows.tolist(), near.scores.tolist(), strict=True)
    every = {row: (cosine, float(worth.of(np.array([row]))[0])) for row, cosine in pairs}
    expected = fused(every, len(every))
    [hybrid] = retriever.searches([forms])
    deepest = hybrid(700, rows)
    assert sorted(deepest.rows.tolist()) == sorted(every)
    wanted = [expected[row] for row in deepest.rows.tolist()]
    assert deepest.scores.tolist() == pytest.approx(wanted, abs=1e-5)
    assert deepest.scores.tolist() == sorted(deepest.scores.tolist(), reverse=True)
    above = sum(score > 0 for score in deepest.scores.tolist())
    for depth in (1, 10, 99, 130):
        found = hybrid(depth, rows)
        assert len(found.rows) == min(depth, len(every))
        same = min(depth, above)
        assert found.rows[:same].tolist() == deepest.rows[:same].tolist()
        assert found.scores[:same].tolist() == deepest.scores[:same].tolist()


def test_a_query_has_the_same_scores_beside_one_of_several_forms(many: Index) -> None:
    retriever = DenseRetriever(many, embedder(many))
    queries = [[f"b w{n} w{n * 7 % 60} c d"] for n in range(40)]

    def scores(*more: Sequence[str]) -> list[list[float]]:
        return [one(700, None).scores.tolist() for one in retriever.searches([*queries, *more])]

    assert scores(["w7 w8", "w7 h w50"])[:-1] == scores()


def test_the_only_passage_with_a_rare_word_is_first(many: Index) -> None:
    [hybrid] = HybridRetriever(many, embedder(many)).searches([["lighthouse"]])
    assert names(many, hybrid(1, None).rows) == ["d650"]


def test_one_passage_is_neither_above_nor_below_others(tmp_path: Path, build: Builder) -> None:
    build(tmp_path / "i", jsonl(tmp_path / "t.jsonl", one="a ferry at nine"))
    index = Index(tmp_path / "i")
    for expand in (False, True):
        [hybrid] = HybridRetriever(index, embedder(index), expand=expand).searches([["ferry"]])
        found = hybrid(5, None)
        assert (found.rows.tolist(), found.scores.tolist()) == ([0], [0.0])


def test_passages_that_are_all_alike_have_one_score_in_corpus_order(
    tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", jsonl(tmp_path / "t.jsonl", **{f"d{n}": "a b c" for n in range(600)}))
    index = Index(tmp_path / "i")
    [hybrid] = HybridRetriever(index, embedder(index)).searches([["a c"]])
    found = hybrid(5, None)
    assert found.scores.tolist() == pytest.approx([0.0] * 5, abs=1e-5)
    assert found.rows.tolist() == list(range(5))


def test_the_scale_is_that_of_the_merged_top_of_any_parts() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=1000).astype(np.float32)
    parts = np.array_split(rng.permutation(scores), 7)
    merged = sorted(s for part in parts for s in sorted(part.tolist(), reverse=True)[:HEAD])
    scale = Scale.of(sorted(scores.tolist(), reverse=True)[:HEAD])
    assert Scale.of(merged[-HEAD:]) == scale
    top = sorted(scores.tolist())[-HEAD:]
    assert scale == (top[0], top[-1] - top[0])


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
    rows = np.flatnonzero(scores)
    scored = Scored(rows, scores[rows])
    for depth in (1, 7, 100, 1000):
        best, best_scores = scored.highest(depth)
        assert best.tolist() == order[:depth]
        assert best_scores.tolist() == scores[best].tolist()
    among = np.arange(0, 500, 3)
    found, _ = scored.highest(20, among)
    assert found.tolist() == [row for row in order if row % 3 == 0][:20]


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
