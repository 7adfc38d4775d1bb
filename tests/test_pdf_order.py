"""The text of a PDF is in the order in which people read it."""

from pathlib import Path

import pytest

from ettin_cli.corpus.bidi import logical
from tests.pdfs import WIDTH, write_placed
from tests.reading import one

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
