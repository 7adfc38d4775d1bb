"""Tables fit the terminal, keep the important columns, and show each value on one line."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, strategies as st
from rich.cells import cell_len
from rich.console import Console as RichConsole

from ettin_cli.console.console import Console
from ettin_cli.console.table import print_answer
from ettin_cli.records import Answer, Hit
from tests.test_export import answer, hit

TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)
PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=120)
WIDTHS = st.integers(32, 200)
LONG = "The ferry from the western pier sails at nine o'clock and at noon. " * 9


def drawn(*hits: Hit, query: str = "ferry", width: int = 80, **options: Any) -> list[str]:
    file = io.StringIO()
    console = RichConsole(file=file, width=width, color_system=None, highlight=False)
    settings = {"titled": False, "full_text": False, **options}
    print_answer(console, answer(hits, query), **settings)
    return file.getvalue().split("\n")[:-1]


# Arbitrary input


@given(WIDTHS, TEXTS, TEXTS, PATHS, TEXTS, st.booleans())
@example(80, "a 👩‍👩‍👧‍👦 family 🇫🇷", "e\u0301" * 80, "日本語" * 20, "日本", False)
@example(32, "x" * 99, "word\u200bword\u2028line\x85line", "a\nb/c\rd.md", "x", True)
def test_no_line_is_wider_than_the_terminal(
    width: int, title: str, text: str, path: str, query: str, full_text: bool
) -> None:
    one = replace(
        hit("a", -12345.678, title=title, text=text, path=path, page=1234),
        stale=True,
        truncated=True,
        retrieval_rank=999,
    )
    for line in drawn(one, query=query, width=width, full_text=full_text):
        assert cell_len(line) <= width
        assert line == line.rstrip(" ")
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", line)


@given(WIDTHS, TEXTS, st.text("abc/ 日", min_size=1, max_size=150))
def test_the_line_number_and_the_marks_survive_any_width(width: int, title: str, path: str) -> None:
    one = replace(hit("a", 1.0, title=title, path=f"{path}.md"), stale=True, truncated=True)
    head = " ".join(drawn(one, width=width))
    assert re.search(r"md:3 \[stale\] \[cut\]", head)


# One hit


def test_a_narrow_terminal_has_title_and_place_below_the_score() -> None:
    one = replace(hit("a", 1.884, title="Frequently asked questions", text="No dogs."))
    assert drawn(one, width=40) == [
        "  1  ▲1     1.884",
        "     Frequently asked questions",
        "     a.md:3",
        "     No dogs.",
    ]


def test_a_long_title_ends_at_a_word() -> None:
    title = "Minutes of the season meeting, 18 March 2024, in the refectory"
    for width in range(60, 110):
        shown = drawn(hit("a", 1.0, title=title), width=width)[0]
        shortened_path = re.search(r"(Minutes.*?)(?: …)? +a\.md:3$", shown)
        assert shortened_path
        assert title.startswith(shortened_path[1])
        assert title[len(shortened_path[1]) :][:1] in ("", " ", ",")


def test_a_title_of_one_long_word_is_cut_where_it_must_be() -> None:
    shown = drawn(hit("a", 1.0, title="x" * 99), width=60)[0]
    assert re.search(r" x{20,}… {2,}a\.md:3$", shown)
    assert cell_len(shown) == 60


@pytest.mark.parametrize("title", ["Dogs 🐕", "標題がとても長い日本語の文書", "Cafe\u0301"])
def test_places_stand_at_the_right_edge_whatever_the_title(title: str) -> None:
    shown = drawn(hit("a", 1.0, title=title), width=80)[0]
    assert cell_len(shown) == 80
    assert shown.endswith(" a.md:3")


def test_a_long_path_loses_its_beginning() -> None:
    path = "a/very/long/way/down/to/the/folder/of/minutes/2024-03.md"
    shown = drawn(hit("a", 1.0, title="Minutes", path=path), width=80)[0]
    end = shown.partition("…")[2]
    assert f"{path}:3".endswith(end)
    assert end.startswith("/")


def test_scores_line_up_however_many_hits_there_are_and_however_far_they_moved() -> None:
    hits = [hit(f"d{number}", 1.0, title="T", text="t") for number in range(1, 1202)]
    hits[7] = replace(hits[7], retrieval_rank=12_345)
    heads = [line for line in drawn(*hits) if line.endswith(":3")]
    assert len(heads) == 1201
    assert {line.index("1.000") for line in heads} == {heads[-1].index("1.000")}
    assert "▲12337" in heads[7]


# The lines of a passage


def test_code_keeps_its_indentation() -> None:
    code = "def ferry():\n    if sails():\n\t\treturn 'nine'\n"
    assert drawn(hit("a", 1.0, text=code))[1:] == [
        " " * 19 + "def ferry():",
        " " * 19 + "    if sails():",
        " " * 19 + "        return 'nine'",
    ]


def test_indentation_that_all_lines_share_is_left_out() -> None:
    shown = drawn(hit("a", 1.0, text="        ferry one\n            ferry two\n"))
    assert [line[19:] for line in shown[1:]] == ["ferry one", "    ferry two"]


@pytest.mark.parametrize(
    "text",
    [
        "# Boats\n\nThe ferry sails.",
        "Boats\n=====\n\nThe ferry sails.",
        "Boats\nThe ferry sails.",
        "= Boats =\n\nThe ferry sails.",
    ],
)
def test_a_heading_that_says_the_title_again_is_not_repeated(text: str) -> None:
    shown = drawn(hit("a", 1.0, title="Boats", text=text), query="boats ferry")
    assert [line.strip() for line in shown[1:]] == ["The ferry sails."]


@pytest.mark.parametrize("text", ["# Boats", "Boats\n=====\n", "# Boats and oars\n\nText."])
def test_a_heading_that_is_all_or_says_more_is_shown(text: str) -> None:
    shown = drawn(hit("a", 1.0, title="Boats", text=text), query="boats")
    assert shown[1].strip() == text.split("\n")[0]


def test_lines_of_one_sentence_flow_and_others_do_not() -> None:
    text = "The ferry from the western pier sails at nine o'clock\nand at noon.\n- one ferry"
    assert [line[19:] for line in drawn(hit("a", 1.0, text=text), width=120)[1:]] == [
        "The ferry from the western pier sails at nine o'clock and at noon.",
        "- one ferry",
    ]


def test_the_rule_of_a_table_does_not_flow_into_its_rows() -> None:
    lines = ["ferry sails", f"{'=' * 30} {'=' * 30}", "ferry nine"]
    one = hit("a", 1.0, text="\n".join(lines))
    assert [line[19:] for line in drawn(one, width=120)[1:]] == lines


def test_lines_of_code_stay_lines() -> None:
    lines = ['raise OutputError(f"cannot write {self.target}: no ferry")', "self.lock = ferry"]
    one = hit("a", 1.0, text="\n".join(lines), path="a/ferry.py")
    assert [line[19:] for line in drawn(one, width=120)[1:]] == lines


def test_a_cut_snippet_ends_with_a_word_and_an_ellipsis() -> None:
    text = LONG.replace(".", ",")
    for width in range(60, 110):
        shown = drawn(hit("a", 1.0, text=text), width=width)
        assert len(shown) == 4
        assert shown[-1].endswith(" …")
        assert shown[-1].split()[-2] in text.split()


def test_the_whole_text_has_no_ellipsis_and_keeps_every_word() -> None:
    shown = drawn(hit("a", 1.0, text=LONG), full_text=True)
    assert " ".join(" ".join(shown[1:]).split()) == " ".join(LONG.split())


def test_answers_to_many_queries_are_headed_and_apart() -> None:
    shown = drawn(hit("a", 1.0, text="t"), query="two\nlines \x1b[31m", titled=True)
    assert shown[0] == "1  two\\nlines \\x1b[31m"
    assert shown[-1] == ""


def test_the_querys_words_are_marked_and_no_others() -> None:
    file = io.StringIO()
    console = RichConsole(file=file, width=80, color_system="standard", force_terminal=True)
    found = answer([hit("a", 1.0, text="Ferries sail; the ferryman sleeps.")], "does a ferry sail")
    print_answer(console, found, titled=False, full_text=False)
    marked = re.findall(r"\x1b\[1;33m(.*?)\x1b\[0m", file.getvalue())
    assert marked == ["Ferries", "sail"]


# Small tables


def rows_written(capsys: pytest.CaptureFixture[str], *rows: list[str], **options: Any) -> list[str]:
    Console().rows(["name", "size", "of"], rows, **options)
    return capsys.readouterr().out.split("\n")[:-1]


def test_in_a_pipe_a_row_is_a_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    long = "words and words " * 100
    lines = rows_written(capsys, ["a", "1", long], ["b\nc\u2028d\x85e", "10", ""], right="size")
    assert lines == [
        "name              size  of",
        f"a                    1  {long.rstrip()}",
        "b\\nc\\u2028d\\x85e    10",
    ]


def test_a_narrow_table_wraps_its_last_column_and_leaves_paths_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    path = "/a/very/long/path/to/some/folder/that/is/copied"
    prose = "some words that are too many for the line"
    lines = rows_written(capsys, ["a name", "1.00 MB", prose], ["b", "2 B", "short"])
    assert len(lines) == 4
    assert [line[:17].rstrip() for line in lines] == [
        "name    size",
        "a name  1.00 MB",
        "",
        "b       2 B",
    ]
    assert max(map(len, lines)) <= 40
    first = "many words in the first of the columns"
    assert first in "\n".join(rows_written(capsys, [first, "2 B", "a b c d e f g"]))
    assert path in "\n".join(rows_written(capsys, ["a name", "1.00 MB", path]))
    folded = rows_written(capsys, ["a name", "1.00 MB", path], folded=True)
    assert max(map(len, folded)) <= 41
    assert "".join(line[17:].strip() for line in folded[1:]) == path


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=4))
def test_columns_line_up_and_every_cell_is_inert(rows: list[tuple[str, str, str]]) -> None:
    import contextlib

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        Console().rows(["x", "y", "z"], [("|", "|", "|"), *(["|", *row[1:]] for row in rows)])
    lines = out.getvalue().split("\n")[:-1]
    assert len(lines) == len(rows) + 2
    assert {line[0] for line in lines[1:]} == {"|"}
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out.getvalue())


# Invalid widths


@pytest.mark.parametrize("columns", ["", "0", "-5", "wide", "1e3"])
def test_columns_that_are_no_width_are_as_good_as_none(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def table() -> str:
        Console().answers([answer([hit("a", 1.0, text=LONG)])], **settings)
        return capsys.readouterr().out

    settings: dict[str, Any] = {"format": "table", "output": None, "many": False}
    monkeypatch.delenv("COLUMNS", raising=False)
    expected = table()
    monkeypatch.setenv("COLUMNS", columns)
    assert table() == expected


def test_a_terminal_of_a_few_columns_is_treated_as_one_of_32(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "3")
    found: list[Answer] = [answer([hit("a", 1.0, title="Boats", text="The ferry sails.")])]
    Console().answers(found, format="table", output=None, many=False)
    assert capsys.readouterr().out.splitlines()[1:3] == ["     Boats", "     a.md:3"]
