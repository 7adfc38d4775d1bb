"""Systems are compared query by query, and the sentences agree with the numbers."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from ettin_cli.errors import CorpusError
from ettin_cli.evaluation.comparing import compare, correction, gains, recommended_blend, verdicts
from ettin_cli.evaluation.measuring import judged_queries, measure_runs
from ettin_cli.evaluation.metrics import parse_metrics
from ettin_cli.evaluation.output_folder import file_name, write_evaluation
from ettin_cli.evaluation.results import Comparison, Evaluation, Gains, Measured, System
from ettin_cli.evaluation.rows import shown_rows, summary, system_rows
from ettin_cli.files.trec import read_run
from ettin_cli.records import Query

NDCG = "nDCG@10"
METRICS = parse_metrics("nDCG@10,RR@10")


def measured(system: System, *values: float, seconds: float | None = 0.5) -> Measured:
    by_query = {f"q{number}": value for number, value in enumerate(values)}
    return Measured(system, {NDCG: by_query}, {q: [("a", 1.0)] for q in by_query}, seconds)


def comparison(
    depth: int | None,
    gain: float,
    *,
    p: float = 0.001,
    blend: float = 0.0,
    reranker: str = "32m",
    needed: int | None = None,
) -> Comparison:
    system = System(reranker, depth, blend)
    return Comparison(
        system, NDCG, gain, (gain - 0.02, gain + 0.02), p, 41, 18, 6, queries_needed=needed
    )


def said(rows: list[Comparison], first: str = "none") -> list[str]:
    return verdicts(Gains(rows), first)


def test_a_comparison_counts_and_averages_the_queries() -> None:
    baseline = measured(System(), 0.5, 0.5, 0.5, 0.2)
    better = measured(System("a", 10), 0.7, 0.5, 0.4, 0.8)
    [found] = compare([(baseline, better)], NDCG)
    assert found.gain == pytest.approx((0.2 + 0 - 0.1 + 0.6) / 4)
    assert (found.better, found.worse, found.same) == (2, 1, 1)
    assert found.interval[0] <= found.gain <= found.interval[1]
    # Of the eight sign patterns of three differences, +++, ---, and the two with only the smallest
    # flipped are as extreme: 4 of 8.
    assert found.p == pytest.approx(0.5)


def test_no_systems_are_compared_with_nothing() -> None:
    found = gains([measured(System(), 0.5)], NDCG)
    assert (found.over_alone, found.over_first) == ([], ())
    assert verdicts(found, "none") == []
    assert correction(found) is None


DENSE = measured(System(retriever="dense"), 0.2, 0.4, 0.1, 0.5, 0.3, 0.2)
DENSE_32M = measured(System("32m", 50, retriever="dense"), 0.4, 0.5, 0.4, 0.6, 0.5, 0.5)
HYBRID = measured(System(retriever="hybrid"), 0.6, 0.7, 0.4, 0.6, 0.5, 0.7)
HYBRID_32M = measured(System("32m", 50, retriever="hybrid"), 0.5, 0.6, 0.5, 0.5, 0.5, 0.6)
SWEPT = [DENSE, DENSE_32M, HYBRID, HYBRID_32M]


def mean_difference(before: Measured, after: Measured) -> float:
    old, new = (list(one.values[NDCG].values()) for one in (before, after))
    return float(np.mean(new) - np.mean(old))


def test_reranking_is_compared_with_its_own_retriever_and_all_with_the_first() -> None:
    found = gains(SWEPT, NDCG)
    over_dense, none, over_hybrid = found.over_alone
    assert none is None
    assert over_dense is not None
    assert over_hybrid is not None
    assert over_dense.gain == pytest.approx(mean_difference(DENSE, DENSE_32M))
    assert over_hybrid.gain == pytest.approx(mean_difference(HYBRID, HYBRID_32M))
    assert (over_hybrid.better, over_hybrid.worse, over_hybrid.same) == (1, 4, 1)
    assert [one.system for one in found.over_first] == [one.system for one in SWEPT[1:]]
    assert [one.gain for one in found.over_first] == pytest.approx(
        [mean_difference(DENSE, one) for one in SWEPT[1:]]
    )
    assert over_hybrid.gain < 0 < found.over_first[2].gain
    # Each of six differences has the same sign: 2 of 64 flips are as extreme.
    assert over_dense.p == pytest.approx(2 / 64)


def test_each_verdict_names_the_retriever_that_it_is_about() -> None:
    helps, unsure, better = verdicts(gains(SWEPT, NDCG), "dense")
    assert helps.startswith("reranking with 32m over dense helps on your data: +0.200 nDCG@10 [")
    assert unsure.startswith(
        "reranking with 32m over hybrid has no significant effect on 6 queries: -0.05"
    )
    assert better.startswith("hybrid is better than dense: +0.300 nDCG@10 [")


def test_what_several_comparisons_are_corrected_for_is_said() -> None:
    said = correction(gains(SWEPT, NDCG)) or ""
    assert said.startswith(
        "95 % intervals and p are corrected for the number of comparisons (2 comparisons with the "
        "same retriever alone, 3 comparisons with the first retriever)"
    )
    assert correction(gains(SWEPT[:2], NDCG)) is None


def test_one_retriever_is_compared_with_itself_alone() -> None:
    found = gains(SWEPT[:2], NDCG)
    assert (len(found.over_alone), found.over_first) == (1, ())


def test_help_is_told_with_its_size_and_how_deep_it_needs_to_go() -> None:
    rows = [comparison(10, 0.020), comparison(30, 0.029), comparison(100, 0.031)]
    assert said(rows) == [
        "reranking with 32m helps on your data: +0.031 nDCG@10 [0.011, 0.051], 41 queries better, "
        "18 worse; 30 candidates already give 94 % of the gain"
    ]


def test_harm_is_told_as_plainly_and_a_blend_that_does_better_is_named() -> None:
    rows = [comparison(50, -0.1), comparison(50, 0.01, blend=0.5)]
    assert said(rows) == [
        "reranking with 32m hurts on your data: -0.100 nDCG@10 [-0.120, -0.080], 41 queries "
        "better, 18 worse; blend 0.5 gives +0.010"
    ]


def test_auto_is_recommended_unless_another_blend_is_clearly_better() -> None:
    system = System("32m", 50, 0.7, "hybrid")
    assert recommended_blend(system, {0.0: 0.5, 0.3: 0.5025, 0.7: 0.5}, "RR@10") == (
        "recommended blend for hybrid with 32m: auto: 0.500 RR@10 with auto, which is 0.7"
    )
    assert recommended_blend(system, {0.0: 0.5, 0.3: 0.504, 0.5: 0.504, 0.7: 0.5}, "RR@10") == (
        "recommended blend for hybrid with 32m: 0.5: 0.504, the highest of 0, 0.3, 0.5, 0.7 on "
        "these queries; 0.500 RR@10 with auto, which is 0.7"
    )


def test_too_few_queries_are_said_to_be_too_few() -> None:
    assert said([comparison(50, 0.01, p=0.3, needed=1200)]) == [
        "reranking with 32m has no significant effect on 65 queries: +0.010 nDCG@10 "
        "[-0.010, 0.030], 41 queries better, 18 worse; "
        "a significant result would need about 1,200 queries"
    ]
    assert "needs" not in said([comparison(50, 0.0, p=1.0)])[0]


def test_each_reranker_has_a_verdict_in_the_order_asked_for() -> None:
    rows = [comparison(50, 0.1, reranker="b"), comparison(50, -0.1, reranker="a")]
    assert [verdict.split()[2] for verdict in said(rows)] == ["b", "a"]


def test_runs_are_compared_with_the_first_by_name() -> None:
    [verdict] = said([replace(comparison(None, -0.1), system=System(run="b.trec"))], "a.trec")
    assert verdict.startswith("b.trec is worse than a.trec: -0.100 nDCG@10")
    [verdict] = said([replace(comparison(None, 0.1, p=0.2), system=System(run="b"))], "a")
    assert verdict.startswith("b does not differ significantly from a on 65 queries")


def test_what_changes_nothing_is_not_left_open() -> None:
    alike = replace(comparison(50, 0.0, p=1.0), better=0, worse=0)
    assert said([alike]) == ["reranking with 32m changes no query's nDCG@10"]
    run = replace(alike, system=System(run="b.trec"))
    assert said([run], "a.trec") == ["b.trec has the same nDCG@10 as a.trec for every query"]


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(-1, 1), st.floats(0, 1)), min_size=1))
def test_any_rows_have_one_verdict_a_reranker(rows: list[tuple[int, float, float]]) -> None:
    found = said([comparison(depth, gain, p=p, needed=9) for depth, gain, p in rows])
    assert len(found) == 1
    assert "nan" not in found[0]


QUERIES = [Query("a b", "first"), Query("2", "second"), Query("3", "third")]


def test_only_judged_queries_are_asked_and_the_others_are_counted() -> None:
    kept, qrels, notes = judged_queries(QUERIES, {"a%20b": {"d": 1}, "2": {"d": 1}, "9": {"d": 1}})
    assert [query.query_id for query in kept] == ["a%20b", "2"]
    assert list(qrels) == ["a%20b", "2"]
    assert notes == [
        "1 of 3 queries have no judgements and are skipped",
        "1 judged queries are not among the queries and are skipped",
    ]


def test_no_judged_query_at_all_is_an_error() -> None:
    with pytest.raises(CorpusError, match="none of the 3 queries has judgements"):
        judged_queries(QUERIES, {"x": {"d": 1}})


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    texts = {
        "a.trec": "q1 Q0 d1 1 2 t\nq1 Q0 d2 2 1 t\nq2 Q0 d9 1 1 t\n",
        "b.trec": "q1 Q0 d2 1 2 t\nq1 Q0 d1 2 1 t\nq7 Q0 d9 1 1 t\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in texts]


def test_runs_of_any_tool_are_measured(runs: list[Path]) -> None:
    qrels = {"q1": {"d2": 1}, "q2": {"d9": 1}}
    found = measure_runs(runs, qrels, METRICS, [Query("q1", "the first")])
    assert found.baseline.values["RR@10"] == {"q1": 0.5, "q2": 1.0}
    assert found.systems[0].values["RR@10"] == {"q1": 1.0, "q2": 0.0}
    assert found.queries == {"q1": "the first", "q2": "q2"}
    assert found.baseline.seconds is None
    assert found.notes == [
        "1 judged queries are not in b.trec and count as 0",
        "1 queries of b.trec have no judgements and are skipped",
    ]


def test_runs_of_the_same_name_are_told_apart_by_their_folders(
    runs: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    other = tmp_path / "more" / "a.trec"
    other.write_text(runs[1].read_text())
    found = measure_runs([runs[0], other], {"q1": {"d2": 1}}, METRICS)
    assert found.systems[0].system.run == str(other)


def evaluation(*, seconds: float | None = 0.5) -> Evaluation:
    baseline = measured(System(), 0.5, 0.25, seconds=seconds)
    systems = [measured(System("32m", 50, 0.2), 0.75, 0.25, seconds=seconds)]
    return Evaluation(
        name="mine",
        metrics=[NDCG],
        queries={"q0": "first", "q1": "second"},
        qrels={"q0": {"a": 1}, "q1": {"b": 1}},
        baseline=baseline,
        systems=systems,
        gains={NDCG: gains([baseline, *systems], NDCG)},
        verdicts=["it helps"],
        notes=["one left out"],
    )


def test_a_row_has_what_applies_to_its_system() -> None:
    first, second = system_rows(evaluation())
    assert (first["reranker"], first[NDCG], first["gain"], first["p"]) == (
        "none",
        0.375,
        None,
        None,
    )
    assert (second["candidates"], second["blend"], second["gain"]) == (50, 0.2, 0.125)
    assert (second["better"], second["worse"], second["same"]) == (1, 0, 1)
    assert json.loads(json.dumps(summary(evaluation())))["verdicts"] == ["it helps"]


def swept(*metrics: str) -> Evaluation:
    """Return an evaluation over two retrievers, whose other metrics are half of the first."""
    every = [
        replace(
            one,
            values={
                metric: {q: value / (at + 1) for q, value in one.values[NDCG].items()}
                for at, metric in enumerate([NDCG, *metrics])
            },
        )
        for one in SWEPT
    ]
    baseline, *systems = every
    return Evaluation(
        name="mine",
        metrics=[NDCG, *metrics],
        queries=dict.fromkeys(baseline.values[NDCG], "what"),
        qrels={query_id: {"a": 1} for query_id in baseline.values[NDCG]},
        baseline=baseline,
        systems=systems,
        gains={metric: gains(every, metric) for metric in [NDCG, *metrics]},
        retrievers=["dense", "hybrid"],
    )


def test_rows_have_the_gains_of_every_metric_over_the_same_retriever_and_over_the_first() -> None:
    rows = system_rows(swept("RR@10"))
    keys = ("gain", "gain_low", "gain_high", "p")
    assert [row["retriever"] for row in rows] == ["dense", "dense", "hybrid", "hybrid"]
    assert [row["gain"] is None for row in rows] == [True, False, True, False]
    assert [row["gain_over_first"] is None for row in rows] == [True, False, False, False]
    row = rows[3]
    assert row["gain"] == pytest.approx(mean_difference(HYBRID, HYBRID_32M))
    assert row["gain_over_first"] == pytest.approx(mean_difference(DENSE, HYBRID_32M))
    for name in ("gain", "gain_over_first"):
        ends = (f"{name}_low", f"{name}_high")
        for key in (name, *ends):
            assert row[f"RR@10_{key}"] == pytest.approx(row[key] / 2)
    assert (row["RR@10_p"], row["RR@10_p_over_first"]) == (row["p"], row["p_over_first"])
    assert all({f"RR@10_{key}" for key in keys} <= row.keys() for row in rows)
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert not any("first" in key for row in system_rows(evaluation()) for key in row)


def test_a_run_is_called_a_run_and_not_a_reranker(runs: list[Path], tmp_path: Path) -> None:
    found = measure_runs(runs, {"q1": {"d2": 1}, "q2": {"d9": 1}}, METRICS)
    rows = system_rows(found)
    assert [row["run"] for row in rows] == ["a.trec", "b.trec"]
    for row in rows:
        assert [row[key] for key in ("retriever", "reranker", "candidates", "blend")] == [None] * 4
    assert rows[1]["RR@10_gain"] == pytest.approx(((1 - 0.5) + (0 - 1)) / 2)
    headers, cells = shown_rows(found)
    assert headers[:3] == ["run", NDCG, "RR@10"]
    assert [row[0] for row in cells] == ["a.trec", "b.trec"]
    write_evaluation(tmp_path / "out", found, ())
    values = pq.read_table(tmp_path / "out" / "queries.parquet").to_pylist()
    assert [(row["run"], row["reranker"]) for row in values] == [
        *[("a.trec", None)] * 2,
        *[("b.trec", None)] * 2,
    ]


def test_the_table_names_each_retriever_and_has_a_column_for_the_first() -> None:
    headers, rows = shown_rows(swept())
    assert headers == [
        *("retriever", "reranker", "depth", NDCG, "gain", "95 % interval", "p", "over dense"),
        *("better/worse", "s/query"),
    ]
    named = [dict(zip(headers, row, strict=True)) for row in rows]
    assert [row["gain"] for row in named] == ["", "+0.200", "", "-0.050"]
    assert [row["over dense"] for row in named] == ["", "+0.200", "+0.300", "+0.250"]
    assert [row["better/worse"] for row in named] == ["", "6/0", "", "1/4"]


def test_retrievers_alone_are_shown_with_interval_and_p_over_the_first() -> None:
    whole = swept()
    found = gains([DENSE, HYBRID], NDCG)
    alone = replace(whole, systems=[HYBRID], gains={NDCG: found})
    headers, (_, row) = shown_rows(alone)
    assert headers == [
        *("retriever", "reranker", NDCG, "over dense", "95 % interval", "p", "s/query")
    ]
    low, high = found.over_first[0].interval
    assert row[3:6] == ["+0.300", f"{low:+.3f} {high:+.3f}", "0.031"]


def test_a_difference_that_rounds_to_0_keeps_its_side() -> None:
    whole = swept()
    [one, *others] = whole.gains[NDCG].over_alone
    assert one is not None
    tiny = replace(one, gain=0.0002, interval=(0.0, 0.0004), p=0.00012)
    shown = replace(whole, gains={NDCG: replace(whole.gains[NDCG], over_alone=[tiny, *others])})
    headers, rows = shown_rows(shown)
    row = dict(zip(headers, rows[1], strict=True))
    assert (row["gain"], row["95 % interval"], row["p"]) == ("+0.000", "0.000 +0.000", "<.001")


def test_the_table_leaves_out_what_no_row_has() -> None:
    headers, rows = shown_rows(evaluation(seconds=None))
    assert "s/query" not in headers
    assert [len(row) for row in rows] == [len(headers)] * 2
    assert rows[1][headers.index("gain")] == "+0.125"


def test_the_files_of_a_measurement_read_back(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "out", evaluation(), ())
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert names == [
        "out/queries.csv",
        "out/queries.parquet",
        "out/report.html",
        "out/runs/32m-50-candidates-blend-0.2.trec",
        "out/runs/none.trec",
    ]
    rows = pq.read_table(tmp_path / "out" / "queries.parquet").to_pylist()
    with (tmp_path / "out" / "queries.csv").open(newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert cells == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in rows
    ]
    assert [row[NDCG] for row in rows] == [0.5, 0.25, 0.75, 0.25]
    assert rows[2] == {
        "query_id": "q0",
        "retriever": None,
        "reranker": "32m",
        "candidates": 50,
        "blend": 0.2,
        NDCG: 0.75,
    }
    assert read_run(tmp_path / "out" / "runs" / "none.trec") == {
        q: {"a": 1.0} for q in ("q0", "q1")
    }
    assert "it helps" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_files_name_the_retriever_where_there_are_several(tmp_path: Path) -> None:
    write_evaluation(tmp_path, swept(), ())
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        *("dense-with-32m-50-candidates.trec", "dense.trec"),
        *("hybrid-with-32m-50-candidates.trec", "hybrid.trec"),
    ]
    values = pq.read_table(tmp_path / "queries.parquet").to_pylist()
    assert [row["retriever"] for row in values] == ["dense"] * 12 + ["hybrid"] * 12
    named = System("32m", 50, retriever="hybrid")
    one = evaluation()
    write_evaluation(
        tmp_path / "one",
        replace(one, systems=[replace(one.systems[0], system=named)], retrievers=["hybrid"]),
        (),
    )
    names = {path.name for path in (tmp_path / "one" / "runs").iterdir()}
    assert names == {"none.trec", "32m-50-candidates.trec"}


def test_systems_of_equal_names_do_not_share_a_file(tmp_path: Path) -> None:
    one = evaluation()
    systems = [*one.systems, *one.systems]
    twice = replace(one, systems=systems, gains={NDCG: gains([one.baseline, *systems], NDCG)})
    write_evaluation(tmp_path, twice, ())
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "32m-50-candidates-blend-0.2-2.trec",
        "32m-50-candidates-blend-0.2.trec",
        "none.trec",
    ]


def test_a_system_is_named_as_a_file_can_be() -> None:
    assert file_name(System("../a/b c", 5)) == "a-b-c-5-candidates"
