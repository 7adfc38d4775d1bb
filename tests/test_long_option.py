"""`--long` on the command line: truncation is reported, and max truncates nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.files.resuming import ResumableOutput
from tests.conftest import Ettin, Outcome

QUERY = "when does the ferry sail"
FILLER = "Knead the dough for ten minutes and let it rest in a warm place. "
ANSWER = "The ferry sails at nine."
LONG = FILLER * 40 + ANSWER
SHORT = "The pier was painted in spring."
CUT = "1 of 2 texts truncated at the reranker's token limit"
TOLD = "1 of 2 texts exceed the token limit of embedded: scored in 3 windows"


@pytest.fixture
def stand_in(ettin: Ettin) -> Ettin:
    ettin.monkeypatch.setenv("ETTIN_RERANKER", "embedded")
    return ettin


def parsed(ran: Outcome) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_score_finds_an_answer_beyond_the_limit(stand_in: Ettin) -> None:
    cut = stand_in("score", QUERY, SHORT, LONG)
    assert [row["text"] for row in parsed(cut)] == [SHORT, LONG]
    assert CUT in cut.err
    whole = stand_in("score", QUERY, SHORT, LONG, "--long", "max", "-v")
    assert [row["text"] for row in parsed(whole)] == [LONG, SHORT]
    assert "truncated at" not in whole.err
    assert TOLD in whole.err
    short = [[row["score"] for row in parsed(ran) if row["text"] == SHORT] for ran in (cut, whole)]
    assert short[0] == short[1]
    named = stand_in("score", QUERY, SHORT, LONG, "--long", "truncate")
    assert named.out == cut.out


def test_score_pairs_likewise(stand_in: Ettin, tmp_path: Path) -> None:
    rows = [{"query": QUERY, "document": text} for text in (SHORT, LONG)]
    words = ("score", "--pairs", str(written(tmp_path / "pairs.jsonl", *rows)))
    cut = stand_in(*words)
    assert "1 of 2 pairs truncated at the reranker's token limit" in cut.err
    whole = stand_in(*words, "--long", "max", "-v")
    assert "truncated at" not in whole.err
    assert TOLD in whole.err
    assert [row["document"] for row in parsed(whole)] == [SHORT, LONG]
    assert parsed(whole)[1]["score"] > parsed(whole)[0]["score"] > parsed(cut)[1]["score"]


@pytest.fixture
def candidates(tmp_path: Path) -> str:
    documents = [{"id": "short", "text": SHORT}, {"id": "long", "text": LONG}]
    return str(written(tmp_path / "in.jsonl", {"query": QUERY, "documents": documents}))


def hits(ran: Outcome) -> list[tuple[str, bool]]:
    (answer,) = parsed(ran)
    return [(hit["doc_id"], hit.get("truncated", False)) for hit in answer["hits"]]


def test_rerank_flags_what_it_cut(stand_in: Ettin, candidates: str) -> None:
    cut = stand_in("rerank", candidates)
    assert hits(cut) == [("short", False), ("long", True)]
    assert CUT in cut.err
    whole = stand_in("rerank", candidates, "--long", "max", "-v")
    assert hits(whole) == [("long", False), ("short", False)]
    assert "truncated at" not in whole.err
    assert TOLD in whole.err


def test_a_run_does_not_go_on_with_another_way_to_read(
    stand_in: Ettin, candidates: str, tmp_path: Path
) -> None:
    words = ("rerank", candidates, "-o", "out.jsonl", "--resume")

    def interrupted(self: ResumableOutput) -> None:
        raise KeyboardInterrupt

    with stand_in.monkeypatch.context() as patch:
        patch.setattr(ResumableOutput, "finish", interrupted)
        assert stand_in(*words, "--long", "max").code == 130
    refused = stand_in(*words)
    assert refused.code == 1
    assert "made with a different input, model or options" in refused.err
    assert stand_in(*words, "--long", "max").code == 0
    whole = stand_in("rerank", candidates, "--long", "max")
    assert (tmp_path / "out.jsonl").read_text() == whole.out


@pytest.fixture
def index(stand_in: Ettin, tmp_path: Path) -> Path:
    """A BEIR folder, with each document indexed as one passage."""
    folder = tmp_path / "beir"
    folder.mkdir()
    written(folder / "corpus.jsonl", {"_id": "short", "text": SHORT}, {"_id": "long", "text": LONG})
    written(folder / "queries.jsonl", {"_id": "q", "text": QUERY})
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\tlong\t1\n")
    assert stand_in("index", str(folder / "corpus.jsonl"), "--chunk-size", "none").code == 0
    return folder


def test_search_flags_what_it_cut(stand_in: Ettin, index: Path) -> None:
    # The reranker alone decides: a blend with the order of two texts would hide what it read.
    cut = stand_in("search", QUERY, "--blend", "0")
    assert hits(cut) == [("short", False), ("long", True)]
    assert CUT in cut.err
    whole = stand_in("search", QUERY, "--blend", "0", "--long", "max", "-v")
    assert hits(whole) == [("long", False), ("short", False)]
    assert "truncated at" not in whole.err
    assert TOLD in whole.err


def test_eval_measures_either_and_says_which(stand_in: Ettin, index: Path) -> None:
    files = ("--queries", str(index / "queries.jsonl"), "--qrels", str(index / "qrels.tsv"))
    dense = (*files, "--retriever", "dense", "--blend", "0")
    cut = stand_in("eval", *dense, "--metrics", "RR@10")
    assert [row["RR@10"] for row in parsed(cut)] == [0.5, 0.5]
    assert "1 of 2 texts truncated at the token limit of embedded" in cut.err
    whole = stand_in("eval", *dense, "--metrics", "RR@10", "--long", "max", "-v")
    assert [row["RR@10"] for row in parsed(whole)] == [0.5, 1.0]
    assert "scored by their best window" in whole.err
    assert TOLD in whole.err
    assert "truncated at" not in whole.err
    again = stand_in("eval", *dense, "--metrics", "RR@10")
    assert [row["RR@10"] for row in parsed(again)] == [0.5, 0.5]


def test_a_calibration_is_for_one_way_to_read(stand_in: Ettin, index: Path) -> None:
    written(index / "queries.jsonl", *({"_id": f"q{n}", "text": QUERY} for n in range(4)))
    rows = "".join(
        f"q{n}\t{doc_id}\t{int(doc_id == 'long')}\n"
        for n in range(4)
        for doc_id in ("long", "short")
    )
    (index / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    files = ("--queries", str(index / "queries.jsonl"), "--qrels", str(index / "qrels.tsv"))
    assert stand_in("eval", *files, "--calibrate", "--long", "max").code == 0
    words = ("search", QUERY, "--min-probability", "0.1")
    assert hits(stand_in(*words, "--long", "max"))[0] == ("long", False)
    refused = stand_in(*words)
    assert refused.code == 1
    assert "long max instead of truncate" in refused.err
    assert "hits have no probability" in stand_in("search", QUERY).err
    assert stand_in("eval", *files, "--calibrate").code == 0
    refused = stand_in(*words, "--long", "max")
    assert "--long max --queries FILE" in refused.err


COMMANDS = [
    ["search", QUERY],
    ["score", QUERY, SHORT],
    ["score", "--pairs", "pairs.jsonl"],
    ["rerank", "in.jsonl"],
    ["eval", "-i", "none"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_unknown_way_is_wrong_usage(stand_in: Ettin, words: list[str]) -> None:
    ran = stand_in(*words, "--long", "mean")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        "ettin: error: unknown mode for long texts 'mean'",
        "  hint: truncate, max",
    ]


@pytest.mark.parametrize("command", ["search", "eval"])
def test_there_are_no_windows_without_a_reranker(
    stand_in: Ettin, index: Path, command: str
) -> None:
    words = [QUERY] if command == "search" else [str(index)]
    ran = stand_in(command, *words, "-r", "none", "--long", "max")
    assert (ran.code, ran.out) == (2, "")
    assert "the mode max for long texts needs a reranker" in ran.err
