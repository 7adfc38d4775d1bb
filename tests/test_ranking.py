"""Hits are ordered as documented, whatever the order of the candidates."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.models.engines import EngineSettings
from ettin_cli.models.rerankers import ResolvedReranker, find_reranker
from ettin_cli.records import Candidate, Hit, Passage, Reporter, Reranker, Scores, Silence
from ettin_cli.runtime import Loaded
from ettin_cli.searching.ranking import SearchOptions, rank, standardised
from ettin_cli.searching.rerankers import RerankerCascade


def candidates(*scores: tuple[str, float]) -> list[Candidate]:
    return [
        Candidate(number, Passage(doc_id, f"passage {number}"), score)
        for number, (doc_id, score) in enumerate(scores)
    ]


def scores(*values: float) -> Scores:
    return Scores(np.array(values, np.float32), np.zeros(len(values), np.bool_))


def ids(hits: list[Hit]) -> list[str]:
    return [hit.passage.doc_id for hit in hits]


class Plain(ResolvedReranker):
    """A reranker without a measured blend, which is never loaded."""

    identity = "plain"

    def load(self, settings: EngineSettings, reporter: Reporter, loaded: Loaded) -> Reranker:
        raise NotImplementedError


class Measured(Plain):
    """A reranker that was measured best with a blend."""

    blend = 0.6


THREE = candidates(("a", 0.9), ("b", 0.5), ("c", 0.1))


def test_the_reranker_decides_and_the_retrieval_rank_is_kept() -> None:
    hits = rank(THREE, scores(1, 2, 3), SearchOptions())
    assert ids(hits) == ["c", "b", "a"]
    assert [hit.retrieval_rank for hit in hits] == [3, 2, 1]
    assert [hit.score for hit in hits] == [3, 2, 1]
    assert hits[0].rerank_score is None


def test_without_a_reranker_retrieval_decides() -> None:
    hits = rank(THREE, None, SearchOptions())
    assert [(hit.score, hit.retrieval_score) for hit in hits] == [
        (0.9, 0.9),
        (0.5, 0.5),
        (0.1, 0.1),
    ]


def test_a_blend_mixes_standardised_scores_and_keeps_the_raw_one() -> None:
    hits = rank(THREE, scores(10, 30, 20), SearchOptions(blend=0.25))
    first, second = standardised([0.9, 0.5, 0.1]), standardised([10, 30, 20])
    expected = {
        doc_id: (0.25 * a + 0.75 * b, raw)
        for doc_id, a, b, raw in zip("abc", first, second, [10, 30, 20], strict=True)
    }
    for hit in hits:
        score, raw = expected[hit.passage.doc_id]
        assert hit.score == pytest.approx(score)
        assert hit.rerank_score == raw
    assert ids(rank(THREE, scores(10, 30, 20), SearchOptions(blend=1.0))) == ["a", "b", "c"]


def test_a_blend_of_auto_is_that_of_the_last_reranker() -> None:
    measured, plain = Measured("measured"), Plain("plain")
    auto, given = SearchOptions(), SearchOptions(blend=0.25)
    assert RerankerCascade(measured).blended(auto, "hybrid").blend == 0.6
    assert RerankerCascade(measured, [(plain, 3)]).blended(auto, "hybrid").blend == 0.6
    assert RerankerCascade(plain, [(measured, 3)]).blended(auto, "hybrid").blend == 0.0
    assert RerankerCascade(measured).blended(auto, "hybrid expanded").blend == 0.6
    assert RerankerCascade(measured).blended(auto, "bm25").blend == 0.0
    assert RerankerCascade(measured).blended(given, "bm25") is given
    # Without a reranker nothing is blended.
    assert rank(THREE, scores(10, 30, 20), auto)[0].score == 30
    assert find_reranker("embedded", offline=True, reporter=Silence()).blend == 0.7


@pytest.mark.parametrize("blend", [-0.1, 1.1, math.nan, "half"])
def test_a_blend_is_a_share_or_auto(blend: float | str) -> None:
    with pytest.raises(InvalidArgumentError, match="blend .* 1$"):
        SearchOptions(blend=blend)


def test_a_document_counts_once_by_its_best_passage() -> None:
    found = candidates(("a", 0.9), ("a", 0.8), ("b", 0.7), ("b", 0.1))
    hits = rank(found, scores(1, 2, 0, 3), SearchOptions())
    assert [(hit.passage.doc_id, hit.passage_id) for hit in hits] == [("b", 3), ("a", 1)]
    assert [hit.retrieval_rank for hit in hits] == [2, 1]
    assert len(rank(found, scores(1, 2, 0, 3), SearchOptions(by="passage"))) == 4


def test_equal_scores_are_ordered_by_doc_id() -> None:
    found = candidates(("c", 0.5), ("a", 0.5), ("b", 0.5))
    assert ids(rank(found, scores(1, 1, 1), SearchOptions())) == ["a", "b", "c"]


def test_min_score_and_top_k_cut_the_list() -> None:
    assert ids(rank(THREE, scores(1, 2, 3), SearchOptions(min_score=2))) == ["c", "b"]
    assert ids(rank(THREE, scores(1, 2, 3), SearchOptions(top_k=1))) == ["c"]
    assert rank([], scores(), SearchOptions()) == []


@given(st.permutations(range(8)), st.sampled_from([0.0, 0.3]), st.integers(0, 99))
def test_the_order_of_the_candidates_changes_nothing(
    order: list[int], blend: float, seed: int
) -> None:
    rng = random.Random(seed)
    found = candidates(*((rng.choice("abcd"), rng.choice([0.1, 0.2])) for _ in range(8)))
    values = [rng.choice([1.0, 2.0]) for _ in range(8)]
    options = SearchOptions(blend=blend, by="passage")
    straight = rank(found, scores(*values), options)
    shuffled = rank([found[at] for at in order], scores(*(values[at] for at in order)), options)
    assert [hit.passage_id for hit in straight] == [hit.passage_id for hit in shuffled]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_standardised_scores_have_mean_0_and_deviation_1(values: list[float]) -> None:
    done = np.array(standardised(values))
    if np.ptp(values) > 1e-3:
        assert abs(done.mean()) < 1e-6
        assert done.std() == pytest.approx(1, abs=1e-6)
