"""`ettin score`: order and values are the reranker's, for every way to pass the texts."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker
from ettin_cli.records import Silence
from tests.conftest import Ettin, Outcome, Terminal

QUERY = "When does the ferry sail?"
TEXTS = ["Knead the dough.", "The ferry sails at nine.", "The ferry is blue."]


@pytest.fixture
def score(ettin: Ettin) -> Ettin:
    ettin.monkeypatch.setenv("ETTIN_RERANKER", "embedded")
    return ettin


def rows(ran: Outcome) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def test_rows_are_best_first_with_the_place_and_score_of_each_text(score: Ettin) -> None:
    found = rows(score("score", QUERY, *TEXTS))
    reranker = load_reranker(
        find_reranker("embedded", offline=True, reporter=Silence()), EngineSettings(), Silence()
    )
    expected = reranker.score([(QUERY, text) for text in TEXTS]).values.tolist()
    assert [row["rank"] for row in found] == [1, 2, 3]
    assert [row["index"] for row in found] == sorted(range(3), key=lambda at: -expected[at])
    for row in found:
        assert list(row) == ["rank", "index", "score", "text"]
        assert row["text"] == TEXTS[row["index"]]
        assert row["score"] == pytest.approx(expected[row["index"]], abs=1e-5)


def test_equal_texts_keep_their_order(score: Ettin) -> None:
    found = rows(score("score", QUERY, *[TEXTS[1]] * 3))
    assert [row["index"] for row in found] == [0, 1, 2]


def test_one_text_in_a_pipe_is_the_bare_number(score: Ettin) -> None:
    out = score("score", QUERY, TEXTS[1]).out
    (row,) = rows(score("score", QUERY, TEXTS[1], "-f", "jsonl"))
    assert float(out) == pytest.approx(row["score"], rel=1e-5)
    assert out.count("\n") == 1


def test_a_text_comes_from_a_file_whole(score: Ettin, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes("\ufeffThe ferry\nsails at nine.\n".encode())
    (row,) = rows(score("score", QUERY, "@text.txt", "-f", "jsonl"))
    assert row["text"] == "The ferry\nsails at nine.\n"


def piped(score: Ettin, content: bytes, *words: str) -> Outcome:
    Path("stdin").write_bytes(content)
    with Path("stdin").open(encoding="utf-8") as stdin:
        score.monkeypatch.setattr("sys.stdin", stdin)
        return score("score", QUERY, *words)


def test_texts_come_a_line_each_from_stdin(score: Ettin) -> None:
    content = "\ufeff" + "\r\n\n   \n".join(TEXTS) + "\n"
    found = rows(piped(score, content.encode(), "-"))
    assert {row["index"]: row["text"] for row in found} == dict(enumerate(TEXTS))


def test_texts_of_all_kinds_are_counted_in_their_order(score: Ettin) -> None:
    Path("a.txt").write_text("from a file")
    found = rows(piped(score, b"from\nstdin\n", "typed", "-", "@a.txt"))
    texts = [row["text"] for row in sorted(found, key=lambda row: row["index"])]
    assert texts == ["typed", "from", "stdin", "from a file"]


def test_no_texts_are_said_and_no_model_is_looked_for(score: Ettin) -> None:
    score.monkeypatch.setenv("ETTIN_RERANKER", "nobody/nothing")
    ran = piped(score, b"\n \n", "-")
    assert (ran.code, ran.out, ran.err) == (0, "", "ettin: no texts\n")


def test_stdin_that_is_no_utf8_is_named_by_its_line(score: Ettin) -> None:
    ran = piped(score, b"good\ncaf\xe9\n", "-")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "ettin: error: stdin:2: not UTF-8\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["", "text"], 2, "empty QUERY"),
        ([" \n", "text"], 2, "empty QUERY"),
        (["caf\udce9", "text"], 2, "QUERY is not UTF-8"),
        ([QUERY, "caf\udce9"], 2, "TEXT is not UTF-8"),
        ([QUERY, "@nowhere"], 1, "cannot read nowhere: No such file or directory"),
        ([QUERY, "@."], 1, "cannot read .: Is a directory"),
        ([QUERY, "@"], 1, "cannot read @: Is a directory"),
        ([QUERY, "@latin1"], 1, "latin1: not UTF-8"),
        ([QUERY, "text", "-f", "trec"], 2, "unsupported format 'trec'"),
        ([QUERY, "text", "-r", "none"], 2, "ettin score needs a reranker"),
        (
            [QUERY, "text", "-r", "embedded:5,32m"],
            2,
            'expected a single reranker, got "embedded:5,32m"',
        ),
        ([QUERY, "text", "--batch-size", "many"], 2, "batch size 'many'"),
        ([QUERY], 2, "missing TEXT"),
    ],
)
def test_what_cannot_be_scored_is_said(
    score: Ettin, words: list[str], code: int, said: str
) -> None:
    Path("latin1").write_bytes(b"caf\xe9")
    ran = score("score", *words)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_a_cut_text_is_counted(score: Ettin) -> None:
    ran = score("score", QUERY, "ferry " * 50, "short", "--max-length", "16")
    assert "ettin: 1 of 2 texts truncated at the reranker's token limit\n" in ran.err


def test_verbose_tells_what_ran(score: Ettin) -> None:
    assert score("score", QUERY, *TEXTS).err == ""
    assert (
        "reranking with embedded on onnxruntime cpu float32"
        in score("score", QUERY, *TEXTS, "-v").err
    )


def test_a_terminal_gets_a_table_with_a_text_a_row(score: Ettin, terminal: Terminal) -> None:
    texts = [*TEXTS, "日本語の文章です。" * 40, "two\nlines\t\x1b[31mred " * 2]
    out = terminal("score", QUERY, *texts, width=60).out
    plain = out.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "\x1b" not in plain
    header, *lines = (line for line in plain.splitlines() if not line.startswith("ettin: "))
    assert header.split() == ["rank", "index", "score", "text"]
    assert [line.split()[0] for line in lines if line[3:4].isdigit()] == list("12345")
    assert lines[0].split(maxsplit=3)[3] == "The ferry sails at nine."
    assert max(map(cell_len, lines)) <= 60
    texts_shown = " ".join(line[header.index("text") :] for line in lines)
    assert "two lines \\x1b[31mred two lines \\x1b[31mred" in texts_shown
    assert texts_shown.count("…") == 1


def test_one_text_on_a_terminal_is_a_row_too(score: Ettin, terminal: Terminal) -> None:
    ran = terminal("score", QUERY, TEXTS[1], "--color", "never")
    assert ran.out.splitlines()[-1].endswith("The ferry sails at nine.")
    assert "\x1b" not in ran.out


def test_auto_says_once_that_it_is_the_stand_in(ettin: Ettin) -> None:
    ran = ettin("score", QUERY, *TEXTS)
    assert ran.err.count("the embedded reranker instead of Ettin 32m") == 1
    assert "cross-encoder/ettin-reranker-32m-v1 is not on this machine" in ran.err
