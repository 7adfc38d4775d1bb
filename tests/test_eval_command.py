"""`ettin eval` as a user types it, with the embedded model."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ettin_cli.commands.demo import sample_corpora
from ettin_cli.embedding import load_embedder
from ettin_cli.records import Embedder
from ettin_cli.trec import read_qrels, read_run
from tests.conftest import Ettin


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests of this module share, so that pairs are scored once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample corpus of 40 documents with the queries and judgements that belong to them."""
    whole = sample_corpora() / "everyday_answers"
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
        assert row["seconds_per_query"] > rows[0]["seconds_per_query"]
    assert f"{30 - judged} of 30 queries have no judgements and are left out" in done.err
    assert "reranking with embedded" in done.err


def test_a_second_sweep_scores_nothing_and_says_the_same(measure: Ettin, corpus: Path) -> None:
    words = ("eval", str(corpus), "-r", "embedded", "-c", "5")
    once = parsed(measure(*words).out)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a pair was scored again")

    with measure.monkeypatch.context() as patch:
        patch.setattr("ettin_cli.commands.eval.load_reranker", never)
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
    measured = read_run(tmp_path / "out" / "runs" / "embedded-20-candidates.trec")
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
        *("--run", str(runs / "embedded-20-candidates.trec")),
    )
    found = parsed(done.out)
    assert [row["reranker"] for row in found] == ["none.trec", "embedded-20-candidates.trec"]
    for before, after in zip(rows, found, strict=True):
        for metric in ("nDCG@10", "RR@10", "R@100"):
            assert after[metric] == before[metric]
    assert found[1]["gain"] == rows[1]["gain"]
    assert found[0]["seconds_per_query"] is None


def test_the_folder_of_results_holds_values_runs_and_a_page(
    measure: Ettin, corpus: Path, tmp_path: Path
) -> None:
    done = measure("eval", str(corpus), "-r", "embedded", "-c", "5", "-o", "out")
    assert "report.html shows it" in done.err
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
        assert body["notes"] == ["18 of 30 queries have no judgements and are left out"]
    elif format in ("csv", "tsv"):
        delimiter = "," if format == "csv" else "\t"
        rows = list(csv.DictReader(done.out.splitlines(), delimiter=delimiter))
        assert [row["candidates"] for row in rows] == ["", "5"]
    else:
        lines = done.out.splitlines()
        assert lines[0].replace("|", " ").split()[:3] == ["reranker", "candidates", "blend"]
        assert "embedded" in lines[-1]


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
    search = ("search", "where is the hole in an inner tube", "-i", "mine", "-r", "embedded")
    refused = measure(*search, "--min-probability", "0.5")
    assert refused.code == 1
    assert "--calibrate" in refused.err
    done = measure("eval", "-i", "mine", *files, "-r", "embedded", "-c", "20", "--calibrate")
    assert "embedded is calibrated by" in done.err
    found = measure(*search, "--min-probability", "0.2", "-f", "json")
    hits = json.loads(found.out)["hits"]
    assert 0 < len(hits) < 10
    assert all(0.2 <= hit["probability"] < 1 for hit in hits)
    ordered = [hit["probability"] for hit in hits]
    assert ordered == sorted(ordered, reverse=True)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--metrics", "nDCG@10,Quality,MRR@10"], 2, "no metric 'Quality', 'MRR@10'"),
        (["-c", "ten"], 2, "neither depths nor judged"),
        (["-c", "0"], 2, "neither depths nor judged"),
        (["--blend", "2"], 2, "not shares from 0 to 1"),
        (["-f", "trec"], 2, "no format 'trec' here"),
        (["--qrels", "none.tsv"], 1, "none.tsv"),
        (["--queries", "none.tsv"], 1, "none.tsv"),
        (["-r", "no-such-model"], 1, "no model 'no-such-model'"),
        (["--judge"], 2, "no --qrels"),
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
    assert (done.code, done.err) == (1, "ettin: error: there is no folder nowhere\n")
    done = measure("eval", "-r", "none")
    assert done.code == 2
    assert "no --queries" in done.err


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

    monkeypatch.setattr("ettin_cli.commands.indexes.load_embedder", noted)
    words = ("-r", "none", "--retriever", "dense", "--retriever", "hybrid", "--expand")
    done = measure("eval", str(corpus), *words)
    assert [row["retriever"] for row in parsed(done.out)] == [
        *("dense", "dense expanded", "hybrid", "hybrid expanded")
    ]
    assert len(loads) == 1
