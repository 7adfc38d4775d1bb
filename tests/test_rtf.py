"""RTF yields its text in its encodings, and hostile RTF a reason."""

from pathlib import Path

import pytest

from ettin_cli.corpus.rtf import rtf_text
from ettin_cli.settings import MAX_RTF_DEPTH
from tests.reading import one, why_not, write

FONTS = (
    r"{\fonttbl{\f0\fnil\fcharset0 Arial;}{\f1\fcharset204 Arial Cyr;}{\f2\fcharset128 Mincho;}}"
)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"One\par Two\line Three", "One\nTwo\nThree"),
        (r"a \b bold\b0  word", "a bold word"),
        (r"Gr\'f6\'dfe, \u8364?5 \lquote x\rquote", "Größe, €5 ‘x’"),
        (r"\uc2\u916 De\u955 la", "Δλ"),
        (r"\u-10179?\u-8704?", "😀"),
        (r"\f1 \'ef\'f0\'e8\'e2\'e5\'f2\f0  ok", "привет ok"),
        (r"\f2\'93\'fa\'96\'7b\'8cA", "日本窟"),
        (r"\{a\}\\b\~c\-d\_e", "{a}\\b cd-e"),
        (r"Seen{\*\unknown hidden}{\pict 00ff}{\deleted gone} too", "Seen too"),
        (r"{\field{\*\fldinst HYPERLINK x}{\fldrslt link}} text", "link text"),
        (r"{\listtext 1.\tab}First\par{\pntext 2.\tab}Second", "1.\tFirst\n2.\tSecond"),
        (r"\trowd a\cell b\cell\row c\cell\cell\row", "a | b\nc"),
        (r"{\upr{old}{\*\ud{new}}}", "new"),
        (r"{\shp{\*\shpinst{\sp{\sn x}{\sv 1}}{\shptxt boxed}}{\shprslt boxed}}", "boxed"),
        (
            r"Body{\footnote A note.} goes on{\header Letterhead}",
            "Body goes on\n\nA note.\n\nLetterhead",
        ),
        (r"{\*\annotation Why?}Body{\footer 9}", "Body\n\nWhy?\n\n9"),
        (r"{\header Same}{\headerf Same}Body", "Body\n\nSame"),
    ],
)
def test_text_reads_as_a_word_processor_shows_it(source: str, text: str) -> None:
    content = rf"{{\rtf1\ansi\ansicpg1252\deff0{FONTS}{source}}}"
    assert rtf_text(content.encode("ascii")).text == text


def test_binary_data_is_skipped_by_its_length() -> None:
    assert rtf_text(b"{\\rtf1 a{\\pict\\bin6 }{\\}}x}b}").text == "ab"


def test_the_code_page_and_the_title_are_the_file_s(tmp_path: Path) -> None:
    content = r"{\rtf1\ansi\ansicpg1250{\info{\title Wa\'bfny}{\author X}}\'b9\'ea\par}"
    document = one(write(tmp_path / "a.rtf", content))
    assert (document.title, document.text) == ("Ważny", "ąę")


def test_what_is_not_rtf_or_too_deep_is_rejected(tmp_path: Path) -> None:
    assert why_not(write(tmp_path / "a.rtf", "words")).startswith("not a valid RTF")
    deep = b"{\\rtf1" + b"{" * MAX_RTF_DEPTH
    assert why_not(write(tmp_path / "b.rtf", deep)) == "groups nested more than 10,000 deep"
    assert one(write(tmp_path / "c.rtf", b"{\\rtf1 " + b"{" * 5000 + b"deep")).text == "deep"
