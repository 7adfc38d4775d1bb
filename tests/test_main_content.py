"""With --main-content a page is its article, each line with its place in the source."""

import sys
from pathlib import Path

import pytest

from ettin_cli.corpus import main_content
from ettin_cli.corpus.html import html_document
from tests.conftest import Ettin
from tests.reading import write

pytest.importorskip("trafilatura")

SENTENCES = [
    f"The {one} harbour was dredged in the spring of {year}, and the pilots sailed at {hour} again."
    for one, year, hour in (("old", 1901, "dawn"), ("new", 1902, "noon"), ("last", 1903, "dusk"))
]
PAGE = (
    "<html><head><title>Harbours</title></head><body>\n<nav><ul>"
    + "".join(f"<li><a href='/{at}'>Menu entry {at}</a></li>" for at in range(9))
    + "</ul></nav>\n<article><h1>Harbours</h1>\n"
    + "\n".join(f"<p>{sentence}</p>" for sentence in SENTENCES)
    + "\n</article>\n<footer><p><a href='/x'>Imprint and cookies</a></p></footer></body></html>"
)


def test_the_article_stays_with_its_lines_and_the_menu_goes() -> None:
    document, left_out = main_content.main_document(PAGE, "a")
    lines = document.text.split("\n")
    assert [line for line in lines if line in SENTENCES] == SENTENCES
    assert "Menu entry" not in document.text
    assert left_out >= 9
    places = dict(zip(lines, document.lines, strict=True))
    source = PAGE.split("\n")
    assert all(sentence in source[places[sentence] - 1] for sentence in SENTENCES)


def test_sentences_and_lines_between_them_stay_wherever_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentence = "Fares are paid on board, in coins or by card, on every day but Sunday."
    chinese = "\u7801\u5934\u4e0e\u706f\u5854\u4e0e\u98ce\u4e0e\u6d77"
    found = f"Winter\n{chinese}\nSummer"
    monkeypatch.setattr(main_content._process, "main_text", lambda _page: found)
    parts = ["Home", "Winter", "Ten", "Summer", f"{chinese}\u6f6e", "Contact", "Imprint", sentence]
    page = "".join(f"<div>{part}</div>" for part in parts)
    document, left_out = main_content.main_document(page, "a")
    assert document.text.split("\n") == [*parts[1:5], sentence]
    assert left_out == 3


@pytest.mark.parametrize("page", ["", "<p>word", "<ul><li><a href=x>one</a></ul>"])
def test_a_page_without_an_article_keeps_its_text(page: str) -> None:
    document, left_out = main_content.main_document(page, "a")
    assert left_out == 0
    assert document == html_document(page, "a")


def test_the_option_is_recorded_and_counted(ettin: Ettin, tmp_path: Path) -> None:
    write(tmp_path / "pages" / "a.html", PAGE)
    index = ("-i", str(tmp_path / "index"))
    words = ("index", str(tmp_path / "pages"), *index, "--embedder", "embedded")
    done = ettin(*words, "--main-content")
    assert (done.code, "lines of boilerplate" in done.err) == (0, True)
    assert "up to date" in ettin("index", *index).err
    found = ("search", "imprint", *index, "-r", "none", "--retriever", "bm25", "-f", "paths")
    assert ettin(*found).out == ""
    ettin(*words)
    assert "a.html" in ettin(*found).out


def test_without_the_library_the_command_to_install_it_is_shown(
    ettin: Ettin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    monkeypatch.setattr(main_content, "find_spec", lambda _name: None)
    write(tmp_path / "a.html", PAGE)
    done = ettin("index", str(tmp_path / "a.html"), "-i", str(tmp_path / "i"), "--main-content")
    assert done.code == 1
    assert "pip install 'ettin-cli[formats]'" in done.err
