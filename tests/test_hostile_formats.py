"""Hostile files of each format take time of the order of their length.

Each input would take hours if its time grew with the square of the length.
"""

import zipfile
from pathlib import Path

import pytest

from ettin_cli.corpus import (
    content as contents,
    front_matter,
    main_content,
    notebook,
    separate,
    xlsx,
)
from ettin_cli.corpus.calendars import calendar_entries
from ettin_cli.corpus.content import decoding
from ettin_cli.corpus.epub import _spine
from ettin_cli.corpus.html import html_document
from ettin_cli.corpus.mail_repair import found_boundary
from ettin_cli.corpus.packages import outermost, package, parse_xml
from tests.reading import one, read, why_not, write
from tests.test_sheets import write_xlsx

MANY = 300_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("BEGIN:A\n" * MANY + "END:B\n" * MANY, id="ends of what is not open"),
        pytest.param("BEGIN:VEVENT\n" * MANY, id="events that do not end"),
        pytest.param("BEGIN:A\n" * MANY + "BEGIN:C\nEND:C\n" * MANY, id="deep components"),
    ],
)
def test_a_calendar_of_open_components_is_read_once(text: str) -> None:
    event = "BEGIN:VEVENT\nSUMMARY:Tea\nEND:VEVENT\n"
    assert calendar_entries(event + text)[0].title == "Tea"


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\u3000"])
def test_blanks_where_a_calendar_should_begin_are_passed_once(tmp_path: Path, blank: str) -> None:
    path = write(tmp_path / "a.ics", blank * 5_000_000 + "x")
    assert why_not(path) == "not an iCalendar file: no BEGIN:VCALENDAR"


def test_pieces_of_blank_text_and_of_a_title_are_not_gone_through_again() -> None:
    page = "<a>\n" * MANY + "one"
    assert html_document(page, "a").text == "one"
    titled = html_document("<title>" + "b<i>" * MANY + "</title>x", "a")
    assert titled.title == "b" * MANY or "<i>" in titled.title


def test_a_book_of_many_chapters_is_ordered_in_one_pass(tmp_path: Path) -> None:
    count = 200_000
    with zipfile.ZipFile(tmp_path / "a.epub", "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("META-INF/container.xml", '<container><rootfile full-path="b"/></container>')
        items = "".join(f'<item id="i{at}" href="{at}.html"/>' for at in range(count))
        spine = "".join(f'<itemref idref="i{at}"/>' for at in range(count))
        book.writestr("b", f"<package><manifest>{items}</manifest>{spine}</package>")
    with package(tmp_path / "a.epub", "EPUB") as file:
        assert _spine(file)[1] == [f"{at}.html" for at in range(count)]


def test_elements_in_one_another_are_found_once() -> None:
    inner = "<p>" * 200 + "<t>a</t>" + "</p>" * 200
    root = parse_xml(f"<r><p/><q>{inner}</q>{inner}</r>".encode())
    assert [len(list(found.iter("p"))) for found in outermost(root, "p")] == [1, 200, 200]


def test_markup_between_cells_is_bounded_and_the_rows_before_it_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xlsx, "MAX_SHEET_TAGS", 10_000)
    row = '<row><c t="inlineStr"><is><t>one</t></is></c></row>'
    sheet = f"<sheetData>{row}</sheetData>" + "<a/>" * 100_000
    documents, rejections, _ = read(write_xlsx(tmp_path / "a.xlsx", {"Tides": sheet}))
    assert ["one" in document.text for document in documents] == [True]
    assert [one.reason for one in rejections] == [
        'sheet "Tides" cannot be read: more than 10,000 tags in a row that are not of cells'
    ]


def nested_alternatives(levels: int) -> bytes:
    made = b"Subject: s\n"
    for at in range(levels):
        words = b"many plain words that say more than all that is in the others put together "
        made += b'Content-Type: multipart/alternative; boundary="o%d"\n\n--o%d\n\n' % (at, at)
        made += words * 3 * (levels - at) + b"\n--o%d\n" % at
        made += b'Content-Type: multipart/alternative; boundary="i%d"\n\n--i%d\n\nx\n' % (at, at)
        made += b"--i%d\nContent-Type: message/rfc822\n\n" % at
    return made + b"\nthe last"


def test_a_message_in_alternatives_in_one_another_is_read_once(tmp_path: Path) -> None:
    text = one(write(tmp_path / "a.eml", nested_alternatives(40))).text
    assert text.count("the last") == 1


def test_lines_that_flow_are_joined_in_one_pass(tmp_path: Path) -> None:
    head = b"Content-Type: text/plain; format=flowed; delsp=yes\n\n"
    path = write(tmp_path / "a.eml", head + b"abcdefghi \n" * 1_000_000 + b"end")
    assert one(path).text == "abcdefghi" * 1_000_000 + "end"


def test_a_boundary_before_many_blanks_is_passed_once() -> None:
    assert found_boundary((b"--a" + b" " * 1_000_000 + b"x\n") * 20) is None
    assert found_boundary(b"--a b \t\r\ncontent-type: x\n") == b"a b"


def test_the_encoding_of_a_file_with_many_parts_is_guessed_some_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bytes] = []

    def guess(content: bytes) -> str:
        asked.append(content)
        return "cp1252"

    monkeypatch.setattr(contents, "guessed_encoding", guess)
    with decoding():
        texts = [contents.decode(b"caf\xe9 %d" % at) for at in range(1000)]
    assert texts == [f"café {at}" for at in range(1000)]
    assert len(asked) == contents.MAX_GUESSES


@pytest.mark.parametrize(
    "front",
    [
        "---\na: !!int 0x" + "f" * 20_000,
        "---\na: !!bool x",
        "---\na: !!timestamp x",
        '---\na: !!int ""',
        "+++\na = 0x" + "f" * 20_000,
        "+++\na = " + "9" * 20_000,
        "+++\na" + ".a" * 30_000 + " = 1",
        "+++\na = " + "[" * 150 + "]" * 150,
        "---\na: " + "[" * 30_000,
    ],
)
def test_values_that_cannot_be_read_do_not_cost_the_text(tmp_path: Path, front: str) -> None:
    text = f"{front}\n{front[:3]}\nThe body."
    front_matter.front_matter(text)
    assert one(write(tmp_path / "a.md", text)).text.endswith("The body.")


def test_broken_cells_of_a_notebook_are_counted() -> None:
    cells = '[5, {"cell_type": "code"}, {"cell_type": "markdown", "source": 7}, {"source": "one"}]'
    document = notebook.notebook_document(f'{{"cells": {cells}}}', "a")
    assert document.text.strip() == "one"
    assert list(document.notices) == ["3 cells have no source, first cell 1"]


def test_many_faults_of_one_file_are_counted(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.epub", "w") as book:
        book.writestr("META-INF/container.xml", '<container><rootfile full-path="b"/></container>')
        spine = "".join(f'<itemref idref="i{at}"/>' for at in range(500))
        item = '<manifest><item id="a" href="a.html"/></manifest><itemref idref="a"/>'
        book.writestr("b", f"<package>{item}{spine}</package>")
        book.writestr("a.html", "<p>one")
    documents, rejections, _ = read(tmp_path / "a.epub")
    assert [document.text for document in documents] == ["one"]
    assert len(rejections) == 101
    assert rejections[-1].reason == "400 more of its parts are missing or cannot be read"


@pytest.mark.parametrize(("code", "limit"), [(1, "60 s"), (9, "2,048 MiB of memory")])
def test_a_page_whose_main_content_is_not_found_in_time_is_kept_whole(
    monkeypatch: pytest.MonkeyPatch, code: int, limit: str
) -> None:
    pytest.importorskip("trafilatura")
    command = separate.python_command("ettin_cli")[:1]
    dies = main_content.MainContentProcess([*command, "-c", f"input(); raise SystemExit({code})"])
    monkeypatch.setattr(main_content, "_process", dies)
    document, left_out = main_content.main_document("<p>one</p>", "a")
    assert (document.text, left_out) == ("one", 0)
    assert list(document.notices) == [
        f"all of the page is kept: its main content is not found within {limit}"
    ]
    dies.close()
