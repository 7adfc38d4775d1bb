"""Results go to stdout, everything else to stderr, without control characters, in a good table."""

import io
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import ettin_cli
from ettin_cli.console.console import Console
from ettin_cli.console.table import print_answer
from ettin_cli.errors import CorpusError, EttinError
from ettin_cli.files.queries import read_queries
from ettin_cli.index import Index
from ettin_cli.records import Answer, Query
from ettin_cli.searching import searched_text
from ettin_cli.serving.search_answers import search_answer
from ettin_cli.text.escaping import inert
from ettin_cli.text.snippets import best_lines, query_words, spans
from tests.test_export import answer, hit, written

LONG = "The ferry from the western pier sails at nine o'clock and at noon. " * 9


def drawn(found: Answer, *, width: int = 80, encoding: str = "utf-8", full: bool = False) -> str:
    from rich.console import Console as RichConsole

    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = RichConsole(file=file, width=width, color_system=None, highlight=False)
    print_answer(console, found, titled=False, full_text=full)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


# The table


@pytest.mark.parametrize("width", [40, 80, 160])
def test_no_line_is_wider_than_the_terminal_or_ends_in_spaces(width: int) -> None:
    hits = [
        hit("a/very/long/path/" * 4 + "file", 12.345, title="A title " * 20, text=LONG, page=12),
        hit("b", -1.5, text="short"),
        hit("c", 0.5, text="日本語の文章です。" * 30, title="標題" * 40),
    ]
    from rich.cells import cell_len

    for line in drawn(answer(hits, "when does the ferry sail"), width=width).splitlines():
        assert cell_len(line) <= width
        assert line == line.rstrip()


def test_a_hit_has_rank_movement_score_title_place_and_lines() -> None:
    from dataclasses import replace

    hits = [
        replace(hit("a", 3.0, title="Boats", text="Hello.\n\nThe ferry sails."), retrieval_rank=3),
        replace(hit("b", 2.0), retrieval_rank=2),
        replace(hit("c", 1.0), retrieval_rank=1, stale=True, truncated=True),
    ]
    table = drawn(answer(hits, "ferry"))
    first = table.splitlines()[0]
    assert re.match(r"  1  ▲2 +3\.000  Boats +a\.md:5$", first)
    assert "  2  =  " in table
    assert "  3  ▼2 " in table
    assert "[stale] [cut]" in table
    assert "The ferry sails." in table


def test_a_terminal_without_arrows_gets_plain_ones() -> None:
    from dataclasses import replace

    table = drawn(answer([replace(hit("a", 3.0), retrieval_rank=3)]), encoding="ascii")
    assert "  1  ^2 " in table


def test_without_a_reranker_nothing_has_moved() -> None:
    from dataclasses import replace

    table = drawn(replace(answer([hit("a", 3.0)]), reranker="none"))
    assert table.startswith("  1    3.000  a.md:3")


def test_the_whole_text_is_shown_when_asked_for() -> None:
    text = "\n".join(f"line {number}" for number in range(40))
    shown = drawn(answer([hit("a", 1.0, text=text)]), full=True)
    assert "line 39" in shown
    assert "line 39" not in drawn(answer([hit("a", 1.0, text=text)]))


def test_text_from_outside_obeys_nothing() -> None:
    evil = (
        "\x1b[31mred\x1b[0m \x1b]8;;http://x\x07link \u202eturned\u2066 [bold]markup[/bold] \x9b1m"
    )
    shown = drawn(answer([hit("a", 1.0, title=evil, text=evil, path=f"{evil}.md")]))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert "[bold]markup[/bold]" in shown


@given(st.text())
def test_inert_text_holds_no_control_codes(text: str) -> None:
    shown = inert(text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    shown.encode("utf-8")


# Snippets


@given(st.text(), st.text(), st.integers(1, 4))
def test_marked_words_lie_in_the_snippet_and_the_snippet_in_the_text(
    text: str, query: str, lines: int
) -> None:
    snippet = best_lines(text, query, lines)
    for start, end in snippet.spans:
        assert 0 <= start < end <= len(snippet.text)
    for line in snippet.text.split("\n"):
        assert line in text


def test_words_are_found_in_their_other_forms() -> None:
    text = "Ferries sailed; the FERRY is sailing."
    marked = [text[start:end] for start, end in spans(text, query_words("when do ferries sail"))]
    assert marked == ["Ferries", "sailed", "FERRY", "sailing"]


TYPED = 'ferry -cargo port:west "salt and rope"'


def test_only_words_that_are_searched_for_are_marked_and_choose_the_lines(tmp_path: Path) -> None:
    from rich.console import Console as RichConsole

    text = "The west port.\n\n\n\nA west port.\n\n\n\nFerries bring salt and rope.\n\n\n\nThe end."
    documents = [{"_id": "a", "text": text, "port": "west"}]
    with ettin_cli.Session(offline=True) as session:
        folder = tmp_path / "index"
        session.build(documents=documents, into=folder, embedder="embedded")
        answer = session.open(folder, reranker="none").search(TYPED)
        dense = session.open(folder, reranker="none", retriever="dense").search(TYPED)
    assert answer.query.text == answer.to_dict()["query"] == TYPED
    shown = search_answer(answer, "notes", "1", None)
    assert shown["query"] == TYPED
    marks = [text[one["start"] : one["end"]] for one in shown["hits"][0]["highlights"]]
    assert marks == ["Ferries", "salt", "rope"]
    file = io.StringIO()
    terminal = RichConsole(file=file, width=80, force_terminal=True, color_system="standard")
    print_answer(terminal, answer, titled=False, full_text=True)
    assert re.findall("\x1b\\[1;33m(.*?)\x1b", file.getvalue()) == marks
    assert "> Ferries bring salt and rope." in written("md", answer).decode()
    # To the dense retriever, all of the query is text.
    assert {"west", "port"} <= {
        text[one["start"] : one["end"]]
        for one in search_answer(dense, "notes", "1", None)["hits"][0]["highlights"]
    }
    with Index(folder) as index:
        assert searched_text(TYPED, "auto", index) == "ferry salt and rope"
        assert searched_text(TYPED, "dense", index) == TYPED


def test_the_lines_with_most_of_the_words_are_chosen() -> None:
    text = "ferry\n\n\nnothing\nnothing\nthe ferry sails at nine\nfrom the pier\n"
    assert best_lines(text, "does the ferry sail at nine", lines=1).line == 5


# The console


def test_colour_is_for_terminals_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [answer([hit("a", 1.0, text="ferry")], "ferry")]
    Console().answers(found, format="table", output=None, many=False)
    assert "\x1b" not in capsys.readouterr().out
    Console(color="always").answers(found, format="table", output=None, many=False)
    assert "\x1b[1;33mferry" in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    Console().answers(found, format="auto", output=None, many=False)
    assert "\x1b[" not in capsys.readouterr().out


def test_progress_in_a_log_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("ettin_cli.console.progress.time.monotonic", lambda: now[0])
    with Console().track("embedding", 8, "passages") as advance:
        for now[0] in (1.0, 6.0, 7.0, 12.0):
            advance(2)
    assert capsys.readouterr().err.splitlines() == [
        "ettin: embedding: 4 of 8 passages, 0.7/s, 6 s left"
    ]


def test_progress_without_a_total_tells_the_time_left_by_the_share_that_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("ettin_cli.console.progress.time.monotonic", lambda: now[0])
    with Console().track("reranking", None, "pairs", lambda: now[0] / 40) as advance:
        for now[0] in (10.0, 20.0):
            advance(30)
    with Console().track("reranking", None, "pairs") as advance:
        now[0] = 30.0
        advance(7)
    assert capsys.readouterr().err.splitlines() == [
        "ettin: reranking: 30 pairs, 3.0/s, 30 s left",
        "ettin: reranking: 60 pairs, 3.0/s, 20 s left",
        "ettin: reranking: 7 pairs, 0.7/s",
    ]


def test_quiet_has_no_progress_and_no_summary_but_says_what_matters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console(quiet=True)
    with console.track("embedding", 8, "passages") as advance:
        advance(8)
    console.answers([answer([hit("a", 1.0)])], format="jsonl", output=None, many=False)
    assert capsys.readouterr().err == ""
    console.answers([answer([])], format="jsonl", output=None, many=False)
    assert capsys.readouterr().err == "ettin: no hits\n"


def test_cut_and_stale_texts_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    hits = [replace(hit("a", 1.0), truncated=True), replace(hit("b", 1.0), stale=True)]
    Console(quiet=True).answers([answer(hits)], format="jsonl", output=None, many=False)
    said = capsys.readouterr().err
    assert "1 of 2 texts truncated at the reranker's token limit" in said
    assert "1 of 2 hits stale" in said
    assert said.endswith("to update: ettin index\n")


def test_a_table_does_not_go_into_a_file(tmp_path: Path) -> None:
    with pytest.raises(EttinError, match="a table cannot be written to a file"):
        found = [answer([hit("a", 1.0)])]
        Console().answers(found, format="table", output=tmp_path / "a", many=False)
    assert list(tmp_path.iterdir()) == []


# Query files


def test_queries_come_as_json_tabs_or_lines(tmp_path: Path) -> None:
    path = tmp_path / "queries"
    rows = [json.dumps({"_id": 3, "text": "a"}), '{"query": "b"}', "", "q7\tc\td", "plain words"]
    path.write_text("\ufeff" + "\r\n".join(rows), encoding="utf-8")
    assert list(read_queries(path)) == [
        Query("3", "a"),
        Query("2", "b"),
        Query("q7", "c\td"),
        Query("5", "plain words"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'a\n{"text": \n', ":2: broken JSON"),
        (b'{"_id": "1"}', ':1: no "text" of a query'),
        (b"q1\t \n", ":1: empty query"),
        (b"a\ncaf\xe9\n", ":2: not UTF-8"),
    ],
)
def test_a_line_that_is_no_query_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "queries").write_bytes(content)
    with pytest.raises(CorpusError, match=re.escape(said)):
        list(read_queries(tmp_path / "queries"))


def test_queries_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot read the queries in"):
        list(read_queries(tmp_path / "nowhere"))
