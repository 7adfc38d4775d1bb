"""The text of a PDF is in the order in which people read it."""

from pathlib import Path

import pytest

from ettin_cli.corpus.bidi import logical
from tests.pdfs import WIDTH, Placed, write_placed
from tests.reading import one, write_pdf

LAM, ALEF = "\u0644", "\u0627"


def shown(text: str) -> list[str]:
    """Return a text of one direction as its glyphs from left to right, lam-alef as one glyph."""
    glyphs = list(text.replace(LAM + ALEF, "*"))
    return [LAM + ALEF if glyph == "*" else glyph for glyph in reversed(glyphs)]


def test_right_to_left_lines_are_in_logical_order(tmp_path: Path) -> None:
    lines = ["السلام عليكم", "لا كلام"]
    page = [(100.0, 700.0 - 20 * at, shown(line)) for at, line in enumerate(lines)]
    document = one(write_placed(tmp_path / "a.pdf", [page]))
    assert document.text.split("\n") == lines


def test_words_that_are_drawn_apart_in_any_order_are_one_line(tmp_path: Path) -> None:
    words = ["شكرا", "على", "المساعدة"]
    left = 300.0
    placed = []
    for word in words:
        left -= WIDTH * len(shown(word))
        placed.append((left, 700.0, shown(word)))
        left -= WIDTH
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        page = [placed[at] for at in order]
        assert one(write_placed(tmp_path / "a.pdf", [page])).text == " ".join(words)


def test_a_line_of_both_directions_has_its_numbers_and_words(tmp_path: Path) -> None:
    hebrew = [
        (100.0, 700.0, [*"Wikipedia 2024", " ", *reversed("שלום,")]),
        (100.0, 680.0, [*reversed("שלום לכולם")]),
        (100.0, 660.0, [*reversed("לחוק"), *" )4()", "ב", *"(15 ", *reversed("סעיף")]),
    ]
    english = [
        (100.0, 700.0, [*"the word ", *reversed("שלום עולם"), *" (hello all), since 622"]),
        (100.0, 680.0, list("plain (English) line")),
    ]
    assert one(write_placed(tmp_path / "a.pdf", [hebrew, english])).text.split("\n") == [
        "שלום, Wikipedia 2024",
        "שלום לכולם",
        "סעיף 15(ב)(4) לחוק",
        "the word שלום עולם (hello all), since 622",
        "plain (English) line",
    ]


def test_marks_belong_to_the_letter_they_are_drawn_over(tmp_path: Path) -> None:
    left = 100.0
    page = [(left, 700.0, ["ם", "ו", "ל", "ש"]), (left + 3 * WIDTH, 700.0, ["\u05b8"])]
    assert one(write_placed(tmp_path / "a.pdf", [page])).text == "ש\u05b8לום"


@pytest.mark.parametrize(
    ("line", "rtl", "text"),
    [
        ("15 ףיעס", True, "סעיף 15"),
        ("5551234-02 :فتاه", True, "هاتف: 02-5551234"),
        ("02-5551234 :ןופלט", True, "טלפון: 02-5551234"),
        ("a@b.example רוא", True, "אור a@b.example"),
        ("3.5 רבדמ 2", True, "2 מדבר 3.5"),
        ("in רבדמ 7 רוא out", False, "in אור 7 מדבר out"),
        ("plain text", False, "plain text"),
    ],
)
def test_what_is_shown_becomes_what_was_written(line: str, rtl: bool, text: str) -> None:
    assert logical(line, rtl) == text


LEFT = (
    "the harbour master keeps a log|of every vessel that comes in,|with its draught and its crew,|"
    "and enters the hour of arrival|beside the berth it was given.|A vessel without papers waits|"
    "at the mole until dawn, for the inspec-|tor who looks at all of them|before they may unload"
).split("|")
RIGHT = (
    "In winter the ferry sails once|a day, at noon, weather allow-|ing, from the eastern landing.|"
    "Tickets are sold on the quay|by the pilot, who takes coins|and stamps but never promises.|"
    "A crossing takes two hours in|calm water and twice as long|when the wind is from the north"
).split("|")


def rows_of(*columns: list[str], top: float = 700.0, start: float = 50.0) -> list[Placed]:
    """Return columns of lines, drawn row by row."""
    return [
        (start + at * 290, top - 12 * row, list(line))
        for row, lines in enumerate(zip(*columns, strict=True))
        for at, line in enumerate(lines)
    ]


def test_columns_that_are_drawn_row_by_row_are_read_one_by_one(tmp_path: Path) -> None:
    title = (150.0, 740.0, list("Rules of the harbour, and of the ferry in the winter months"))
    number = (300.0, 40.0, list("17"))
    page = [title, *rows_of(LEFT, RIGHT), number]
    text = one(write_placed(tmp_path / "a.pdf", [page])).text
    expected = " ".join([*LEFT, *RIGHT]).replace("inspec- tor", "inspector")
    expected = expected.replace("allow- ing", "allowing")
    assert text.split() == f"{''.join(title[2])} {expected} 17".split()


def test_columns_that_are_drawn_one_by_one_stay_as_they_are(tmp_path: Path) -> None:
    page = [*rows_of(LEFT), *rows_of(RIGHT, start=340.0)]
    text = one(write_placed(tmp_path / "a.pdf", [page])).text
    assert text.split("\n")[:3] == LEFT[:3]
    assert text.index(LEFT[-1]) < text.index(RIGHT[0])


def test_rows_of_a_table_stay_rows(tmp_path: Path) -> None:
    names = "coal|timber and planks|salt|wool of the island|rope|tar|fish, dried".split("|")
    prices = "12|7 a yard|3 a sack, wet|41|four|6 a barrel|9 a dozen at the quay".split("|")
    text = one(write_placed(tmp_path / "a.pdf", [rows_of(names, prices)])).text
    rows = zip(names, prices, strict=True)
    assert text.split("\n") == [f"{name} {price}" for name, price in rows]


def test_what_was_typed_into_a_field_follows_its_label(tmp_path: Path) -> None:
    page = [
        (50.0, 700.0, list("Name:")),
        (300.0, 700.0, list("Born:")),
        (50.0, 680.0, list("Remarks on the applicant")),
        (50.0, 500.0, list("Signature")),
    ]
    fields = [
        (340.0, 700.0, "1971"),
        (90.0, 700.0, "Wilhelmina"),
        (50.0, 664.0, "keeps bees"),
        (400.0, 300.0, "far from all labels"),
    ]
    path = write_placed(tmp_path / "a.pdf", [page], fields=fields)
    assert one(path).text.split("\n") == [
        "Name: Wilhelmina Born: 1971",
        "Remarks on the applicant keeps bees",
        "Signature",
        "far from all labels",
    ]


NAMES = "Ada Bea Cid Dot Eve Fay Gus Hal Ida".split()


def body(number: int) -> str:
    name = NAMES[number - 1]
    return f"{name} rises.\nThe tide falls.\nNo ship is in sight.\nNobody waits for {name}."


def test_running_heads_and_page_numbers_are_read_once(tmp_path: Path) -> None:
    pages = [
        f"{'Handbook' if n % 2 else 'Part two'}\nPage {n} of 9\n{body(n)}\n{n + 4}"
        for n in range(1, 10)
    ]
    lines = one(write_pdf(tmp_path / "a.pdf", pages)).text.split("\n")
    first = ["Handbook", "Page 1 of 9", *body(1).split("\n"), "5", "Part two"]
    assert lines == first + [line for n in range(2, 10) for line in body(n).split("\n")]


@pytest.mark.parametrize(
    "page",
    [
        # Numbers that are not of pages, heads of few pages, and pages that have little else.
        "Invoice no. {number}\n{body}",
        "Invoice {invoice}\n{body}",
        "{few}\n{body}",
        "Slide\nof the talk\n{number}",
    ],
)
def test_lines_that_differ_from_page_to_page_are_kept(tmp_path: Path, page: str) -> None:
    pages = [
        page.format(
            number=n,
            invoice=5000 + 3 * n,
            few="Contents" if n < 4 else f"About {NAMES[n - 1]}",
            body=body(n),
        )
        for n in range(1, 10)
    ]
    assert one(write_pdf(tmp_path / "a.pdf", pages)).text == "\n".join(pages)
