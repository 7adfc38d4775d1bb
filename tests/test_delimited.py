"""CSV and TSV yield every valid row with its line, and report the others."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ettin_cli.corpus.delimited import delimited_rows
from ettin_cli.corpus.records import RecordError
from ettin_cli.storage import UnreadableError
from tests.reading import read, why_not, write

CELLS = st.text(st.sampled_from("ab\",;\t \n'é"), max_size=8)
ROWS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12)


def rows(text: str, kind: str = "csv") -> list[tuple[dict[str, Any] | str, int]]:
    """Return each row with its line; for a malformed row, the reason."""
    lines = io.StringIO(text, newline="")
    found = delimited_rows(lines, kind, "utf-8")
    return [(str(row) if isinstance(row, RecordError) else row, line) for row, line in found]


def values(text: str, kind: str = "csv") -> list[list[str] | str]:
    return [row if isinstance(row, str) else list(row.values()) for row, _ in rows(text, kind)]


@given(ROWS, st.sampled_from(["\n", "\r\n"]))
def test_what_a_spreadsheet_wrote_is_read_with_its_lines(
    table: list[tuple[str, str]], end: str
) -> None:
    text, begins = "a,b" + end, []
    for row in table:
        begins.append(text.count("\n") + 1)
        cells = io.StringIO(newline="")
        csv.writer(cells, lineterminator=end).writerow(row)
        text += cells.getvalue()
    expected = [
        ({"a": one, "b": other}, line) for (one, other), line in zip(table, begins, strict=True)
    ]
    assert rows(text) == expected


@given(ROWS)
def test_tabs_separate_as_commas_do(table: list[tuple[str, str]]) -> None:
    plain = [tuple(cell.replace("\t", " ") for cell in row) for row in table]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t").writerows([("a", "b"), *plain])
    assert values(text.getvalue(), "tsv") == [list(row) for row in plain]


@given(
    st.lists(st.text(st.sampled_from("ab\" '"), max_size=6), min_size=2, max_size=2).map(tuple),
    st.integers(0, 3),
)
def test_a_row_of_tabs_is_never_lost_to_a_quotation_mark(
    strange: tuple[str, ...], place: int
) -> None:
    plain = [("1", "one"), ("2", "two"), ("3", "three")]
    table = [*plain[:place], strange, *plain[place:]]
    text = "id\ttext\n" + "".join("\t".join(row) + "\n" for row in table)
    found = values(text, "tsv")
    assert len(found) == 4
    assert [row for at, row in enumerate(found) if at != place] == [list(row) for row in plain]


BROKEN = [
    pytest.param('5,"say "hello" twice"\n', id="quotes inside of quotes"),
    pytest.param('5,"never closed\n', id="a quotation left open"),
    pytest.param('5,"a\nb" c\n', id="a quotation closed too early, over two lines"),
    pytest.param("5\n", id="too few fields"),
    pytest.param("5,a,b\n", id="too many fields"),
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("after", ["", '6,six\n7,"sev\nen"\n8,"ei""ght"\n'])
def test_a_broken_row_costs_itself_alone(broken: str, after: str) -> None:
    found = rows("id,text\n1,one\n" + broken + after)
    assert found[0] == ({"id": "1", "text": "one"}, 2)
    reason, line = found[1]
    assert isinstance(reason, str)
    assert line == 3
    lines = broken.count("\n")
    expected: list[tuple[dict[str, str], int]] = [
        ({"id": "6", "text": "six"}, 3 + lines),
        ({"id": "7", "text": "sev\nen"}, 4 + lines),
        ({"id": "8", "text": 'ei"ght'}, 6 + lines),
    ]
    assert found[2:] == (expected if after else [])


def test_a_quotation_left_open_in_every_row_is_named_in_every_row() -> None:
    found = rows("id,text\n" + "".join(f'{n},"open {n}\n' for n in range(2000)))
    assert [line for _, line in found] == list(range(2, 2002))
    assert all(isinstance(reason, str) for reason, _ in found)


def test_inches_and_speech_in_tabs_are_themselves() -> None:
    text = 'id\ttext\n1\t"Hello" he said\n2\t"a\n3\tb\n4\tc"\n5\t"quoted"\n6\t6" nail\n'
    assert values(text, "tsv") == [
        ["1", '"Hello" he said'],
        ["2", '"a'],
        ["3", "b"],
        ["4", 'c"'],
        ["5", "quoted"],
        ["6", '6" nail'],
    ]


def test_empty_lines_are_passed_over_and_counted() -> None:
    assert rows("\n\nid,text\n\n1,a\n\n\n2,b\n") == [
        ({"id": "1", "text": "a"}, 5),
        ({"id": "2", "text": "b"}, 8),
    ]


def test_nothing_and_a_header_alone_have_no_rows() -> None:
    assert rows("") == rows("id,text\n") == []


def test_columns_without_a_name_are_called_by_their_place() -> None:
    assert rows(" id , text,,\n1,a,b,c\n") == [
        ({"id": "1", "text": "a", "column 3": "b", "column 4": "c"}, 2)
    ]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("\nid,text,text\n", '2 columns are named "text"'),
        ("\nid, id ,id\n", '3 columns are named "id"'),
    ],
)
def test_a_header_in_which_a_column_hides_another_is_refused(header: str, said: str) -> None:
    assert rows(header + "1,a,b\n2,c,d\n") == [(said, 2)]


def test_a_header_that_is_broken_is_refused() -> None:
    with pytest.raises(UnreadableError, match="the first row is not a header: broken CSV"):
        rows('id,"text" x\n1,a\n')


# Files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_a_table_is_read_in_the_encoding_of_its_text(
    tmp_path: Path, encoding: str, kind: str
) -> None:
    table = "id,text\n1,naïve\n2,der Wärter\n".replace(",", "," if kind == "csv" else "\t")
    documents, rejections, _ = read(write(tmp_path / f"a.{kind}", table.encode(encoding)))
    assert [document.text for document in documents] == ["naïve", "der Wärter"]
    assert rejections == []


def test_a_row_that_is_not_utf8_in_a_table_that_is_costs_itself_alone(tmp_path: Path) -> None:
    table = (
        "id,text\n1,naïve\n".encode()
        + b"2,\xe9t\xe9 \xe0 Vall\xe9e\n"
        + "3,café\n4,thé à la crème brûlée\n".encode()
    )
    documents, rejections, _ = read(write(tmp_path / "a.csv", table))
    assert [document.text for document in documents] == ["naïve", "café", "thé à la crème brûlée"]
    assert [(rejection.line, rejection.reason) for rejection in rejections] == [(3, "not UTF-8")]


def test_a_row_that_is_not_utf8_long_after_the_beginning_is_named(tmp_path: Path) -> None:
    table = b"id,text\n" + (b"1," + b"a" * 10_000 + b"\n") * 200 + b"2,\xe9t\xe9\n"
    *_, rejection = read(write(tmp_path / "a.csv", table))[1]
    assert (rejection.line, rejection.reason) == (202, "not UTF-8")


def test_binary_content_is_no_table(tmp_path: Path) -> None:
    for name in ("a.csv", "a.tsv"):
        assert why_not(write(tmp_path / name, b"id,text\n1,\0\0\1\n")) == "binary content"
    assert "contrary to its byte order mark" in why_not(
        write(tmp_path / "b.csv", b"\xff\xfe\x00\xd8\x00")
    )


def test_a_cell_as_large_as_a_book_is_read(tmp_path: Path) -> None:
    (document,), _, _ = read(write(tmp_path / "a.csv", f'id,text\n1,"{"word " * 100_000}"\n'))
    assert len(document.text) == 500_000
