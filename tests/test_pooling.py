"""A pool holds the systems' top documents in an order that does not reveal the systems."""

import random

import pytest
from hypothesis import given, strategies as st

from ettin_cli.evaluation.pooling import pool

IDS = st.text(max_size=3)
RUNS = st.lists(st.dictionaries(IDS, st.lists(IDS, max_size=8), max_size=4), max_size=4)
Runs = list[dict[str, list[str]]]


@given(RUNS, st.integers(1, 9))
def test_a_pool_is_the_union_of_what_is_at_the_top(runs: Runs, depth: int) -> None:
    expected: dict[str, set[str]] = {}
    for run in runs:
        for query_id, doc_ids in run.items():
            top: list[str] = []
            for doc_id in doc_ids:
                if len(top) < depth and doc_id not in top:
                    top.append(doc_id)
            expected[query_id] = expected.get(query_id, set()) | set(top)
    pooled = pool(runs, depth)
    assert {query_id: set(doc_ids) for query_id, doc_ids in pooled.items()} == expected
    assert all(len(set(doc_ids)) == len(doc_ids) for doc_ids in pooled.values())
    assert list(pooled) == sorted(expected)


@given(RUNS, st.integers(1, 9), st.randoms(use_true_random=False))
def test_the_order_depends_neither_on_systems_nor_on_ranks(
    runs: Runs, depth: int, rng: random.Random
) -> None:
    pooled = pool(runs, depth)
    mixed = []
    for run in rng.sample(runs, len(runs)):
        top = {query_id: [*dict.fromkeys(doc_ids)][:depth] for query_id, doc_ids in run.items()}
        mixed.append({query_id: rng.sample(top[query_id], len(top[query_id])) for query_id in top})
    assert list(pool(mixed, depth).items()) == list(pooled.items())


@given(RUNS, RUNS, st.integers(1, 9))
def test_documents_keep_their_order_when_systems_join(runs: Runs, more: Runs, depth: int) -> None:
    before, after = pool(runs, depth), pool([*runs, *more], depth)
    for query_id, doc_ids in before.items():
        assert [doc_id for doc_id in after[query_id] if doc_id in doc_ids] == doc_ids


def test_the_order_is_not_that_of_the_ids_and_differs_between_queries() -> None:
    doc_ids = [f"d{number:02}" for number in range(40)]
    pooled = pool([{"q1": doc_ids, "q2": doc_ids}], depth=40)
    assert pooled["q1"] != doc_ids
    assert pooled["q1"] != pooled["q2"]
    assert pooled["q1"][:4] == ["d34", "d31", "d18", "d09"]  # by sha256sum of "q1 d34"


def test_a_pool_without_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="depth 0 is below 1"):
        pool([{"q": ["a"]}], depth=0)
