"""Systems are compared query by query, and the words say what the numbers do."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ettin_cli.errors import CorpusError
from ettin_cli.evaluation.comparing import compare, verdicts
from ettin_cli.evaluation.files import file_name, write_evaluation
from ettin_cli.evaluation.measuring import judged_queries, measure_runs
from ettin_cli.evaluation.results import Comparison, Evaluation, Measured, System
from ettin_cli.evaluation.rows import shown_rows, summary, system_rows
from ettin_cli.metrics import parse_metrics
from ettin_cli.records import Query
from ettin_cli.trec import read_run

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


def test_a_comparison_counts_and_averages_the_queries() -> None:
    baseline = measured(System(), 0.5, 0.5, 0.5, 0.2)
    better = measured(System("a", 10), 0.7, 0.5, 0.4, 0.8)
    [found] = compare(baseline, [better], NDCG)
    assert found.gain == pytest.approx((0.2 + 0 - 0.1 + 0.6) / 4)
    assert (found.better, found.worse, found.same) == (2, 1, 1)
    assert found.interval[0] <= found.gain <= found.interval[1]
    # Three differences have eight signs, of which +++, ---, and the two with only the smallest
    # turned reach as far: 4 of 8.
    assert found.p == pytest.approx(0.5)


def test_more_systems_make_each_p_more_careful() -> None:
    baseline = measured(System(), *[0.2] * 12)
    better = [measured(System("a", depth), *[0.3] * 12) for depth in (10, 20)]
    alone = compare(baseline, better[:1], NDCG)[0].p
    both = [found.p for found in compare(baseline, better, NDCG)]
    assert alone == pytest.approx(2 / 2**12)
    assert both == pytest.approx([2 * alone, 2 * alone])


def test_no_systems_are_compared_with_nothing() -> None:
    assert compare(measured(System(), 0.5), [], NDCG) == []
    assert verdicts([]) == []


def test_help_is_told_with_its_size_and_how_deep_it_needs_to_go() -> None:
    rows = [comparison(10, 0.020), comparison(30, 0.029), comparison(100, 0.031)]
    assert verdicts(rows) == [
        "reranking with 32m helps your data: +0.031 nDCG@10 [0.011, 0.051], 41 queries better, "
        "18 worse; 30 candidates give 94 % of it"
    ]


def test_harm_is_told_as_plainly_and_a_blend_that_does_better_is_named() -> None:
    rows = [comparison(50, -0.1), comparison(50, 0.01, blend=0.5)]
    assert verdicts(rows) == [
        "reranking with 32m harms your data: -0.100 nDCG@10 [-0.120, -0.080], 41 queries better, "
        "18 worse; blend 0.5 gives +0.010"
    ]


def test_too_few_queries_are_said_to_be_too_few() -> None:
    assert verdicts([comparison(50, 0.01, p=0.3, needed=1200)]) == [
        "65 queries do not tell whether reranking with 32m helps: +0.010 nDCG@10 [-0.010, 0.030], "
        "41 queries better, 18 worse; about 1,200 would, for a difference of this size"
    ]
    assert "would" not in verdicts([comparison(50, 0.0, p=1.0)])[0]


def test_each_reranker_has_a_verdict_in_the_order_asked_for() -> None:
    rows = [comparison(50, 0.1, reranker="b"), comparison(50, -0.1, reranker="a")]
    assert [verdict.split()[2] for verdict in verdicts(rows)] == ["b", "a"]


def test_runs_are_compared_with_the_first_by_name() -> None:
    [verdict] = verdicts([comparison(None, -0.1, reranker="b.trec")], against="a.trec")
    assert verdict.startswith("b.trec is worse than a.trec: -0.100 nDCG@10")
    [verdict] = verdicts([comparison(None, 0.1, p=0.2, reranker="b")], against="a")
    assert verdict.startswith("65 queries do not tell whether b differs from a")


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(-1, 1), st.floats(0, 1)), min_size=1))
def test_any_rows_have_one_verdict_a_reranker(rows: list[tuple[int, float, float]]) -> None:
    found = verdicts([comparison(depth, gain, p=p, needed=9) for depth, gain, p in rows])
    assert len(found) == 1
    assert "nan" not in found[0]


QUERIES = [Query("a b", "first"), Query("2", "second"), Query("3", "third")]


def test_only_judged_queries_are_asked_and_the_others_are_counted() -> None:
    kept, qrels, notes = judged_queries(QUERIES, {"a%20b": {"d": 1}, "2": {"d": 1}, "9": {"d": 1}})
    assert [query.query_id for query in kept] == ["a%20b", "2"]
    assert list(qrels) == ["a%20b", "2"]
    assert notes == [
        "1 of 3 queries have no judgements and are left out",
        "1 judged queries are not among the queries and are left out",
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
        "1 queries of b.trec have no judgements and are left out",
    ]


def test_runs_of_the_same_name_are_told_apart_by_their_folders(
    runs: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    other = tmp_path / "more" / "a.trec"
    other.write_text(runs[1].read_text())
    found = measure_runs([runs[0], other], {"q1": {"d2": 1}}, METRICS)
    assert found.systems[0].system.reranker == str(other)


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
        comparisons=compare(baseline, systems, NDCG),
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


def test_the_table_leaves_out_what_no_row_has() -> None:
    headers, rows = shown_rows(evaluation(seconds=None))
    assert "s/query" not in headers
    assert [len(row) for row in rows] == [len(headers)] * 2
    assert rows[1][headers.index("gain")] == "+0.1250"


def test_the_files_of_a_measurement_read_back(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "out", evaluation(), ())
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert names == [
        "out/queries.parquet",
        "out/report.html",
        "out/runs/32m-50-candidates-blend-0.2.trec",
        "out/runs/none.trec",
    ]
    rows = pq.read_table(tmp_path / "out" / "queries.parquet").to_pylist()
    assert [row[NDCG] for row in rows] == [0.5, 0.25, 0.75, 0.25]
    assert rows[2] == {
        "query_id": "q0",
        "reranker": "32m",
        "candidates": 50,
        "blend": 0.2,
        NDCG: 0.75,
    }
    assert read_run(tmp_path / "out" / "runs" / "none.trec") == {
        q: {"a": 1.0} for q in ("q0", "q1")
    }
    assert "it helps" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_systems_of_equal_names_do_not_share_a_file(tmp_path: Path) -> None:
    from dataclasses import replace

    one = evaluation()
    twice = replace(
        one, systems=[*one.systems, *one.systems], comparisons=[*one.comparisons, *one.comparisons]
    )
    write_evaluation(tmp_path, twice, ())
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "32m-50-candidates-blend-0.2-2.trec",
        "32m-50-candidates-blend-0.2.trec",
        "none.trec",
    ]


def test_a_system_is_named_as_a_file_can_be() -> None:
    odd = Measured(System("../a/b c", 5), {}, {})
    assert file_name(odd) == "a-b-c-5-candidates"
