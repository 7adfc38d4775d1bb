"""Command lines and their results: exit codes, stdout, stderr."""

import json
from pathlib import Path

import pytest

from tests.conftest import Ettin

FERRY = "When does the ferry sail?"


def test_search_over_a_folder_finds_and_reranks(ettin: Ettin, docs: Path) -> None:
    ran = ettin("search", FERRY, str(docs), "-r", "embedded", "-k", "2")
    answer = json.loads(ran.out)
    assert ran.code == 0
    assert [hit["doc_id"] for hit in answer["hits"]] == ["ferry.md", "fares.txt"]
    assert answer["hits"][0]["path"] == "docs/ferry.md"
    assert (answer["hits"][0]["start_line"], answer["hits"][0]["end_line"]) == (1, 5)
    assert answer["reranker"] == "embedded"
    assert set(answer["seconds"]) == {"embed", "retrieve", "rerank", "total"}


def test_index_then_search_with_filters_paths_and_formats(ettin: Ettin, tmp_path: Path) -> None:
    records = [{"_id": str(n), "text": f"ferry number {n}", "port": "ab"[n % 2]} for n in range(4)]
    table = tmp_path / "ferries.jsonl"
    table.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert ettin("index", str(table)).code == 0
    ran = ettin("search", "ferry", "-r", "none", "--filter", "port=a")
    assert sorted(hit["doc_id"] for hit in json.loads(ran.out)["hits"]) == ["0", "2"]
    ran = ettin("search", "ferry number 3", "-r", "none", "-f", "paths", "-k", "1")
    assert ran.out == "ferries.jsonl:4\n"
    ran = ettin("search", "ferry", "-r", "none", "-f", "trec")
    scores = [float(line.split()[4]) for line in ran.out.splitlines()]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4


def test_a_broken_record_is_named_and_the_rest_is_indexed(ettin: Ettin, tmp_path: Path) -> None:
    table = tmp_path / "notes.jsonl"
    table.write_text('{"_id": "a", "text": "one"}\n{"_id": "b", \n{"_id": "a", "text": "two"}\n')
    ran = ettin("index", str(table))
    assert ran.code == 3
    assert "notes.jsonl:2: broken JSON" in ran.err
    assert 'notes.jsonl:3: duplicate id "a"' in ran.err
    assert ettin("index").code == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["search", "q"], 1, "no .ettin in this folder"),
        (["search", ""], 2, "empty QUERY"),
        (["search", "q", "nowhere"], 1, "cannot open nowhere"),
        (["search", "q", "-f", "xml"], 2, "unknown format 'xml'"),
        (["search", "q", "-r", "32m", "docs"], 1, "is not on this machine"),
        (["search", "q", "docs", "-r", "no-such"], 1, "no model 'no-such'"),
        (["index"], 2, "no source to index"),
        (["index", "docs", "--chunk-size", "ten"], 2, "chunk size"),
        (["info", "-i", "nowhere"], 1, "no index at nowhere"),
        (["search", "q", "--device", "tpu", "docs"], 2, "unknown device 'tpu'"),
    ],
)
def test_bad_input_gets_a_line_and_a_code(
    ettin: Ettin, docs: Path, words: list[str], code: int, said: str
) -> None:
    ran = ettin(*words)
    assert ran.code == code
    assert said in ran.err
    assert ran.out == ""


def test_a_changed_file_makes_its_hit_stale(ettin: Ettin, docs: Path) -> None:
    ettin("index", str(docs))
    assert ettin("info", "--check").code == 0
    (docs / "ferry.md").write_text("# Timetable\n\nThe ferry sails at ten o'clock now.\n")
    ran = ettin("search", FERRY, "-r", "none", "-k", "1")
    assert json.loads(ran.out)["hits"][0]["stale"] is True
    assert "changed or deleted" in ran.err
    assert ettin("info", "--check").code == 1
    assert ettin("verify").code == 0


def test_exit_status_tells_that_there_is_no_hit(ettin: Ettin, docs: Path) -> None:
    ettin("index", str(docs))
    ran = ettin("search", FERRY, "-r", "none", "--min-score", "200", "-e")
    assert ran.code == 4
    assert json.loads(ran.out)["hits"] == []
    assert "no hits" in ran.err


def test_score_prints_a_bare_number_for_one_text_in_a_pipe(ettin: Ettin) -> None:
    near = ettin("score", FERRY, "The ferry sails at nine.", "-r", "embedded")
    far = ettin("score", FERRY, "Knead the dough.", "-r", "embedded")
    assert float(near.out) > float(far.out)


def test_auto_reports_that_it_uses_the_embedded_reranker(ettin: Ettin) -> None:
    ran = ettin("score", FERRY, "The ferry sails at nine.")
    assert "using the embedded reranker instead of Ettin 32m" in ran.err


def test_text_from_outside_is_inert_in_a_table(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "evil.txt").write_text("[bold]ferry[/bold] \x1b[31mred\x1b]8;;http://x\x07 \u202e")
    ran = ettin("search", "ferry", "evil.txt", "-r", "none", "-f", "table")
    assert "\x1b" not in ran.out
    assert "\u202e" not in ran.out
    assert "[bold]ferry[/bold]" in ran.out


def test_a_path_that_no_file_fits_gives_no_hits(ettin: Ettin, docs: Path) -> None:
    ran = ettin("search", FERRY, str(docs), "-r", "embedded", "--path", "*.epub")
    assert ran.code == 0
    assert json.loads(ran.out)["hits"] == []
    assert "no hits" in ran.err
