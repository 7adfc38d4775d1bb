"""Every metric equals trec_eval's, ties included, and agrees with its definition."""

import json
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import example, given, strategies as st

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import InvalidArgumentError
from ettin_cli.evaluation.metrics import (
    KINDS,
    Coverage,
    Metric,
    coverage,
    evaluate,
    ordered,
    parse_metrics,
)
from ettin_cli.files.trec import read_qrels
from ettin_cli.records import Qrels, Run

COLLECTIONS = Path(__file__).parents[1].parent / "shared" / "collections"

# Names of metrics in trec_eval.
ORACLE = {
    "nDCG": "ndcg",
    "nDCG@1": "ndcg_cut_1",
    "nDCG@3": "ndcg_cut_3",
    "nDCG@10": "ndcg_cut_10",
    "RR": "recip_rank",
    "RR(rel=2)": "recip_rank",
    "AP": "map",
    "AP@5": "map_cut_5",
    "AP(rel=2)": "map",
    "AP(rel=2)@100": "map_cut_100",
    "P@1": "P_1",
    "P@10": "P_10",
    "P(rel=2)@10": "P_10",
    "R@3": "recall_3",
    "R@100": "recall_100",
    "R(rel=2)@100": "recall_100",
    "Success@1": "success_1",
    "Success@5": "success_5",
    "Success(rel=2)@5": "success_5",
}
METRICS = [Metric.parse(name) for name in ORACLE]


def trec_eval(run: Run, qrels: Qrels, names: set[str], rel: int) -> dict[str, dict[str, float]]:
    """Return trec_eval's values by query; it leaves out judged queries that the run lacks."""
    whole = {query_id: dict(run.get(query_id, {})) for query_id in qrels}
    judged = {query_id: dict(levels) for query_id, levels in qrels.items()}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, names, relevance_level=rel)
    values: dict[str, dict[str, float]] = evaluator.evaluate(whole)
    return values


def largest_difference(run: Run, qrels: Qrels) -> float:
    found = evaluate(run, qrels, METRICS)
    names = set(ORACLE.values())
    expected = {rel: trec_eval(run, qrels, names, rel) for rel in (1, 2)}
    return max(
        abs(found[metric][query_id] - expected[metric.rel][query_id][name])
        for metric, name in zip(METRICS, ORACLE.values(), strict=True)
        for query_id in qrels
    )


def value(name: str, run: Mapping[str, float], judged: Mapping[str, int]) -> float:
    return evaluate({"q": run}, {"q": judged}, [Metric.parse(name)])[Metric.parse(name)]["q"]


def listed(documents: Iterable[str]) -> dict[str, float]:
    """Return scores that order documents, each a letter of a string."""
    return {doc_id: -float(rank) for rank, doc_id in enumerate(documents)}


# Against trec_eval, on runs of public collections


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def texts(path: Path) -> dict[str, list[str]]:
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {one["_id"]: words(f"{one.get('title', '')} {one['text']}") for one in records}


def retrieved(folder: Path, weigh: Callable[[int, float, float], float]) -> Run:
    """Return the top 200 documents per query by the sum of weights of shared words.

    A word's weight depends on its count, its rarity, and the document's length over the mean. The
    commonest words take most of the time and matter least, so they are left out.
    """
    corpus, queries = texts(folder / "corpus.jsonl"), texts(folder / "queries.jsonl")
    mean = sum(map(len, corpus.values())) / len(corpus)
    postings: dict[str, list[tuple[str, float]]] = defaultdict(list)
    counts = {doc_id: Counter(text) for doc_id, text in corpus.items()}
    held = Counter(word for count in counts.values() for word in count)
    for doc_id, count in counts.items():
        for word, times in count.items():
            if held[word] > len(corpus) / 8:
                continue
            rarity = math.log(1 + (len(corpus) - held[word] + 0.5) / (held[word] + 0.5))
            weight = weigh(times, rarity, len(corpus[doc_id]) / mean)
            postings[word].append((doc_id, weight))
    run = {}
    for query_id, query in queries.items():
        scores: dict[str, float] = defaultdict(float)
        for word in query:
            for doc_id, weight in postings[word]:
                scores[doc_id] += weight
        run[query_id] = dict(Counter(scores).most_common(200))
    return run


def bm25(times: int, rarity: float, length: float) -> float:
    return rarity * times * 1.9 / (times + 0.9 * (0.6 + 0.4 * length))


def overlap(times: int, _rarity: float, _length: float) -> float:
    """Count shared words, so that most documents are tied."""
    return 1.0


@pytest.mark.skipif(not COLLECTIONS.exists(), reason="needs the shared collections")
@pytest.mark.parametrize("weigh", [bm25, overlap])
@pytest.mark.parametrize(
    "name", ["cranfield", "medline", "time", "squad11_dev", "noveleval", "mediqa2019_rerank"]
)
def test_real_runs_have_trec_evals_values(
    name: str, weigh: Callable[[int, float, float], float]
) -> None:
    run, qrels = retrieved(COLLECTIONS / name, weigh), read_qrels(COLLECTIONS / name / "qrels.tsv")
    assert largest_difference(run, qrels) < 1e-9
    ndcg = evaluate(run, qrels, [Metric("nDCG", 10)])[Metric("nDCG", 10)]
    assert sum(ndcg.values()) > 0.1 * len(qrels)


# Against trec_eval, on runs with many ties

# Some are equal in float32 but not in float64; one exceeds the range of float32.
TIED = [1.0, 1.0 + 1e-9, 1.0 + 1e-7, 0.0, -0.0, 1e-46, -1.0, -1.0 - 1e-9, 3e38, 1e39, 1e300]
DOC_IDS = ["d", "d1", "d10", "d2", "D", "_", "é", "z", "\ufb01", "\U0001f600"]
RUNS = st.dictionaries(st.sampled_from(DOC_IDS), st.sampled_from(TIED))
# trec_eval does not terminate where every judgement is negative.
JUDGEMENTS = st.builds(
    lambda levels, one: {**levels, "judged": one},
    st.dictionaries(st.sampled_from(DOC_IDS), st.integers(-2, 4)),
    st.integers(0, 4),
)


@given(RUNS, JUDGEMENTS)
@example({"d": 1.0, "d1": 1.0 + 1e-9}, {"d": 1, "judged": 0})
@example({"\ufb01": 1.0, "\U0001f600": 1.0}, {"\ufb01": 1, "judged": 0})
def test_ties_have_trec_evals_order(scores: dict[str, float], judged: dict[str, int]) -> None:
    assert largest_difference({"q": scores}, {"q": judged}) < 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_long_random_runs_have_trec_evals_values(seed: int) -> None:
    rng = random.Random(seed)
    documents = [f"d{number}" for number in range(400)]
    run = {
        f"q{number}": {
            doc_id: rng.choice([rng.random(), rng.randrange(9) / 8, 0.5 + rng.random() * 1e-8])
            for doc_id in rng.sample(documents, rng.randrange(300))
        }
        for number in range(40)
    }
    qrels = {
        f"q{number}": {doc_id: rng.randrange(5) for doc_id in rng.sample(documents, 50)}
        for number in range(5, 45)
    }
    assert largest_difference(run, qrels) < 1e-9


@given(RUNS, JUDGEMENTS, st.integers(1, 5), st.integers(1, 3))
def test_rr_at_k_is_rr_of_the_run_cut_there(
    scores: dict[str, float], judged: dict[str, int], cutoff: int, rel: int
) -> None:
    with np.errstate(over="ignore"):
        order = sorted(scores, key=lambda doc_id: (np.float32(scores[doc_id]), doc_id))[::-1]
    cut = {"q": listed(order[:cutoff])}
    expected = trec_eval(cut, {"q": judged}, {"recip_rank"}, rel)["q"]["recip_rank"]
    assert value(f"RR(rel={rel})@{cutoff}", scores, judged) == expected


# By hand


def test_ndcg_takes_the_relevance_for_gain_and_all_that_is_judged_for_ideal() -> None:
    # Retrieved: 1 at rank 1 and 3 at rank 3, so 1/log2(2) + 3/log2(4) = 1 + 1.5 = 2.5.
    # Ideal: 3, 2, 1, the 2 not retrieved: 3/1 + 2/log2(3) + 1/2 = 3.5 + 2/1.5849625 = 4.7618595.
    judged = {"a": 1, "c": 3, "missed": 2, "b": 0}
    assert value("nDCG", listed("abc"), judged) == pytest.approx(2.5 / 4.7618595)
    # Up to rank 2: 1, of 3 + 1.2618595.
    assert value("nDCG@2", listed("abc"), judged) == pytest.approx(1 / 4.2618595)


def test_judged_is_the_share_of_what_is_seen_that_has_any_judgement() -> None:
    # In order: judged relevant, not judged, judged 0, judged -1, and nothing more.
    judged = {"a": 1, "c": 0, "d": -1, "elsewhere": 1}
    found = [value(f"Judged@{k}", listed("abcd"), judged) for k in (1, 2, 3, 4, 10)]
    assert found == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4, 3 / 4])
    assert value("Judged@10", {}, judged) == 0


def test_success_is_whether_one_relevant_document_is_seen() -> None:
    # b is relevant at rank 2, c more so at rank 3.
    judged = {"a": 0, "b": 1, "c": 2}
    assert [value(f"Success@{k}", listed("abc"), judged) for k in (1, 2, 3)] == [0, 1, 1]
    assert [value(f"Success(rel=2)@{k}", listed("abc"), judged) for k in (2, 3)] == [0, 1]


def test_precision_divides_by_k_and_recall_by_what_is_relevant() -> None:
    # Two of four relevant documents among three retrieved.
    judged = {"a": 1, "c": 1, "x": 1, "y": 3}
    assert value("P@10", listed("abc"), judged) == 0.2
    assert value("R@10", listed("abc"), judged) == 0.5
    assert value("R@2", listed("abc"), judged) == 0.25
    assert value("R(rel=3)@10", listed("abc"), judged) == 0


def test_average_precision_counts_what_is_missed_as_0() -> None:
    # Precision 1/1 at rank 1 and 2/3 at rank 3, one relevant document missed: (1 + 2/3 + 0) / 3.
    judged = {"a": 1, "c": 1, "x": 1}
    assert value("AP", listed("abc"), judged) == pytest.approx(5 / 9)
    assert value("AP@2", listed("abc"), judged) == pytest.approx(1 / 3)


@pytest.mark.parametrize("judged", [{}, {"a": 0}, {"a": -1, "b": -2}])
def test_a_query_without_relevant_documents_counts_as_0(judged: dict[str, int]) -> None:
    found = evaluate({"q": listed("ab")}, {"q": judged}, METRICS)
    assert found == {metric: {"q": 0.0} for metric in METRICS}


def test_the_judged_queries_are_what_is_measured() -> None:
    run = {"both": listed("a"), "nothing found": {}, "1": {}, "2": {}, "3": listed("a")}
    qrels = {"missing": {"a": 1}, "both": {"a": 1}, "nothing found": {"a": 1}}
    found = evaluate(run, qrels, [Metric("RR")])
    assert found == {Metric("RR"): {"missing": 0.0, "both": 1.0, "nothing found": 0.0}}
    assert list(found[Metric("RR")]) == list(qrels)
    assert coverage(run, qrels) == Coverage(measured=2, missing=1, unjudged=3)


def test_a_score_that_is_not_a_number_has_no_place() -> None:
    with pytest.raises(ValueError, match="NaN"):
        evaluate({"q": {"a": 1.0, "b": math.nan}}, {"q": {"a": 1}}, METRICS)


# Properties of any run

NAMES = [*ORACLE, "RR@2", "Judged@3", "Judged@10"]


@given(RUNS, JUDGEMENTS)
def test_values_lie_between_0_and_1_and_the_best_order_has_1(
    scores: dict[str, float], judged: dict[str, int]
) -> None:
    values = [value(name, scores, judged) for name in NAMES]
    assert all(0 <= one <= 1 for one in values)
    if max(judged.values()) > 0:
        ideal = {doc_id: float(level) for doc_id, level in judged.items()}
        assert [value(name, ideal, judged) for name in ("nDCG", "nDCG@3", "AP", "RR")] == [1] * 4


@given(RUNS, JUDGEMENTS, st.randoms())
def test_the_order_in_which_a_run_is_held_changes_nothing(
    scores: dict[str, float], judged: dict[str, int], rng: random.Random
) -> None:
    shuffled = dict(rng.sample(list(scores.items()), len(scores)))
    rejudged = dict(rng.sample(list(judged.items()), len(judged)))
    assert ordered(shuffled) == ordered(scores)
    assert [value(name, shuffled, rejudged) for name in NAMES] == [
        value(name, scores, judged) for name in NAMES
    ]


@given(RUNS, JUDGEMENTS, st.integers(1, 8))
def test_a_deeper_look_never_lowers_recall_or_success(
    scores: dict[str, float], judged: dict[str, int], cutoff: int
) -> None:
    for name in ("R", "Success", "RR", "AP"):
        deeper = value(f"{name}@{cutoff + 1}", scores, judged)
        assert value(f"{name}@{cutoff}", scores, judged) <= deeper


# Names


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_gives_its_name_back(name: str) -> None:
    assert str(Metric.parse(name)) == name


def test_the_least_relevance_is_1_and_then_not_said() -> None:
    assert str(Metric.parse("P(rel=1)@10")) == "P@10"
    assert Metric.parse("AP(rel=1)") == Metric("AP")


def test_a_list_of_metrics_is_read_with_commas_each_once() -> None:
    assert parse_metrics("nDCG@10, RR@10,AP,nDCG@10,P(rel=2)@5") == [
        Metric("nDCG", 10),
        Metric("RR", 10),
        Metric("AP"),
        Metric("P", 5, rel=2),
    ]


@pytest.mark.parametrize(
    ("names", "metric"),
    [
        ("ndcg@10 NDCG@10 ndcg_cut_10 ndcg_cut.10 nDCG_10", "nDCG@10"),
        ("MRR mrr recip_rank mean_reciprocal_rank rr", "RR"),
        ("MRR@10 mrr_10 mrr_cut_10 RR@10", "RR@10"),
        ("MAP map ap mean_average_precision", "AP"),
        ("MAP@100 map_cut_100 map_cut.100 AP@100", "AP@100"),
        ("Recall@100 recall_100 recall.100 r@100", "R@100"),
        ("Precision@5 P_5 P.5 p@5", "P@5"),
        ("success_1 Hit@1 hits@1 HitRate@1 hit_rate@1", "Success@1"),
        ("Precision(rel=2)@5 p(rel=2)@5", "P(rel=2)@5"),
    ],
)
def test_names_of_other_tools_are_shown_as_ir_measures_has_them(names: str, metric: str) -> None:
    assert [str(Metric.parse(name)) for name in names.split()] == [metric] * len(names.split())
    assert list(map(str, parse_metrics(",".join(names.split())))) == [metric]


BAD_NAMES = (
    "MRP@10 ndcg_cut nDCG@ nDCG@0 nDCG@ten nDCG@-1 P R Success Judged P(rel=0)@5 P(rel=2) P()@5 "
    "P(rel=2@5 nDCG(rel=2)@10 Judged(rel=2)@10 P@5(rel=2) AP(gains=2) P@10@5 P@1_0 P@1٠"
)


@pytest.mark.parametrize("name", ["", "nDCG@10 ", *BAD_NAMES.split()])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Metric.parse(name)
    assert all(kind in (hint_of(caught.value) or "") for kind in KINDS)


def test_all_bad_names_are_told_at_once_with_what_is_known() -> None:
    with pytest.raises(
        InvalidArgumentError, match=re.escape("unknown metric 'MRP@10', 'P', ''")
    ) as caught:
        parse_metrics("nDCG@10,MRP@10,AP,P,")
    assert "Success@k" in (hint_of(caught.value) or "")
