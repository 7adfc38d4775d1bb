"""What is there of a faulty book is read, and what is missing is named."""

import zipfile
from pathlib import Path

import pytest

from tests.reading import one, read, why_not

CONTAINER = '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'


def write_book(
    path: Path, items: str, spine: str, files: dict[str, str | bytes], title: str = "T"
) -> Path:
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("META-INF/container.xml", CONTAINER)
        book.writestr(
            "OEBPS/book.opf",
            f"<package><metadata><title>{title}</title></metadata><manifest>{items}</manifest>"
            f"<spine>{spine}</spine></package>",
        )
        for name, content in files.items():
            book.writestr(name, content)
    return path


ITEMS = '<item id="a" href="a.xhtml"/><item id="b" href="text/B%20one.xhtml#top"/>'
SPINE = '<itemref idref="a"/><itemref idref="b"/>'
FILES: dict[str, str | bytes] = {
    "OEBPS/a.xhtml": "<p>first</p>",
    "OEBPS/text/b one.xhtml": "<p>second</p>",
}


def test_names_are_found_without_case_and_fragment(tmp_path: Path) -> None:
    assert one(write_book(tmp_path / "a.epub", ITEMS, SPINE, FILES)).text == "first\n\nsecond"


def test_chapters_that_differ_in_the_fragment_alone_are_one(tmp_path: Path) -> None:
    items = '<item id="a" href="a.xhtml#1"/><item id="b" href="a.xhtml#2"/>'
    assert one(write_book(tmp_path / "a.epub", items, SPINE, FILES)).text == "first"


@pytest.mark.parametrize(
    ("items", "spine", "files", "text", "reason"),
    [
        (
            ITEMS,
            '<itemref idref="cover"/>' + SPINE,
            FILES,
            "first\n\nsecond",
            'the reading order lists "cover", which is not in the book',
        ),
        (
            ITEMS,
            SPINE,
            {"OEBPS/a.xhtml": "<p>first</p>"},
            "first",
            "chapter OEBPS/text/B one.xhtml is missing",
        ),
        (
            ITEMS,
            SPINE,
            FILES | {"OEBPS/text/b one.xhtml": b"\0\1\2"},
            "first",
            "chapter OEBPS/text/B one.xhtml cannot be read: binary content",
        ),
    ],
)
def test_the_rest_is_read_and_the_missing_is_named(
    tmp_path: Path, items: str, spine: str, files: dict[str, str | bytes], text: str, reason: str
) -> None:
    (document,), (rejection,), _ = read(write_book(tmp_path / "a.epub", items, spine, files))
    assert (document.text, rejection.reason) == (text, reason)


def test_a_picture_in_the_reading_order_is_no_fault(tmp_path: Path) -> None:
    items = ITEMS + '<item id="p" href="p.jpg" media-type="image/jpeg"/>'
    path = write_book(tmp_path / "a.epub", items, SPINE + '<itemref idref="p"/>', FILES)
    assert one(path).text == "first\n\nsecond"


@pytest.mark.parametrize(
    ("title", "read_as"),
    [
        ("Marsh &amp; Diary&nbsp;", "Marsh & Diary"),
        ("Caf&eacute; &#8212; &hellip;", "Café — …"),
        ("A & B <br> C", "A B"),
    ],
)
def test_a_listing_has_the_entities_of_html_or_is_malformed(
    tmp_path: Path, title: str, read_as: str
) -> None:
    document = one(write_book(tmp_path / "a.epub", ITEMS, SPINE, FILES, title))
    assert document.text == "first\n\nsecond"
    assert document.title.startswith(read_as.split()[0])
    if "<" not in title:
        assert document.title == read_as


def test_without_a_reading_order_all_pages_are_read(tmp_path: Path) -> None:
    items = ITEMS + '<item id="s" href="s.css"/>'
    files = FILES | {"OEBPS/s.css": "p {}"}
    assert one(write_book(tmp_path / "a.epub", items, "", files)).text == "first\n\nsecond"


def test_without_a_container_the_listing_is_found(tmp_path: Path) -> None:
    made = write_book(tmp_path / "a.epub", ITEMS, SPINE, FILES)
    with zipfile.ZipFile(made) as book, zipfile.ZipFile(tmp_path / "b.epub", "w") as other:
        for name in book.namelist()[1:]:
            other.writestr(name, book.read(name))
    assert one(tmp_path / "b.epub").text == "first\n\nsecond"
    with zipfile.ZipFile(tmp_path / "c.epub", "w") as other:
        other.writestr("a.xhtml", "x")
    assert why_not(tmp_path / "c.epub").startswith("not a valid EPUB: no rootfile")
