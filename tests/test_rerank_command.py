"""`ettin rerank` on the command line, with the embedded model."""

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.files.resuming import ResumableOutput
from tests.conftest import Ettin, Terminal

FERRY = {
    "query_id": "q1",
    "query": "when does the ferry sail",
    "topic": "boats",
    "documents": [
        {"id": "bread", "text": "Knead the dough for ten minutes.", "shelf": 3},
        {"id": "ferry", "title": "Timetable", "text": "The ferry sails at nine.", "shelf": 4},
    ],
}
BREAD = {
    "query": "how long to knead dough",
    "ctxs": ["The ferry sails at nine.", "Knead the dough for ten minutes."],
}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(FERRY) + "\n" + json.dumps(BREAD) + "\n", encoding="utf-8")
    return path


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_answers_have_the_promised_shape_and_the_best_first(ettin: Ettin, given: Path) -> None:
    done = ettin("rerank", str(given), "-r", "embedded")
    assert done.code == 0
    first, second = parsed(done.out)
    assert list(first) == ["query_id", "query", "topic", "reranker", "engine", "hits"]
    assert (first["query_id"], first["topic"]) == ("q1", "boats")
    assert [hit["doc_id"] for hit in first["hits"]] == ["ferry", "bread"]
    assert [hit["retrieval_rank"] for hit in first["hits"]] == [2, 1]
    assert [hit["rank"] for hit in first["hits"]] == [1, 2]
    assert first["hits"][0]["metadata"] == {"shelf": 4}
    assert first["hits"][0]["retrieval_score"] is None
    assert second["query_id"] == "2"
    assert [hit["passage_id"] for hit in second["hits"]] == [1, 0]
    assert "4 hits of 2 queries, reranked by embedded" in done.err


def test_a_run_says_the_same_twice_and_has_no_times(ettin: Ettin, given: Path) -> None:
    once, again = (ettin("rerank", str(given), "-r", "embedded").out for _ in range(2))
    assert once == again
    assert "seconds" not in once


def test_what_is_kept_can_be_narrowed(ettin: Ettin, given: Path) -> None:
    done = ettin(
        "rerank", str(given), "-r", "embedded", "-k", "1", "--max-documents", "1", "--no-text"
    )
    first, second = parsed(done.out)
    assert [hit["doc_id"] for hit in first["hits"]] == ["bread"]
    assert [hit["doc_id"] for hit in second["hits"]] == ["0"]
    assert "text" not in first["hits"][0]
    assert "ettin: 2 documents beyond --max-documents skipped" in done.err
    scores = [hit["score"] for hit in parsed(ettin("rerank", str(given)).out)[0]["hits"]]
    floor = sum(scores) / 2
    kept = parsed(ettin("rerank", str(given), "--min-score", str(floor)).out)[0]["hits"]
    assert [hit["score"] for hit in kept] == scores[:1]


def test_the_output_of_a_search_can_be_reranked(ettin: Ettin, docs: Path, tmp_path: Path) -> None:
    found = ettin("search", "when does the ferry sail", str(docs), "-r", "none", "-f", "jsonl").out
    (tmp_path / "found.jsonl").write_text(found, encoding="utf-8")
    done = ettin("rerank", "found.jsonl", "-r", "embedded")
    [answer] = parsed(done.out)
    assert answer["hits"][0]["doc_id"] == "ferry.md"
    assert answer["embedder"] == "embedded"
    by_search = {hit["doc_id"]: hit["score"] for hit in json.loads(found)["hits"]}
    assert {hit["doc_id"]: hit["retrieval_score"] for hit in answer["hits"]} == by_search


def test_a_trec_run_comes_back_as_one(ettin: Ettin, tmp_path: Path) -> None:
    from ettin_cli.corpus import EVERYDAY_ANSWERS, sample_corpus

    corpus = sample_corpus(EVERYDAY_ANSWERS)
    queries = str(corpus / "queries.jsonl")
    ettin("search", "--queries", queries, str(corpus), "-r", "none", "-o", "first.trec")
    done = ettin(
        *("rerank", "first.trec", "--queries", queries, "--corpus", str(corpus)),
        *("-r", "embedded", "-o", "second.trec"),
    )
    assert done.code == 0, done.err
    before, after = (
        [line.split() for line in (tmp_path / name).read_text().splitlines()]
        for name in ("first.trec", "second.trec")
    )
    assert {(row[0], row[2]) for row in after} == {(row[0], row[2]) for row in before}
    assert [row[2] for row in after] != [row[2] for row in before]
    assert len({row[0] for row in after}) > 10


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_table_of_pairs_goes_in_and_one_of_hits_comes_out(
    ettin: Ettin, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(
        "query,text,lang\nferry,Bread rises.,en\nferry,The ferry sails.,de\n", encoding="utf-8"
    )
    assert ettin("rerank", "pairs.csv", "-r", "embedded", "-o", f"out.{suffix}").code == 0
    delimiter = "," if suffix == "csv" else "\t"
    with (tmp_path / f"out.{suffix}").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=delimiter))
    assert [(row["rank"], row["text"]) for row in rows] == [
        ("1", "The ferry sails."),
        ("2", "Bread rises."),
    ]
    assert json.loads(rows[0]["metadata"]) == {"lang": "de"}


def test_bad_rows_are_written_beside_the_output_and_the_rest_is_done(
    ettin: Ettin, given: Path, tmp_path: Path
) -> None:
    with given.open("a", encoding="utf-8") as file:
        file.write('{"query": \n{"query": "q", "documents": [{"id": 1}, "a"]}\n')
    done = ettin("rerank", "in.jsonl", "-r", "embedded", "-o", "out.jsonl")
    assert done.code == 3
    rejects = parsed((tmp_path / "out.jsonl.rejects.jsonl").read_text())
    assert [(row["line"], row["path"]) for row in rejects] == [(3, "in.jsonl"), (4, "in.jsonl")]
    assert rejects[1]["reason"] == 'documents[0]: no "text" field; the fields are "id"'
    assert [len(row["hits"]) for row in parsed((tmp_path / "out.jsonl").read_text())] == [2, 2, 1]
    assert "rejected 2 rows or documents" in done.err
    loud = ettin("rerank", "in.jsonl", "-r", "embedded")
    assert loud.code == 3
    assert "ettin: rejected in.jsonl:3: broken JSON" in loud.err


def test_the_hits_of_a_search_keep_their_place_and_metadata(inside: Ettin, tmp_path: Path) -> None:
    inside("search", "ferry boat", "-r", "none", "-o", str(tmp_path / "found.jsonl"))
    (found,) = parsed((tmp_path / "found.jsonl").read_text())
    (answer,) = parsed(inside("rerank", str(tmp_path / "found.jsonl"), "-r", "embedded").out)
    before = {hit["text"]: hit for hit in found["hits"]}
    assert len(answer["hits"]) == len(before) > 2
    assert any(hit["metadata"] for hit in found["hits"])
    for hit in answer["hits"]:
        old = before[hit["text"]]
        for name in ("doc_id", "title", "path", "start_line", "end_line"):
            assert hit[name] == old[name]
        assert old["metadata"].items() <= hit["metadata"].items()


def screen(written: str) -> str:
    """Return the final content of a terminal, without erased lines."""
    lines, row = [""], 0
    for part in re.split(r"(\n|\r|\x1b\[[\d;?]*[A-Za-z])", written):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith(("\r", "\x1b")):
            lines[row] += part
    return "\n".join(lines)


def test_no_bar_is_left_beside_what_is_shown(terminal: Terminal, tmp_path: Path) -> None:
    lines = [{"query": f"query {n}", "documents": ["It sails.", "Bread."]} for n in range(3)]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    shown = terminal("rerank", "in.jsonl", "-r", "embedded")
    assert "reranking" in shown.out
    left = screen(shown.out)
    assert "reranking" not in left
    assert left.count("query ") == len(lines)


def test_a_query_without_documents_has_no_hits(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"query": "q", "documents": []}\n')
    done = ettin("rerank", "in.jsonl", "-r", "embedded")
    assert done.code == 0
    assert parsed(done.out)[0]["hits"] == []
    assert done.err == "ettin: no hits\n"


def test_an_empty_file_is_done_and_said(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("")
    done = ettin("rerank", "in.jsonl", "-r", "embedded", "-o", "out.jsonl")
    assert (done.code, done.err) == (0, "ettin: no queries\n")
    assert (tmp_path / "out.jsonl").read_text() == ""


def test_a_document_of_a_megabyte_is_cut_and_said(ettin: Ettin, tmp_path: Path) -> None:
    row = {"query": "ferry", "documents": ["The ferry sails at nine. " * 40_000, "Bread."]}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n")
    done = ettin("rerank", "in.jsonl", "-r", "embedded", "--no-text")
    assert [hit.get("truncated", False) for hit in parsed(done.out)[0]["hits"]] == [True, False]
    assert "1 of 2 texts truncated at the reranker's token limit" in done.err


def test_repeated_ids_blends_and_other_scripts_are_said(ettin: Ettin, tmp_path: Path) -> None:
    row = {"query": "где паром", "documents": [{"id": 1, "text": "a"}, {"id": 1, "text": "b"}]}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n")
    done = ettin("rerank", "in.jsonl", "-r", "embedded", "--blend", "0.5")
    assert [hit["doc_id"] for hit in parsed(done.out)[0]["hits"]] == ["1", "1"]
    assert "ettin: 1 document with a duplicate id" in done.err
    assert "ettin: 1 query without scores: --blend used 1/rank" in done.err
    assert "not in Latin script" in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["none.jsonl"], 1, "no such file: none.jsonl"),
        (["in.jsonl", "--resume"], 2, "--resume needs an output file"),
        (["in.jsonl", "-r", "none"], 2, "ettin rerank needs a reranker"),
        (["in.jsonl", "--queries", "in.jsonl"], 2, "both --queries FILE and --corpus SOURCE"),
        (["in.jsonl", "-o", "out.xyz"], 2, "no format has the suffix"),
        (["in.jsonl", "-o", "none/out.jsonl"], 1, "no such folder: none"),
        (["in.jsonl", "-o", "cache", "-f", "jsonl"], 1, "it is a folder"),
        (["in.jsonl", "-f", "table", "-o", "out.csv"], 2, "a table cannot be written to a file"),
        (["in.jsonl", "--query-field", "ask"], 3, 'no "ask" field'),
    ],
)
def test_what_cannot_be_done_is_one_line(
    ettin: Ettin, given: Path, words: list[str], code: int, message: str
) -> None:
    reranker = [] if "-r" in words else ["-r", "embedded"]
    Path("cache").mkdir()
    done = ettin("rerank", *words, *reranker)
    assert done.code == code
    assert message in done.err
    assert not any(given.parent.glob("out*"))


def test_an_unfinished_run_does_not_go_on_with_another_input(
    ettin: Ettin, given: Path, tmp_path: Path
) -> None:
    words = ("rerank", "in.jsonl", "-r", "embedded", "-o", "out.jsonl", "--resume")

    def interrupted(self: ResumableOutput) -> None:
        raise KeyboardInterrupt

    with ettin.monkeypatch.context() as patch:
        patch.setattr(ResumableOutput, "finish", interrupted)
        assert ettin(*words).code == 130
    original = given.read_text()
    for other in (original.replace("nine", "ten"), original.splitlines(keepends=True)[0]):
        given.write_text(other)
        refused = ettin(*words)
        assert (refused.code, refused.out) == (1, "")
        assert "a different input" in refused.err
    given.write_text(original)
    assert ettin(*words).code == 0
    assert len(parsed((tmp_path / "out.jsonl").read_text())) == 2


def test_a_pipe_in_the_place_of_a_file_is_written_to(
    ettin: Ettin, given: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "out.jsonl")
    reader = os.open(tmp_path / "out.jsonl", os.O_RDONLY | os.O_NONBLOCK)
    assert ettin("rerank", "in.jsonl", "-r", "embedded", "-o", "out.jsonl").code == 0
    assert len(parsed(os.read(reader, 1 << 16).decode())) == 2
    os.close(reader)


def popen(folder: Path, *words: str, **streams: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "ETTIN_CACHE_DIR": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "ettin_cli", *words], cwd=folder, env=environment, **streams
    )


def test_a_pipe_gets_its_first_answer_before_the_input_ends(tmp_path: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with popen(tmp_path, "rerank", "-", "-r", "embedded", **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(FERRY).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["query_id"] == "q1"
        process.stdin.write(json.dumps(BREAD).encode() + b"\n")
        process.stdin.close()
        assert json.loads(process.stdout.readline())["query_id"] == "2"
        assert process.wait(60) == 0


def test_a_closed_pipe_ends_it_quietly(tmp_path: Path) -> None:
    rows = "".join(json.dumps({**BREAD, "query": f"bread {n}"}) + "\n" for n in range(300))
    (tmp_path / "in.jsonl").write_text(rows)
    script = f"{sys.executable} -m ettin_cli rerank in.jsonl -r embedded -q | head -1"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "ETTIN_CACHE_DIR": str(tmp_path / "cache")}
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["query"] == "bread 0"


def test_a_run_that_was_ended_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    texts = [
        f"Sentence {n} of boats, bread, birds and {n * 7 % 13} other things." for n in range(40)
    ]
    with (tmp_path / "in.jsonl").open("w") as file:
        for query in range(150):
            documents = [texts[(query + at) % 40] for at in range(8)]
            file.write(json.dumps({"query": f"thing {query}", "documents": documents}) + "\n")
    words = ["rerank", "in.jsonl", "-r", "embedded", "--threads", "1"]
    with popen(tmp_path, *words, "-o", "whole.jsonl", stderr=subprocess.DEVNULL) as process:
        assert process.wait(120) == 0
    mark = tmp_path / "out.jsonl.partial.json"
    with popen(tmp_path, *words, "-o", "out.jsonl", stderr=subprocess.PIPE) as process:
        while not mark.exists() and process.poll() is None:
            time.sleep(0.01)
        process.terminate()
        assert process.wait(60) == 143
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert "run the same command with --resume" in said
    assert not (tmp_path / "out.jsonl").exists()
    with popen(tmp_path, *words, "-o", "out.jsonl", "--resume", stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.wait(120) == 0
    assert "resuming after" in said
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
