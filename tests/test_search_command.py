"""`ettin search`: hits, order, output formats and messages."""

import csv
import io
import json
import math
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import BOATS, Ettin, Outcome, Terminal

FERRY = "When does the ferry sail?"
ALL = ("-k", "50", "-r", "none")
FORMATS = ("json", "jsonl", "csv", "tsv", "parquet", "trec")


def answers(ran: Outcome) -> list[dict[str, Any]]:
    assert ran.code in (0, 3), ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def hits(ran: Outcome) -> list[dict[str, Any]]:
    (answer,) = answers(ran)
    found: list[dict[str, Any]] = answer["hits"]
    return found


def ids(ran: Outcome) -> list[str]:
    return [hit["doc_id"] for hit in hits(ran)]


# Retrieval


def test_hits_have_what_was_promised_and_nothing_more(inside: Ettin) -> None:
    (answer,) = answers(inside("search", FERRY, "-r", "none", "-k", "1"))
    assert list(answer) == [
        "query_id", "query", "retriever", "embedder", "reranker", "engine", "hits", "seconds",
    ]  # fmt: skip
    (hit,) = answer["hits"]
    assert hit == {
        "rank": 1,
        "doc_id": "ferry.md",
        "passage_id": hit["passage_id"],
        "score": hit["retrieval_score"],
        "retrieval_rank": 1,
        "retrieval_score": hit["score"],
        "retrieval": hit["retrieval"],
        "title": "Timetable",
        "path": "docs/ferry.md",
        "start_line": 1,
        "end_line": 3,
        "text": hit["text"],
        "metadata": {},
    }
    assert hit["text"].endswith("at noon and at five.")
    assert hit["retrieval"].keys() == {"dense", "bm25"}
    assert [place["rank"] for place in hit["retrieval"].values()] == [1, 1]


def test_retrieval_scores_are_cosines_in_descending_order(inside: Ettin) -> None:
    ran = inside("search", FERRY, *ALL, "--retriever", "dense")
    scores = [hit["score"] for hit in hits(ran)]
    assert all("retrieval" not in hit for hit in hits(ran))
    assert len(scores) == 7
    assert scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)


def test_a_document_counts_once_by_its_best_passage(inside: Ettin) -> None:
    passages = hits(inside("search", FERRY, *ALL, "--by", "passage"))
    documents = hits(inside("search", FERRY, *ALL))
    assert len(passages) > len(documents) == len({hit["doc_id"] for hit in passages})
    best: dict[str, float] = {}
    for hit in passages:
        best[hit["doc_id"]] = max(hit["score"], best.get(hit["doc_id"], -math.inf))
    assert {hit["doc_id"]: hit["score"] for hit in documents} == best


def test_top_k_cuts_the_list_and_more_than_there_is_changes_nothing(inside: Ettin) -> None:
    everything = ids(inside("search", FERRY, *ALL))
    assert ids(inside("search", FERRY, "-r", "none", "-k", "2")) == everything[:2]
    assert ids(inside("search", FERRY, "-r", "none", "-k", "10000")) == everything


def test_candidates_bound_how_many_are_scored(inside: Ettin) -> None:
    ran = inside("search", FERRY, "-r", "embedded", "-k", "50", "-c", "2", "--by", "passage")
    assert len(hits(ran)) == 2
    ranks = sorted(hit["retrieval_rank"] for hit in hits(ran))
    assert ranks == [1, 2]
    assert "-c also limits the hits; -c 50 may find more" in ran.err
    for depth in ("2", "50"):
        assert (
            "-c also limits"
            not in inside("search", FERRY, "-r", "none", "-k", "2", "-c", depth).err
        )


# Reranking


def test_a_reranker_keeps_the_hits_and_says_where_retrieval_had_them(inside: Ettin) -> None:
    before = ids(inside("search", FERRY, *ALL))
    after = hits(inside("search", FERRY, "-k", "50", "-r", "embedded", "--blend", "0"))
    assert sorted(before) == sorted(hit["doc_id"] for hit in after)
    assert [hit["rank"] for hit in after] == list(range(1, len(after) + 1))
    for hit in after:
        assert before[hit["retrieval_rank"] - 1] == hit["doc_id"]
        assert "rerank_score" not in hit


@pytest.mark.parametrize("share", ["0.3", "1"])
def test_a_blend_is_of_standardised_scores(inside: Ettin, share: str) -> None:
    ran = inside("search", FERRY, "-k", "50", "-r", "embedded", "--by", "passage", "--blend", share)
    found = hits(ran)
    retrieval = np.array([hit["retrieval_score"] for hit in found])
    reranked = np.array([hit["rerank_score"] for hit in found])
    expected = float(share) * (retrieval - retrieval.mean()) / retrieval.std()
    expected += (1 - float(share)) * (reranked - reranked.mean()) / reranked.std()
    assert np.allclose([hit["score"] for hit in found], expected, atol=1e-5)
    assert all(before >= after for before, after in pairwise(expected))


def test_the_blend_is_that_of_the_reranker_unless_one_is_given(inside: Ettin) -> None:
    words = ("search", FERRY, "-k", "50", "-r", "embedded")
    ran = inside(*words)
    assert "reranked by embedded (blend 0.7)" in ran.err
    answer = json.loads(ran.out)
    assert answer["blend"] == 0.7
    for same in ("0.7", "auto"):
        assert json.loads(inside(*words, "--blend", same).out)["hits"] == answer["hits"]
    alone = inside(*words, "--blend", "0")
    assert "reranked by embedded, " in alone.err
    assert "blend" not in json.loads(alone.out)
    assert all("rerank_score" not in hit for hit in hits(alone))
    raw = {hit["doc_id"]: hit["rerank_score"] for hit in answer["hits"]}
    assert {hit["doc_id"]: hit["score"] for hit in hits(alone)} == raw
    none = inside("search", FERRY, "-r", "none", "--blend", "auto")
    assert none.code == 0
    assert "blend" not in json.loads(none.out)


def test_a_whole_share_of_retrieval_is_the_order_of_retrieval(inside: Ettin) -> None:
    blended = inside("search", FERRY, "-k", "50", "-r", "embedded", "--blend", "1")
    assert ids(blended) == ids(inside("search", FERRY, *ALL))


def test_the_environment_names_the_reranker_and_the_option_wins(inside: Ettin) -> None:
    inside.monkeypatch.setenv("ETTIN_RERANKER", "none")
    assert answers(inside("search", FERRY))[0]["reranker"] == "none"
    assert answers(inside("search", FERRY, "-r", "embedded"))[0]["reranker"] == "embedded"


# Filters


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["year=1999"], {"tern", "smew"}),
        (["year=2001"], {"knot"}),
        (["open=true"], {"tern"}),
        (["open=false"], {"knot"}),
        (["length=7.5"], {"smew"}),
        (["tags=b"], {"tern", "knot"}),
        (["tags=b", "tags=a"], {"tern"}),
        (["tags=a", "tags=b"], {"tern"}),
        (["tags=b", "year=2001"], {"knot"}),
        (["year="], set()),
        (["colour=red"], set()),
    ],
)
def test_a_filter_takes_values_as_they_are_typed(
    inside: Ettin, filters: list[str], expected: set[str]
) -> None:
    options = [word for one in filters for word in ("--filter", one)]
    assert set(ids(inside("search", FERRY, *ALL, *options))) == expected


def test_a_filter_is_applied_before_the_list_is_cut(inside: Ettin) -> None:
    ran = inside(
        "search", "bread dough", "-r", "none", "-k", "1", "-c", "1", "--filter", "year=2001"
    )
    assert ids(ran) == ["knot"]


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        (["*.md"], {"ferry.md"}),
        (["*.txt"], {"bread.txt", "deep/fares.txt"}),
        (["deep/"], {"deep/fares.txt"}),
        (["deep/*.txt"], {"deep/fares.txt"}),
        (["*.md", "bread.*"], {"ferry.md", "bread.txt"}),
        (["boats.jsonl"], {boat["_id"] for boat in BOATS}),
        (["*.epub"], set()),
    ],
)
def test_a_glob_narrows_to_files(inside: Ettin, globs: list[str], expected: set[object]) -> None:
    options = [word for glob in globs for word in ("--path", glob)]
    assert set(ids(inside("search", FERRY, *ALL, *options))) == expected


@pytest.mark.parametrize("reranker", ["none", "embedded"])
def test_min_score_leaves_out_what_is_below(inside: Ettin, reranker: str) -> None:
    everything = hits(inside("search", FERRY, "-k", "50", "-r", reranker))
    bound = everything[2]["score"]
    ran = inside("search", FERRY, "-k", "50", "-r", reranker, "--min-score", repr(bound))
    assert ids(ran) == [hit["doc_id"] for hit in everything if hit["score"] >= bound]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--min-score", "9"], "no hit reaches --min-score 9"),
        (["--filter", "colour=red"], "nothing in .ettin matches --filter colour=red"),
        (["--path", "docs/*.md"], "matches --path docs/*.md; globs match paths below a SOURCE"),
    ],
)
def test_it_says_why_there_is_no_hit(inside: Ettin, options: list[str], said: str) -> None:
    ran = inside("search", FERRY, "-r", "none", *options)
    assert hits(ran) == []
    assert ran.err.startswith("ettin: no hits\n")
    assert said in ran.err


def test_an_empty_index_is_said_to_be_empty(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    ettin("index", "--remove", "docs")
    ran = ettin("search", FERRY, "-r", "none")
    assert hits(ran) == []
    assert "ettin: .ettin is empty\n" in ran.err


# Formats and files


@pytest.fixture(scope="module")
def readers() -> dict[str, Callable[[bytes], list[tuple[str, float]]]]:
    """An independent reader per format: document and score of each hit."""

    def of_json(content: bytes) -> list[tuple[str, float]]:
        return [(hit["doc_id"], hit["score"]) for hit in json.loads(content)["hits"]]

    def delimited(delimiter: str) -> Callable[[bytes], list[tuple[str, float]]]:
        def read(content: bytes) -> list[tuple[str, float]]:
            rows = csv.DictReader(io.StringIO(content.decode(), newline=""), delimiter=delimiter)
            return [(row["doc_id"], float(row["score"])) for row in rows]

        return read

    def of_parquet(content: bytes) -> list[tuple[str, float]]:
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
        return [(row["doc_id"], row["score"]) for row in rows]

    def of_trec(content: bytes) -> list[tuple[str, float]]:
        rows = [line.split() for line in content.decode().splitlines()]
        return [(row[2], float(row[4])) for row in rows]

    return {
        "json": of_json,
        "jsonl": of_json,
        "csv": delimited(","),
        "tsv": delimited("\t"),
        "parquet": of_parquet,
        "trec": of_trec,
    }


@pytest.mark.parametrize("format", FORMATS)
def test_a_suffix_chooses_the_format_and_all_formats_agree(
    inside: Ettin,
    tmp_path: Path,
    readers: dict[str, Callable[[bytes], list[tuple[str, float]]]],
    format: str,
) -> None:
    expected = [(hit["doc_id"], hit["score"]) for hit in hits(inside("search", FERRY, *ALL))]
    target = tmp_path / f"out.{format}"
    ran = inside("search", FERRY, *ALL, "-o", str(target))
    assert (ran.code, ran.out) == (0, "")
    found = readers[format](target.read_bytes())
    assert [doc_id for doc_id, _ in found] == [doc_id for doc_id, _ in expected]
    assert np.allclose([score for _, score in found], [score for _, score in expected])


def test_a_run_of_several_queries_strictly_decreases_for_each(
    inside: Ettin, tmp_path: Path
) -> None:
    (tmp_path / "queries.tsv").write_text("q 1\tferry\nq2\tcanoe\n")
    ran = inside("search", "--queries", str(tmp_path / "queries.tsv"), *ALL, "-f", "trec")
    rows = [line.split() for line in ran.out.splitlines()]
    assert {len(row) for row in rows} == {6}
    assert {row[0] for row in rows} == {"q%201", "q2"}
    for query in ("q%201", "q2"):
        scores = [np.float32(row[4]) for row in rows if row[0] == query]
        assert len(scores) == 7
        assert all(before > after for before, after in pairwise(scores))


def test_paths_are_places_that_editors_take(inside: Ettin, library: Path) -> None:
    ran = inside("search", FERRY, *ALL, "-f", "paths")
    for place in ran.out.splitlines():
        path, line = place.rsplit(":", 1)
        assert 1 <= int(line) <= len((library / path).read_text().splitlines())
    assert ran.out.startswith("docs/ferry.md:3\n")


def test_markdown_links_the_hits(inside: Ettin) -> None:
    out = inside("search", FERRY, "-r", "none", "-k", "1", "-f", "md").out
    # The first of both retrievers has the highest score of a fusion.
    assert out.startswith(f"## {FERRY}\n\n1. [Timetable](docs/ferry.md#L1) (1.000)")
    assert "   > The ferry sails from the western pier" in out


def test_json_of_one_query_is_an_object_and_of_a_file_an_array(
    inside: Ettin, tmp_path: Path
) -> None:
    (tmp_path / "queries").write_text("ferry\n")
    one = json.loads(inside("search", "ferry", "-r", "none", "-f", "json").out)
    many = inside("search", "--queries", str(tmp_path / "queries"), "-r", "none", "-f", "json")
    (same,) = json.loads(many.out)
    assert one["hits"] == same["hits"]


def test_a_format_that_is_named_wins_over_the_suffix(inside: Ettin, tmp_path: Path) -> None:
    inside("search", FERRY, "-r", "none", "-f", "csv", "-o", str(tmp_path / "out.json"))
    assert (tmp_path / "out.json").read_text().startswith("query_id,rank,doc_id,")


def test_a_file_is_replaced_and_nothing_is_left_beside_it(inside: Ettin, tmp_path: Path) -> None:
    out = tmp_path / "results" / "out.json"
    out.parent.mkdir()
    out.write_text("old")
    assert inside("search", FERRY, "-r", "none", "-o", str(out)).code == 0
    assert json.loads(out.read_text())["query"] == FERRY
    assert [path.name for path in out.parent.iterdir()] == ["out.json"]


def test_a_pipe_is_written_to_and_not_replaced(inside: Ettin, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert inside("search", FERRY, "-r", "none", "-k", "1", "-o", str(pipe)).code == 0
    assert json.loads(os.read(reader, 65_536))["query"] == FERRY
    os.close(reader)
    assert pipe.is_fifo()


def test_a_dash_is_stdout(inside: Ettin) -> None:
    assert ids(inside("search", FERRY, *ALL, "-o", "-")) == ids(inside("search", FERRY, *ALL))


@pytest.mark.parametrize(
    ("output", "code", "said", "hint"),
    [
        ("out.docx", 2, "no format has the suffix of out.docx", "choose the format with -f"),
        ("no/such folder/out.json", 1, "no such folder: no/such folder", "mkdir -p 'no/such"),
        ("a.json", 1, "cannot write a.json: it is a folder", "-o"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_before_any_work(
    ettin: Ettin, docs: Path, output: str, code: int, said: str, hint: str
) -> None:
    Path("a.json").mkdir()
    ran = ettin("search", FERRY, "docs", "-r", "none", "-o", output)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert hint in ran.err
    assert not Path("cache").exists()


# Query files


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            '{"_id": "a b", "text": "ferry"}\n{"text": "canoe"}\n',
            [("a b", "ferry"), ("2", "canoe")],
        ),
        ("q1\tferry\nq2\tcanoe\twith a tab\n", [("q1", "ferry"), ("q2", "canoe\twith a tab")]),
        ("ferry\r\n\r\ncanoe\n", [("1", "ferry"), ("3", "canoe")]),
    ],
    ids=["jsonl", "tsv", "lines"],
)
def test_queries_come_from_a_file_or_from_stdin(
    inside: Ettin, tmp_path: Path, content: str, expected: list[tuple[str, str]]
) -> None:
    path = tmp_path / "queries"
    path.write_text(content, encoding="utf-8", newline="")
    from_file = answers(inside("search", "--queries", str(path), "-r", "none", "-k", "1"))
    assert [(answer["query_id"], answer["query"]) for answer in from_file] == expected
    for words in (["--queries", "-"], ["-"]):
        with path.open(encoding="utf-8") as stdin:
            inside.monkeypatch.setattr("sys.stdin", stdin)
            piped = answers(inside("search", *words, "-r", "none", "-k", "1"))
        assert [one["hits"] for one in piped] == [one["hits"] for one in from_file]


def test_a_line_that_is_no_query_ends_the_run_and_leaves_no_file(
    inside: Ettin, tmp_path: Path
) -> None:
    (tmp_path / "queries").write_text('ferry\n{"question_id": 3}\n')
    out = tmp_path / "out.trec"
    ran = inside(
        "search", "--queries", str(tmp_path / "queries"), "-r", "none", "-o", str(out)
    )  # fmt: skip
    assert ran.code == 1
    assert 'queries:2: no "text" of a query' in ran.err
    assert not out.exists()


def test_no_queries_at_all_is_said(inside: Ettin, tmp_path: Path) -> None:
    (tmp_path / "queries").write_text("\n\n")
    ran = inside("search", "--queries", str(tmp_path / "queries"), "-r", "none")
    assert (ran.code, ran.out, ran.err) == (0, "", "ettin: no queries\n")


# Search without an index


def test_a_source_is_indexed_once_in_the_cache_and_then_kept_up_to_date(
    ettin: Ettin, docs: Path
) -> None:
    first = ettin("search", FERRY, "docs", *ALL)
    again = ettin("search", FERRY, "docs", *ALL)
    assert "files: 3 new, 0 changed, 0 gone, 0 unchanged; 3 passages embedded" in first.err
    assert "new" not in again.err
    assert hits(again) == hits(first)
    (docs / "new.txt").write_text("The ferry sails at ten.\n")
    assert "new.txt" in ids(ettin("search", FERRY, "docs", *ALL))
    assert not Path(".ettin").exists()


def test_a_retriever_that_there_is_not_is_refused_before_a_source_is_indexed(
    ettin: Ettin, docs: Path
) -> None:
    ran = ettin("search", FERRY, "docs", "-r", "none", "--retriever", "sparse")
    assert (ran.code, ran.out) == (2, "")
    known = "auto, dense, bm25, hybrid, multi-vector"
    assert ran.err == f"ettin: error: unknown retriever 'sparse'\n  hint: {known}\n"
    assert not Path("cache").exists()


def test_a_source_is_not_added_to_the_index_of_the_environment(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs/bread.txt", "-i", "mine")
    ettin.monkeypatch.setenv("ETTIN_INDEX", "mine")
    assert ids(ettin("search", FERRY, "docs/fares.txt", *ALL)) == ["fares.txt"]
    assert ids(ettin("search", FERRY, *ALL)) == ["bread.txt"]


def test_records_on_stdin_are_a_source(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"_id": "x", "text": "The ferry sails."}\n')
    with (tmp_path / "in").open() as stdin:
        ettin.monkeypatch.setattr("sys.stdin", stdin)
        (hit,) = hits(ettin("search", FERRY, "-", "-r", "none"))
    assert (hit["doc_id"], hit["path"]) == ("x", None)


@pytest.mark.parametrize(
    ("words", "code", "said", "hint"),
    [
        (["when", "does", "it", "sail"], 1, "cannot open does", "QUERY of several words in quotes"),
        (["--queries", "q.txt", "ferry"], 1, "cannot open ferry", "every argument is a SOURCE"),
        (["-", "-"], 2, "stdin can be read only once", "as a file"),
        (["--queries", "-", "-"], 2, "stdin can be read only once", "as a file"),
    ],
)
def test_words_that_are_no_sources_are_explained(
    ettin: Ettin, words: list[str], code: int, said: str, hint: str
) -> None:
    Path("q.txt").write_text("ferry\n")
    ran = ettin("search", *words)
    assert ran.code == code
    assert said in ran.err
    assert hint in ran.err


def test_a_lower_cap_is_the_rerankers_and_leaves_the_index_of_a_source_alone(
    ettin: Ettin, docs: Path
) -> None:
    (docs / "long.txt").write_text("The ferry sails at nine. " * 9)
    ettin("search", FERRY, "docs", "-r", "none")
    ran = ettin("search", FERRY, "docs", "-r", "embedded", "--max-length", "16")
    assert ran.code == 0
    assert "1 of 4 texts truncated at the reranker's token limit" in ran.err
    assert [hit["doc_id"] for hit in hits(ran) if hit.get("truncated")] == ["long.txt"]


# Locations of hits


@pytest.fixture
def indexed(ettin: Ettin, docs: Path) -> Ettin:
    ettin("index", "docs")
    return ettin


def test_from_a_folder_below_the_index_is_found_and_paths_lead_back(
    indexed: Ettin, docs: Path
) -> None:
    (docs / "a" / "b").mkdir(parents=True)
    indexed.monkeypatch.chdir(docs / "a" / "b")
    ran = indexed("search", "dough", "-r", "none", "-k", "1")
    assert hits(ran)[0]["path"] == "../../bread.txt"
    assert Path(hits(ran)[0]["path"]).is_file()


def test_a_folder_without_a_manifest_hides_no_index_above(indexed: Ettin, docs: Path) -> None:
    (docs / ".ettin").mkdir()
    indexed.monkeypatch.chdir(docs)
    assert ids(indexed("search", "dough", "-r", "none", "-k", "1")) == ["bread.txt"]


def test_stale_hits_are_marked_and_the_command_named_refreshes_them(
    indexed: Ettin, docs: Path
) -> None:
    (docs / "bread.txt").unlink()
    (docs / "fares.txt").write_text("A ferry ticket costs five coins.\n")
    (docs / "below").mkdir()
    indexed.monkeypatch.chdir(docs / "below")
    ran = indexed("search", FERRY, *ALL)
    assert {hit["doc_id"]: hit.get("stale") for hit in hits(ran)} == {
        "ferry.md": None,
        "bread.txt": True,
        "fares.txt": True,
    }
    assert "2 of 3 hits stale" in ran.err
    command = ran.err.partition("to update: ettin ")[2].splitlines()[0]
    assert indexed(*command.split()).code == 0
    fresh = indexed("search", FERRY, *ALL)
    assert "stale" not in fresh.err
    assert sorted(ids(fresh)) == ["fares.txt", "ferry.md"]


def test_the_refreshing_command_quotes_an_index_with_spaces(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs", "-i", "my index")
    (docs / "bread.txt").unlink()
    ran = ettin("search", "dough", "-i", "my index", "-r", "none")
    assert ran.err.count("to update: ettin index -i 'my index'\n") == 1


def test_a_changed_time_alone_is_not_stale(indexed: Ettin, docs: Path) -> None:
    os.utime(docs / "bread.txt", (1, 1))
    assert "stale" not in indexed("search", "dough", "-r", "none").out


# Opening


@pytest.fixture
def editor(ettin: Ettin, tmp_path: Path) -> Path:
    """A program that records the files it was told to open."""
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$(dirname "$0")/opened"\n')
    script.chmod(0o755)
    ettin.monkeypatch.setenv("VISUAL", f"{script} --wait")
    return tmp_path / "opened"


def test_open_goes_to_the_line_that_is_shown(inside: Ettin, editor: Path) -> None:
    inside("search", FERRY, "-r", "none", "--open")
    assert editor.read_text().splitlines() == ["--wait", "+3", "docs/ferry.md"]


def test_open_speaks_to_editors_that_want_a_place(inside: Ettin, editor: Path) -> None:
    code = editor.with_name("editor").rename(editor.with_name("code"))
    inside.monkeypatch.setenv("VISUAL", str(code))
    inside("search", FERRY, "-r", "none", "--open")
    assert editor.read_text().splitlines() == ["--goto", "docs/ferry.md:3"]


def test_a_file_name_that_begins_with_a_dash_is_no_option(ettin: Ettin, editor: Path) -> None:
    Path("-R.txt").write_text("The ferry sails.\n")
    ettin("search", FERRY, "./-R.txt", "-r", "none", "--open")
    assert editor.read_text().splitlines()[1:] == ["+1", "./-R.txt"]


@pytest.mark.parametrize("options", [["--min-score", "9"], ["--filter", "x=y"]])
def test_nothing_to_open_is_an_error(inside: Ettin, options: list[str]) -> None:
    ran = inside("search", FERRY, "-r", "none", "--open", *options)
    assert ran.code == 1
    assert "no file to open" in ran.err


def test_an_editor_that_is_not_there_is_said(inside: Ettin) -> None:
    inside.monkeypatch.setenv("VISUAL", "no-such-editor")
    ran = inside("search", FERRY, "-r", "none", "--open")
    assert ran.code == 1
    assert "cannot run no-such-editor: No such file or directory" in ran.err


# On a terminal


def test_auto_is_a_table_on_a_terminal_and_jsonl_in_a_pipe(
    inside: Ettin, terminal: Terminal
) -> None:
    piped = inside("search", FERRY, "-r", "none", "-k", "2")
    shown = terminal("search", FERRY, "-r", "none", "-k", "2")
    assert piped.out.startswith('{"query_id":"1"')
    assert "\x1b[1mTimetable" in shown.out
    assert "{" not in shown.out


def test_parquet_stays_away_from_a_terminal(inside: Ettin, terminal: Terminal) -> None:
    ran = terminal("search", FERRY, "-r", "none", "-f", "parquet")
    assert ran.code == 2
    assert "Parquet is binary and cannot be printed to a terminal" in ran.out
    assert "PAR1" not in ran.out


@pytest.mark.parametrize("format", ["md", "paths", "csv", "tsv", "jsonl"])
def test_what_a_file_holds_cannot_command_a_terminal(
    ettin: Ettin, terminal: Terminal, format: str
) -> None:
    Path("evil\x1b]0;owned\x07.txt").write_text("A ferry \x1b[2J\x9b31m \u202eturned\ttab.\n")
    ettin("index", ".", "--include", "*.txt")
    ran = terminal("search", "ferry", "-r", "none", "-f", format)
    assert ran.code == 0
    assert not set("\x1b\x07\x9b\u202e") & set(ran.out)


def test_a_search_of_files_changes_no_index_of_others(ettin: Ettin, docs: Path) -> None:
    (docs.parent / "other.md").write_text("The shop opens at nine.")
    ettin("index", "docs", "-i", "mine")
    before = json.loads(Path("mine/manifest.json").read_text())
    done = ettin("search", "shop", "other.md", "-i", "mine", "-r", "none")
    assert (done.code, done.out) == (2, "")
    assert "mine is an index of other sources: docs" in done.err
    assert "leave out -i, or search the index without SOURCE" in done.err
    assert json.loads(Path("mine/manifest.json").read_text()) == before
    assert ettin("search", "shop", "docs", "-i", "mine", "-r", "none").code == 0
    assert ettin("search", "shop", "other.md", "-i", "new", "-r", "none", "-f", "paths").out
