"""PDF, DOCX and EPUB yield all of their text, and damage gives a reason instead of a crash."""

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pypdfium2
import pytest
import zstandard
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from hypothesis import given, settings, strategies as st

from ettin_cli.corpus import packages
from tests.reading import one, read, why_not, write, write_epub, write_pdf

SAMPLES = Path(__file__).parents[1] / "sample_corpora" / "island_station"
PDF = SAMPLES / "equipment" / "weather-station.pdf"
DOCX = SAMPLES / "science" / "census-protocol.docx"
EPUB = SAMPLES / "lighthouse" / "leaflet.epub"

# PDF


def test_every_line_of_a_pdf_has_its_page(tmp_path: Path) -> None:
    pages = ["The ferry\nsails at nine.", "", "Bread is baked\nevery day.\nAsk for it."]
    document = one(write_pdf(tmp_path / "a.pdf", pages, title="Timetable"))
    assert document.title == "Timetable"
    found = list(zip(document.text.split("\n"), document.pages, strict=True))
    assert found == [
        ("The ferry", 1),
        ("sails at nine.", 1),
        ("", 2),
        ("Bread is baked", 3),
        ("every day.", 3),
        ("Ask for it.", 3),
    ]


def test_a_locked_pdf_needs_its_password(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["words"], password="secret")
    assert len(pypdfium2.PdfDocument(path, password="secret")) == 1
    assert why_not(path) == "needs a password"


def test_a_pdf_of_pictures_has_no_text_layer(tmp_path: Path) -> None:
    assert why_not(write_pdf(tmp_path / "a.pdf", ["", ""])) == "no text layer (a scan?)"


def test_a_pdf_without_pages_is_not_taken_for_a_locked_one(tmp_path: Path) -> None:
    assert why_not(write_pdf(tmp_path / "a.pdf", ["words"], password="x")) == "needs a password"
    assert why_not(write_pdf(tmp_path / "b.pdf", [])).startswith("not a valid PDF")


# DOCX


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Callable[[Any], None]], str]:
    """Return the text read from a DOCX file that a function has filled."""

    def text_of(fill: Callable[[Any], None]) -> str:
        file = docx.Document()
        fill(file)
        file.save(str(tmp_path / "a.docx"))
        return one(tmp_path / "a.docx").text

    return text_of


def xml(file: Any, body: str) -> None:
    file.element.body.insert(0, parse_xml(body.replace(">", f" {nsdecls('w')}>", 1)))


Written = Callable[[Callable[[Any], None]], str]


def test_headings_have_their_level(written: Written) -> None:
    def fill(file: Any) -> None:
        file.add_heading("Title", level=0)
        file.add_heading("One", level=1)
        file.add_heading("Three", level=3)
        file.add_heading("", level=1)
        file.add_paragraph("text")

    assert written(fill) == "# Title\n\n# One\n\n### Three\n\ntext"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(
            "<w:sdt><w:sdtContent><w:p><w:r><w:t>in a form</w:t></w:r></w:p></w:sdtContent>"
            "</w:sdt>",
            "in a form",
            id="content control",
        ),
        pytest.param(
            "<w:p><w:sdt><w:sdtContent><w:r><w:t>a field</w:t></w:r></w:sdtContent></w:sdt></w:p>",
            "a field",
            id="control within a line",
        ),
        pytest.param(
            "<w:p><w:ins><w:r><w:t>new</w:t></w:r></w:ins>"
            "<w:del><w:r><w:delText>old</w:delText></w:r></w:del></w:p>",
            "new",
            id="tracked changes",
        ),
        pytest.param(
            "<w:p><w:moveFrom><w:r><w:t>here</w:t></w:r></w:moveFrom>"
            "<w:moveTo><w:r><w:t>there</w:t></w:r></w:moveTo></w:p>",
            "there",
            id="moved text",
        ),
        pytest.param(
            "<w:p><w:hyperlink><w:r><w:t>a link</w:t></w:r></w:hyperlink></w:p>",
            "a link",
            id="link",
        ),
        pytest.param(
            "<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t>"
            "<w:noBreakHyphen/><w:t>d</w:t></w:r></w:p>",
            "a\tb\nc-d",
            id="marks",
        ),
        pytest.param(
            "<w:p><w:r><w:pict><w:txbxContent><w:p><w:r><w:t>in a</w:t></w:r></w:p>"
            "<w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent></w:pict></w:r></w:p>",
            "in a\nbox",
            id="text box",
        ),
    ],
)
def test_text_is_found_wherever_a_document_keeps_it(written: Written, body: str, text: str) -> None:
    assert written(lambda file: xml(file, body)) == text


def test_tables_alone_are_text_and_merged_cells_are_said_once(written: Written) -> None:
    def fill(file: Any) -> None:
        table = file.add_table(3, 3)
        table.cell(0, 0).merge(table.cell(0, 2)).text = "wide"
        table.cell(1, 0).merge(table.cell(2, 0)).text = "tall"
        table.cell(1, 1).add_table(1, 2).cell(0, 1).text = "inner"
        table.cell(2, 2).text = "last"

    assert written(fill) == "wide\ntall |  | inner | \n |  | last".replace(
        "|  | inner", "|  | inner"
    )


def test_notes_follow_the_text(tmp_path: Path) -> None:
    file = docx.Document()
    file.add_paragraph("text")
    file.save(str(tmp_path / "a.docx"))
    notes = (
        f"<w:footnotes {nsdecls('w')}><w:footnote><w:p><w:r><w:t>A note.</w:t></w:r></w:p>"
        "</w:footnote></w:footnotes>"
    )
    kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"
    relation = f'<Relationship Id="rIdN" Type="{kinds}" Target="footnotes.xml"/></Relationships>'
    made = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "a.docx") as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "word/_rels/document.xml.rels":
                content = content.replace(b"</Relationships>", relation.encode())
            new.writestr(name, content)
        new.writestr("word/footnotes.xml", notes)
    write(tmp_path / "a.docx", made.getvalue())
    assert one(tmp_path / "a.docx").text == "text\n\nA note."


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"\0", id="a reason of two lines"),
        pytest.param(b"<w:p>&nosuch;<w:/p>", id="no element"),
        pytest.param(b"<w:sdt>" * 3000 + b"</w:sdt>" * 3000, id="deeper than is read"),
    ],
)
def test_a_damaged_body_is_told_in_one_line(tmp_path: Path, damage: bytes) -> None:
    docx.Document().save(str(tmp_path / "a.docx"))
    made = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "a.docx") as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "word/document.xml":
                content = content.replace(b"<w:body>", b"<w:body>" + damage)
            new.writestr(name, content)
    reason = why_not(write(tmp_path / "a.docx", made.getvalue()))
    assert reason.startswith("not a valid DOCX: ")
    assert "\n" not in reason


def test_a_document_without_a_word_is_empty(tmp_path: Path) -> None:
    file = docx.Document()
    file.add_heading("", level=2)
    file.add_table(2, 2)
    file.save(str(tmp_path / "a.docx"))
    assert why_not(tmp_path / "a.docx") == "empty"


def test_a_locked_or_old_word_file_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600
    assert why_not(write(tmp_path / "a.docx", ole)).startswith("needs a password")
    assert why_not(write(tmp_path / "b.docx", "plain text")).startswith("not a valid DOCX")


# EPUB


def test_chapters_come_in_their_order_and_encoding(tmp_path: Path) -> None:
    chapters: dict[str, str | bytes] = {
        "b.xhtml": "<p>first</p><p><![CDATA[a < b]]></p>",
        "a%20b.xhtml": "<p>second</p>",
        "picture.svg": "<svg><text>drawn</text></svg>",
        "c.xhtml": '<?xml version="1.0" encoding="iso-8859-1"?><p>café</p>'.encode("latin-1"),
    }
    path = write_epub(tmp_path / "a.epub", chapters, title=" A Book ")
    with zipfile.ZipFile(path, "a") as book:
        book.writestr("OEBPS/a b.xhtml", "<p>second</p>")
    document = one(path)
    assert document.title == "A Book"
    assert document.text.split("\n\n") == ["first", "a < b", "second", "drawn", "café"]


def test_a_book_with_a_chapter_missing_is_not_whole(tmp_path: Path) -> None:
    path = write_epub(tmp_path / "a.epub", {"a.xhtml": "x"})
    with zipfile.ZipFile(path) as book:
        kept = {name: book.read(name) for name in book.namelist() if "a.xhtml" not in name}
    with zipfile.ZipFile(path, "w") as book:
        for name, content in kept.items():
            book.writestr(name, content)
    assert why_not(path).startswith("not a valid EPUB: ")
    assert "a.xhtml" in why_not(path)


def test_a_book_without_a_word_is_empty(tmp_path: Path) -> None:
    assert why_not(write_epub(tmp_path / "a.epub", {"a.xhtml": "<p> </p>"})) == "empty"


@pytest.mark.parametrize("name", ["a.epub", "a.docx"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(packages, "MAX_UNPACKED_BYTES", 50_000)
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("META-INF/container.xml", b"0" * 50_001)
    assert (tmp_path / name).stat().st_size < 1000
    assert why_not(tmp_path / name) == "more than 0 MiB when unpacked"


# Damage


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw a kind of damage: the file is truncated, loses a part, or has changed bytes."""
    change = st.tuples(st.integers(0, 10**6), st.integers(0, 255))
    places = draw(st.lists(change, min_size=1, max_size=8))
    kind = draw(st.sampled_from(["cut", "lost", "changed"]))

    def damaged(content: bytes) -> bytes:
        place, count = places[0][0] % len(content), places[0][1] + 1
        if kind == "cut":
            return content[:place]
        if kind == "lost":
            return content[:place] + content[place + count :]
        changed = bytearray(content)
        for at, byte in places:
            changed[at % len(content)] = byte
        return bytes(changed)

    return damaged


ROWS = "".join(f'{{"id": {n}, "text": "row {n * 7919}"}}\n' for n in range(50)).encode()


def parquet() -> bytes:
    made = io.BytesIO()
    pq.write_table(
        pa.table({"id": range(50), "text": [f"row {n * 7919}" for n in range(50)]}), made
    )
    return made.getvalue()


FILES = {
    "a.pdf": PDF.read_bytes(),
    "a.docx": DOCX.read_bytes(),
    "a.epub": EPUB.read_bytes(),
    "a.parquet": parquet(),
    "a.jsonl.gz": gzip.compress(ROWS),
    "a.jsonl.zst": zstandard.compress(ROWS),
    "a.jsonl": ROWS,
    "a.csv": b"id,text\n" + b'1,"one, two"\n2,three\n' * 9,
}


@pytest.mark.parametrize("name", FILES)
@given(hurt=damage())
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_read_or_has_reasons(
    tmp_path_factory: pytest.TempPathFactory, name: str, hurt: Callable[[bytes], bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    documents, rejections, _ = read(write(path, hurt(FILES[name])))
    assert documents or rejections
    for rejection in rejections:
        assert rejection.reason
        assert "\n" not in rejection.reason
