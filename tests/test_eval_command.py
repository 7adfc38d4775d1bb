"""`ettin eval` on the command line, with the embedded model."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ettin_cli.corpus import EVERYDAY_ANSWERS, sample_corpus
from ettin_cli.files.trec import read_qrels, read_run
from ettin_cli.models.embedders import load_embedder
from ettin_cli.records import Embedder
from tests.conftest import Ettin


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache shared by the tests of this module, so that pairs are scored once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample corpus of 40 documents with its queries and judgements."""
    whole = sample_corpus(EVERYDAY_ANSWERS)
    folder = tmp_path_factory.mktemp("small") / "small"
    folder.mkdir()
    documents = (whole / "corpus.jsonl").read_text().splitlines(keepends=True)[:40]
    (folder / "corpus.jsonl").write_text("".join(documents))
    shutil.copy(whole / "queries.jsonl", folder)
    kept = {json.loads(line)["_id"] for line in documents}
    header, *rows = (whole / "qrels.tsv").read_text().splitlines(keepends=True)
    rows = [row for row in rows if row.split("\t")[1] in kept]
    (folder / "qrels.tsv").write_text(header + "".join(rows))
    return folder


@pytest.fixture
def measure(ettin: Ettin, cache: Path) -> Ettin:
    ettin.monkeypatch.setenv("ETTIN_CACHE_DIR", str(cache))
    return ettin


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_folder_is_measured_with_a_row_a_system(measure: Ettin, corpus: Path) -> None:
    words = ("eval", str(corpus), "-r", "embedded", "-c", "5,20", "--blend", "0,0.5")
    done = measure(*words, "--metrics", "nDCG@10,RR@10,AP")
    assert done.code == 0, done.err
    rows = parsed(done.out)
    systems = [(row["reranker"], row["candidates"], row["blend"]) for row in rows]
    assert systems == [
        ("none", None, 0.0),
        *(("embedded", depth, blend) for depth in (5, 20) for blend in (0.0, 0.5)),
    ]
    judged = len(read_qrels(corpus / "qrels.tsv"))
    for row in rows[1:]:
        assert row["gain"] == pytest.approx(row["nDCG@10"] - rows[0]["nDCG@10"])
        assert row["better"] + row["worse"] + row["same"] == judged
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
        assert row["seconds_per_query"] > 0
    assert f"{30 - judged} of 30 queries have no judgements and are skipped" in done.err
    assert "reranking with embedded" in done.err


def test_the_blends_of_a_recommendation_are_measured_as_systems(
    measure: Ettin, corpus: Path
) -> None:
    words = ("eval", str(corpus), "-r", "embedded", "-c", "20")
    usual = measure(*words)
    assert [row["blend"] for row in parsed(usual.out)] == [0.0, 0.7]
    done = measure(*words, "--blend", "0,0.3,0.5,auto,0.85")
    rows = parsed(done.out)[1:]
    assert [row["blend"] for row in rows] == [0.0, 0.3, 0.5, 0.7, 0.85]
    means = {row["blend"]: row["nDCG@10"] for row in rows}
    best, own = max(means.values()), means[0.7]
    [line] = [line for line in usual.err.splitlines() if "recommended blend for" in line]
    if best - own < 0.003:
        assert f": auto: {own:.3f} nDCG@10" in line
    else:
        assert f": {best:.3f}, the highest of 0, 0.3, 0.5, 0.7, 0.85" in line
        assert means[float(re.findall(r"embedded: ([0-9.]+):", line)[0])] == best


def test_a_second_sweep_scores_nothing_and_says_the_same(measure: Ettin, corpus: Path) -> None:
    words = ("eval", str(corpus), "-r", "embedded", "-c", "5", "--exact")
    once = parsed(measure(*words).out)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a pair was scored again")

    with measure.monkeypatch.context() as patch:
        patch.setattr("ettin_cli.searching.rerankers.load_reranker", never)
        again = parsed(measure(*words).out)
    for row in [*once, *again]:
        del row["seconds_per_query"]
    assert once == again


def test_the_search_with_its_options_gives_what_was_measured(
    measure: Ettin, corpus: Path, tmp_path: Path
) -> None:
    measure("eval", str(corpus), "-r", "embedded", "-c", "20", "-o", "out")
    queries = str(corpus / "queries.jsonl")
    words = ("search", "--queries", queries, str(corpus), "-r", "embedded", "-c", "20")
    measure(*words, "-o", "search.trec")
    searched = read_run(tmp_path / "search.trec")
    measured = read_run(tmp_path / "out" / "runs" / "embedded-20-candidates-blend-0.7.trec")
    assert set(measured) < set(searched)
    for query_id, ranking in measured.items():
        assert list(ranking)[:10] == list(searched[query_id])


def test_a_run_that_was_written_is_measured_as_it_was(
    measure: Ettin, corpus: Path, tmp_path: Path
) -> None:
    rows = parsed(measure("eval", str(corpus), "-r", "embedded", "-c", "20", "-o", "out").out)
    runs = tmp_path / "out" / "runs"
    done = measure(
        *("eval", "--qrels", str(corpus / "qrels.tsv"), "--run", str(runs / "none.trec")),
        *("--run", str(runs / "embedded-20-candidates-blend-0.7.trec")),
    )
    found = parsed(done.out)
    assert [row["run"] for row in found] == ["none.trec", "embedded-20-candidates-blend-0.7.trec"]
    assert [row["reranker"] for row in found] == [None, None]
    for before, after in zip(rows, found, strict=True):
        for metric in ("nDCG@10", "RR@10", "R@100"):
            assert after[metric] == before[metric]
    assert found[1]["gain"] == rows[1]["gain"]
    assert found[0]["seconds_per_query"] is None


def test_the_folder_of_results_holds_values_runs_and_a_page(
    measure: Ettin, corpus: Path, tmp_path: Path
) -> None:
    done = measure("eval", str(corpus), "-r", "embedded", "-c", "5", "-o", "out")
    assert "report.html, with the queries that changed most" in done.err
    values = pq.read_table(tmp_path / "out" / "queries.parquet").to_pylist()
    rows = parsed(done.out)
    for row in rows:
        mine = [one for one in values if one["reranker"] == row["reranker"]]
        mean = sum(one["nDCG@10"] for one in mine) / len(mine)
        assert mean == pytest.approx(row["nDCG@10"])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "tyre" in page


def test_judged_documents_alone_can_be_ranked(measure: Ettin, corpus: Path) -> None:
    done = measure("eval", str(corpus), "-r", "embedded", "--candidates", "judged")
    rows = parsed(done.out)
    assert [row["candidates"] for row in rows] == [None, None]
    assert rows[0]["R@100"] == 1.0


@pytest.mark.parametrize("format", ["table", "json", "csv", "tsv", "md"])
def test_rows_come_in_every_format(measure: Ettin, corpus: Path, format: str) -> None:
    done = measure("eval", str(corpus), "-r", "embedded", "-c", "5", "-f", format)
    assert done.code == 0
    if format == "json":
        body = json.loads(done.out)
        assert [row["reranker"] for row in body["systems"]] == ["none", "embedded"]
        assert "reranking with embedded" in body["verdicts"][0]
        assert body["notes"] == [
            "18 of 30 queries have no judgements and are skipped",
            "nDCG@10, RR@10, R@100: systems with 5 candidates rank only those",
        ]
    elif format in ("csv", "tsv"):
        delimiter = "," if format == "csv" else "\t"
        rows = list(csv.DictReader(done.out.splitlines(), delimiter=delimiter))
        assert [row["candidates"] for row in rows] == ["", "5"]
    else:
        lines = done.out.splitlines()
        header = ["reranker", "depth", "blend", "nDCG@10"]
        assert lines[0].replace("|", " ").split()[:4] == header
        assert "embedded" in lines[-1]


def test_the_csv_of_a_sweep_over_retrievers_compares_each_with_itself(
    measure: Ettin, corpus: Path, tmp_path: Path
) -> None:
    words = ("--retriever", "dense", "--retriever", "bm25", "-r", "embedded", "-c", "5")
    done = measure("eval", str(corpus), *words, "-f", "csv", "-o", "out")
    rows = list(csv.DictReader(done.out.splitlines()))
    assert [(row["retriever"], row["reranker"]) for row in rows] == [
        *[("dense", "none"), ("dense", "embedded"), ("bm25", "none"), ("bm25", "embedded")]
    ]
    with (tmp_path / "out" / "queries.csv").open(newline="") as file:
        values = list(csv.DictReader(file))

    def mean(retriever: str, reranker: str, metric: str) -> float:
        name = (retriever, reranker)
        mine = [one for one in values if (one["retriever"], one["reranker"]) == name]
        return sum(float(one[metric]) for one in mine) / len(mine)

    for row in rows[1:]:
        for metric, prefix in (("nDCG@10", ""), ("RR@10", "RR@10_")):
            reached = mean(row["retriever"], row["reranker"], metric)
            over_first = reached - mean("dense", "none", metric)
            assert float(row[f"{prefix}gain_over_first"]) == pytest.approx(over_first, abs=1e-12)
            if row["reranker"] != "none":
                own = reached - mean(row["retriever"], "none", metric)
                assert float(row[f"{prefix}gain"]) == pytest.approx(own, abs=1e-12)
    assert rows[2]["gain"] == ""
    assert "embedded over bm25" in done.err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("dense alone") and page.count("bm25 alone")
    assert "retrieval alone" not in page


def test_quiet_leaves_the_results_and_what_is_left_out_of_them(
    measure: Ettin, corpus: Path
) -> None:
    words = ("eval", str(corpus), "-r", "embedded", "-c", "5,6", "-o", "out")
    loud = measure(*words)
    assert "reranking with embedded over hybrid" in loud.err
    assert "recommended blend for hybrid with embedded:" in loud.err
    assert "corrected for the number of comparisons (2 comparisons)" in loud.err
    quiet = measure(*words, "-q")
    left_out = (
        "ettin: 18 of 30 queries have no judgements and are skipped\n"
        "ettin: nDCG@10, RR@10, R@100: systems with 5 or 6 candidates rank only those\n"
    )
    assert (quiet.code, quiet.err) == (0, left_out)
    assert len(parsed(quiet.out)) == len(parsed(loud.out)) == 3


@pytest.mark.parametrize("width", [70, 80, 100, 200])
def test_a_row_is_a_line_at_any_width_and_what_has_no_room_is_named(
    measure: Ettin, corpus: Path, width: int
) -> None:
    measure.monkeypatch.setenv("COLUMNS", str(width))
    words = ("-r", "embedded", "-c", "5,20", "--blend", "0", "-f", "table")
    done = measure("eval", str(corpus), *words)
    header, *rows = done.out.splitlines()
    assert len(rows) == 3
    assert max(map(len, [header, *rows])) <= width
    metrics = ["nDCG@10", "RR@10", "R@100"]
    every = [*metrics, "gain", "interval", "p", "better/worse", "s/query"]
    left_out = {70: "better/worse, s/query", 80: "better/worse"}.get(width, "")
    assert [name for name in every if name not in header.split()] == (
        left_out.split(", ") if left_out else []
    )
    assert (f"not shown at {width} characters: {left_out};" in done.err) == bool(left_out)


def test_an_index_is_measured_with_files_of_queries_and_judgements(
    measure: Ettin, corpus: Path
) -> None:
    measure("index", str(corpus), "-i", "mine", "--chunk-size", "none")
    files = ("--queries", str(corpus / "queries.jsonl"), "--qrels", str(corpus / "qrels.tsv"))
    done = measure("eval", "-i", "mine", *files, "-r", "none")
    assert [row["reranker"] for row in parsed(done.out)] == ["none"]
    assert "no hits" not in done.err


def test_calibration_gives_hits_their_probability(measure: Ettin, corpus: Path) -> None:
    measure("index", str(corpus), "-i", "mine")
    files = ("--queries", str(corpus / "queries.jsonl"), "--qrels", str(corpus / "qrels.tsv"))
    asked = ("search", "where is the hole in an inner tube", "-i", "mine", "-r", "embedded")
    # A blend has an order of its own.
    search = (*asked, "--blend", "0")
    refused = measure(*search, "--min-probability", "0.5")
    assert refused.code == 1
    assert "--calibrate" in refused.err
    done = measure("eval", "-i", "mine", *files, "-r", "embedded", "-c", "20", "--calibrate")
    judged = sum(map(len, read_qrels(corpus / "qrels.tsv").values()))
    assert f"calibrated on {judged} judged pairs ({judged} relevant) and " in done.err
    assert "unjudged pairs counted as irrelevant, hits of hybrid for 12 queries" in done.err
    found = measure(*search, "--min-probability", "0.2", "-f", "json")
    hits = json.loads(found.out)["hits"]
    assert 0 < len(hits) < 10
    assert all(0.2 <= hit["probability"] < 1 for hit in hits)
    ordered = [hit["probability"] for hit in hits]
    assert ordered == sorted(ordered, reverse=True)


def test_a_few_explicit_zeros_do_not_change_what_a_calibration_means(
    measure: Ettin, corpus: Path, tmp_path: Path
) -> None:
    measure("index", str(corpus), "-i", "mine")
    rows = (corpus / "qrels.tsv").read_text()
    (tmp_path / "zeros.tsv").write_text(rows + "q01\tbike-02\t0\nq01\tbike-03\t0\n")
    found = []
    for qrels in (corpus / "qrels.tsv", tmp_path / "zeros.tsv"):
        words = ("--queries", str(corpus / "queries.jsonl"), "--qrels", str(qrels))
        done = measure("eval", "-i", "mine", *words, "-r", "embedded", "-c", "20", "--calibrate")
        assert done.code == 0
        nonsense = ("search", "zxqv blorp", "-i", "mine", "-r", "embedded", "-f", "json")
        stored = json.loads((tmp_path / "mine/calibrations/embedded.json").read_text())
        best = json.loads(measure(*nonsense).out)["hits"][0]["probability"]
        found.append((best, stored["calibration"]))
    (before, first), (after, second) = found
    assert before == after < 0.05
    assert first["pairs"] == second["pairs"] == 20 * first["queries"]
    assert second["judged"] == first["judged"] + 2
    assert first["base_rate"] == second["base_rate"] == first["judged"] / first["pairs"]
    assert first["retrievers"] == ["hybrid"]


def test_a_calibration_on_what_is_mostly_relevant_is_warned_of_and_quiet_keeps_that(
    measure: Ettin, corpus: Path
) -> None:
    files = ("--queries", str(corpus / "queries.jsonl"), "--qrels", str(corpus / "qrels.tsv"))
    measure("index", str(corpus), "-i", "mine")
    words = ("-r", "embedded", "-c", "1", "--calibrate", "-q")
    done = measure("eval", "-i", "mine", *files, *words)
    assert "% of the pairs are relevant, more than a search usually finds" in done.err
    assert "is calibrated on" not in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--metrics", "nDCG@10,Quality,Best@10"], 2, "unknown metric 'Quality', 'Best@10'"),
        (["-c", "ten"], 2, "neither a list of depths nor judged"),
        (["-c", "0"], 2, "neither a list of depths nor judged"),
        (["--blend", "2"], 2, "not a list of shares from 0 to 1"),
        (["-f", "trec"], 2, "unsupported format 'trec'"),
        (["--qrels", "none.tsv"], 1, "none.tsv"),
        (["--queries", "none.tsv"], 1, "none.tsv"),
        (["-r", "no-such-model"], 1, "no model 'no-such-model'"),
        (["--judge"], 2, "missing --qrels"),
        (["-r", "none", "--calibrate"], 2, "a calibration needs a reranker"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    measure: Ettin, corpus: Path, words: list[str], code: int, message: str
) -> None:
    reranker = [] if "-r" in words else ["-r", "embedded"]
    done = measure("eval", str(corpus), *reranker, *words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


@pytest.mark.parametrize("words", [("-c", "ten"), ("--blend", "2"), ("--retriever", "sparse")])
def test_a_wrong_option_is_refused_before_the_folder_is_indexed(
    ettin: Ettin, corpus: Path, words: tuple[str, str]
) -> None:
    done = ettin("eval", str(corpus), "-r", "none", *words)
    assert (done.code, done.out) == (2, "")
    assert words[1] in done.err
    assert not Path("cache").exists()


def test_missing_files_are_named_with_the_option_that_gives_them(
    measure: Ettin, corpus: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(corpus / "corpus.jsonl", bare)
    done = measure("eval", str(bare), "-r", "none")
    assert (done.code, done.err.splitlines()[0]) == (
        1,
        f"ettin: error: {bare} has no queries.jsonl",
    )
    assert "--queries" in done.err
    done = measure("eval", "nowhere", "-r", "none")
    assert (done.code, done.err) == (1, "ettin: error: no such folder: nowhere\n")
    done = measure("eval", "-r", "none")
    assert done.code == 2
    assert "missing --queries" in done.err


def test_queries_without_any_judgement_are_an_error(
    measure: Ettin, corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.tsv").write_text("x 0 bike-01 1\n")
    done = measure("eval", str(corpus), "-r", "none", "--qrels", "other.tsv")
    assert done.code == 1
    assert "none of the 30 queries has judgements" in done.err


def test_judged_documents_that_are_nowhere_are_counted(
    measure: Ettin, corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.tsv").write_text("q01 0 nowhere 1\n")
    words = ("--candidates", "judged", "--qrels", "other.tsv")
    done = measure("eval", str(corpus), "-r", "embedded", *words)
    assert done.code == 0
    assert "1 judged documents are not in the index" in done.err


def test_judging_needs_a_terminal(measure: Ettin, corpus: Path) -> None:
    done = measure("eval", str(corpus), "-r", "none", "--judge", "--qrels", "mine.trec")
    assert done.code == 1
    assert "judging needs a terminal" in done.err


def test_the_embedder_is_loaded_once_for_all_retrievers(
    measure: Ettin, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []

    def noted(*arguments: Any) -> Embedder:
        loads.append(arguments)
        return load_embedder(*arguments)

    monkeypatch.setattr("ettin_cli.searching.session_models.load_embedder", noted)
    words = ("-r", "none", "--retriever", "dense", "--retriever", "hybrid", "--expand")
    done = measure("eval", str(corpus), *words)
    assert [row["retriever"] for row in parsed(done.out)] == [
        *("dense", "dense expanded", "hybrid", "hybrid expanded")
    ]
    assert len(loads) == 1
