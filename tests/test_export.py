"""All formats agree; a run's order survives TREC; a file is complete or absent."""

import csv
import io
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import pytrec_eval
from hypothesis import given, strategies as st

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import InvalidArgumentError, OutputError
from ettin_cli.files.output import output_file
from ettin_cli.files.writers.paths import place
from ettin_cli.files.writers.registry import format_for, formats, write_answers
from ettin_cli.records import Answer, Hit, Passage, Query

SECONDS = {"embed": 0.01, "retrieve": 0.0, "rerank": 0.4, "total": 0.41}


def hit(doc_id: str, score: float, **passage: object) -> Hit:
    settings = {"text": f"text of {doc_id}", "path": f"{doc_id}.md", "start_line": 3, "end_line": 9}
    return Hit(7, Passage(doc_id, **{**settings, **passage}), score, 2, 0.5)  # type: ignore[arg-type]


def answer(hits: Sequence[Hit], query: str = "find it", query_id: str = "1") -> Answer:
    return Answer(Query(query_id, query), hits, "embedded", "32m", "torch cpu float32", SECONDS)


def written(format: str, *answers: Answer, many: bool = True) -> bytes:
    file = io.BytesIO()
    write_answers(answers, format, file, many=many)
    return file.getvalue()


TWO = answer(
    [
        hit("a", 2.5, title="A title", metadata={"year": 1999}, page=4),
        hit("b", -1.25, text='quote " comma, tab\t\nline two', path=None),
    ]
)


def test_json_has_the_promised_shape() -> None:
    shape = json.loads(written("json", TWO, many=False))
    assert list(shape) == [
        "query_id", "query", "embedder", "reranker", "engine", "hits", "seconds",
    ]  # fmt: skip
    assert shape["hits"][0] == {
        "rank": 1,
        "doc_id": "a",
        "passage_id": 7,
        "score": 2.5,
        "retrieval_rank": 2,
        "retrieval_score": 0.5,
        "title": "A title",
        "path": "a.md",
        "start_line": 3,
        "end_line": 9,
        "page": 4,
        "text": "text of a",
        "metadata": {"year": 1999},
    }
    assert shape["hits"][1]["path"] is None
    assert "page" not in shape["hits"][1]


def test_json_of_many_is_an_array_and_jsonl_a_line_each() -> None:
    array = json.loads(written("json", TWO, TWO))
    lines = [json.loads(line) for line in written("jsonl", TWO, TWO).splitlines()]
    assert array == lines
    assert json.loads(written("json")) == []


def test_marks_and_raw_scores_appear_where_they_apply() -> None:
    from dataclasses import replace

    marked = replace(hit("a", 1.0), truncated=True, stale=True, rerank_score=9.5)
    shape = json.loads(written("jsonl", answer([marked])))["hits"][0]
    assert (shape["truncated"], shape["stale"], shape["rerank_score"]) == (True, True, 9.5)


@pytest.mark.parametrize(("format", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_a_row_a_hit_reads_back_whole(format: str, delimiter: str) -> None:
    text = io.StringIO(written(format, TWO).decode(), newline="")
    first, second = csv.DictReader(text, delimiter=delimiter)
    assert (first["doc_id"], float(first["score"]), first["metadata"]) == (
        "a",
        2.5,
        '{"year":1999}',
    )
    assert second["text"] == 'quote " comma, tab\t\nline two'
    assert second["path"] == ""


def test_parquet_reads_back_typed() -> None:
    rows = pq.read_table(io.BytesIO(written("parquet", TWO, answer([])))).to_pylist()
    assert [row["doc_id"] for row in rows] == ["a", "b"]
    assert rows[0]["score"] == 2.5
    assert rows[1]["path"] is None
    assert rows[0]["stale"] is False


def test_parquet_of_no_answers_still_has_its_columns() -> None:
    assert "doc_id" in pq.read_table(io.BytesIO(written("parquet"))).column_names


def test_paths_are_for_editors() -> None:
    assert written("paths", TWO) == b"a.md:3\nb\n"


def test_a_place_is_the_best_line_within_the_passage() -> None:
    found = hit("a", 1.0, text="nothing\nnothing\nthe ferry sails", start_line=10, end_line=12)
    assert place(found, "ferry") == "a.md:12"


def test_markdown_cannot_be_broken_by_a_title() -> None:
    text = written("md", answer([hit("a", 1.0, title="a [b](c) *d*")])).decode()
    assert "1. [a \\[b\\](c) \\*d\\*](a.md#L3) (1.000)" in text


# TREC runs

SCORES = st.lists(st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, 1e-45, -1.0, 3.4e38]), min_size=1)


@given(SCORES)
def test_a_runs_scores_strictly_decrease_in_float32(scores: list[float]) -> None:
    hits = [hit(f"d{at}", score) for at, score in enumerate(sorted(scores, reverse=True))]
    lines = written("trec", answer(hits)).decode().splitlines()
    found = [np.float32(line.split()[4]) for line in lines]
    assert all(before > after for before, after in pairwise(found))


@given(SCORES)
def test_trec_eval_sees_the_order_that_was_shown(scores: list[float]) -> None:
    hits = [hit(f"d{at}", score) for at, score in enumerate(sorted(scores, reverse=True))]
    run: dict[str, dict[str, float]] = {"1": {}}
    for line in written("trec", answer(hits)).decode().splitlines():
        query_id, _, doc_id, _, score, _ = line.split()
        run[query_id][doc_id] = float(score)
    for rank, one in enumerate(hits, start=1):
        judged = {"1": {one.passage.doc_id: 1}}
        measured = pytrec_eval.RelevanceEvaluator(judged, {"recip_rank"}).evaluate(run)
        assert measured["1"]["recip_rank"] == pytest.approx(1 / rank)


def test_white_space_in_ids_is_encoded_and_a_document_counts_once() -> None:
    hits = [hit("a b\tc", 2.0), hit("a b\tc", 1.0), hit("d", 0.5)]
    lines = written("trec", answer(hits, query_id="q 1")).decode().splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["q%201", "Q0", "a%20b%09c"],
        ["q%201", "Q0", "d"],
    ]


# Files


@pytest.mark.parametrize("format", [f for f in formats() if f not in ("auto", "table", "paths")])
def test_a_suffix_chooses_its_format(format: str) -> None:
    assert format_for(Path(f"out.{format}"), "auto") == format
    assert format_for(Path("out.txt"), format) == format


def test_an_unknown_suffix_or_format_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"no format has the suffix of out\.docx"):
        format_for(Path("out.docx"), "auto")
    with pytest.raises(InvalidArgumentError, match="unknown format 'xml'"):
        format_for(None, "xml")


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), output_file(path) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left") as caught, output_file(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert "-o" in (hint_of(caught.value) or "")
    with pytest.raises(OutputError, match="cannot write"), output_file(tmp_path / "no" / "a"):
        pass


def test_a_lone_carriage_return_does_not_break_a_row() -> None:
    content = written("csv", answer([hit("a", 1.0, text="one\rtwo")]))
    assert len(list(csv.DictReader(io.StringIO(content.decode(), newline="")))) == 1
