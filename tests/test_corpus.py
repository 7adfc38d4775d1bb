"""Folders are walked as documented, and every format gives text, title and line numbers."""

import gzip
import os
import zipfile
from pathlib import Path

import pytest
import zstandard

from ettin_cli import storage
from ettin_cli.corpus.formats import read_file
from ettin_cli.corpus.records import Fields
from ettin_cli.corpus.sources import list_files, open_source
from ettin_cli.errors import CorpusError
from tests.reading import listed, names, one, read, why_not, write

SAMPLES = Path(__file__).parents[1] / "sample_corpora" / "island_station"


def refuse(why: object) -> None:
    pytest.fail(str(why))


# Walking a folder


def test_a_folder_is_walked_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.md", "a/z.txt", "a/b/c.py", "Makefile", "README"):
        write(tmp_path / name, "x")
    assert names(listed(tmp_path)) == ["Makefile", "README", "a/b/c.py", "a/z.txt", "b.md"]


def test_ignore_files_count_at_every_level_and_can_be_taken_back(tmp_path: Path) -> None:
    write(tmp_path / ".gitignore", "*.log\n/build/\nkeep/*\n!keep/this.txt\n")
    write(tmp_path / "sub" / ".gitignore", "!wanted.log\nsecret.txt\n")
    for name in ("a.log", "build/x.txt", "sub/build/x.txt", "sub/wanted.log", "sub/secret.txt"):
        write(tmp_path / name, "x")
    write(tmp_path / "keep" / "this.txt", "x")
    write(tmp_path / "keep" / "that.txt", "x")
    listing = listed(tmp_path)
    assert names(listing) == ["keep/this.txt", "sub/build/x.txt", "sub/wanted.log"]
    assert listing.skipped == {"ignored by .gitignore": 4, "hidden": 2}


def test_ignore_files_above_the_source_count_inside_a_work_tree(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".gitignore", "*.tmp.txt\n")
    write(tmp_path / "docs" / "a.tmp.txt", "x")
    write(tmp_path / "docs" / "a.txt", "x")
    assert names(listed(tmp_path / "docs")) == ["a.txt"]


def test_what_is_passed_over_is_counted_by_reason(tmp_path: Path) -> None:
    write(tmp_path / ".hidden.txt", "x")
    write(tmp_path / "photo.jpg", b"\xff\xd8\0\0")
    write(tmp_path / "notes.xyz", "words of no known format")
    write(tmp_path / "left-out.txt", "x")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.txt")
    listing = listed(tmp_path, exclude=["left-*"])
    assert names(listing) == []
    assert listing.skipped == {
        "hidden": 1,
        "binary": 1,
        "not a document": 1,
        "excluded": 1,
        "link to a folder": 1,
        "not a regular file": 1,
    }
    assert (listing.unknown, listing.binary) == ({".xyz": 1}, {".jpg": 1})


def test_a_text_of_an_unknown_suffix_is_read_if_a_glob_names_the_suffix(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", "words of no known format")
    write(tmp_path / "b.xyz", b"\0\0")
    write(tmp_path / "c.abc", "words")
    listing = listed(tmp_path, include=["*.XYZ", "*"])
    assert names(listing) == ["a.xyz"]
    (file,) = listing.files
    (document,) = read_file(file, Fields(), refuse, refuse)
    assert (document.title, document.text) == ("a", "words of no known format")
    assert (listing.unknown, listing.binary) == ({".abc": 1}, {".xyz": 1})


def test_files_without_a_suffix_are_text_unless_they_are_binary(tmp_path: Path) -> None:
    write(tmp_path / "Procfile", "web: run")
    write(tmp_path / "tool", "#!/bin/sh\necho")
    write(tmp_path / "program", b"\x7fELF\0\0")
    write(tmp_path / "late", b"x" * 9000 + b"\0\1" * 100)
    listing = listed(tmp_path)
    assert names(listing) == ["Procfile", "late", "tool"]
    assert (listing.skipped, listing.binary) == ({"binary": 1}, {"": 1})
    kinds = {name: read(tmp_path / name)[0][0].kind for name in ("Procfile", "tool")}
    assert kinds == {"Procfile": "prose", "tool": "code"}
    assert read(tmp_path / "late", in_folder=True)[2] == ["binary"]
    assert "binary" in why_not(tmp_path / "late")


def test_a_document_without_a_title_has_the_name_of_its_file(tmp_path: Path) -> None:
    write(tmp_path / "garden" / "Yard work.md", "Mow in April.")
    write(tmp_path / "garden" / "tools.py", "x = 1")
    write(tmp_path / "garden" / "titled.md.gz", gzip.compress(b"# Spades\n\nDig."))
    found = {}
    for file in listed(tmp_path).files:
        (document,) = read_file(file, Fields(), refuse, refuse)
        found[document.title] = document.names
    assert found == {
        "Yard work": "garden",
        "tools.py": "garden",
        "Spades": "garden titled",
    }


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "real" / "a.txt", "x")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").symlink_to(tmp_path / "real" / "a.txt")
    assert names(listed(tmp_path / "docs")) == ["a.txt"]


def test_include_narrows_to_its_globs(tmp_path: Path) -> None:
    for name in ("a.md", "b.txt", "sub/c.md"):
        write(tmp_path / name, "x")
    assert names(listed(tmp_path, include=["*.md"])) == ["a.md", "sub/c.md"]
    assert names(listed(tmp_path, include=["*.md"], exclude=["sub/"])) == ["a.md"]


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "shut" / "a.txt", "x")
    write(tmp_path / "b.txt", "x")
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    listing = listed(tmp_path)
    assert names(listing) == ["b.txt"]
    assert [str(r) for r in listing.rejections] == [
        f"{tmp_path}/shut: cannot be listed: Permission denied"
    ]


def test_a_name_that_is_not_utf8_is_rejected_and_shown_printably(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    (rejection,) = listed(tmp_path).rejections
    assert rejection.reason == "name is not UTF-8"
    assert rejection.path.isprintable()


def test_a_folder_with_a_corpus_file_is_a_beir_folder(tmp_path: Path) -> None:
    write(tmp_path / "corpus.jsonl", '{"_id": "1", "text": "x"}\n')
    write(tmp_path / "readme.md", "x")
    source = open_source(str(tmp_path))
    assert source.kind == "beir"
    assert names(list_files(source)) == ["corpus.jsonl"]


def test_a_source_that_is_nothing_to_read_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, said in [("nowhere", "cannot open"), ("pipe", "neither a file nor a folder")]:
        with pytest.raises(CorpusError, match=said):
            open_source(str(tmp_path / name))
    with pytest.raises(CorpusError, match="unknown format"):
        open_source(str(write(tmp_path / "film.mp4", b"\xff")))


# Text


def test_markdown_has_its_first_heading_as_title_and_skips_front_matter(tmp_path: Path) -> None:
    document = one(write(tmp_path / "a.md", "```\n# no\n```\n\nA guide\n=======\n\ntext\n"))
    assert (document.title, document.kind, document.lines[0]) == ("A guide", "markdown", 1)
    front = one(write(tmp_path / "b.md", "---\ntitle: 'Front'\nlayout: x\n---\n# Head\ntext"))
    assert front.title == "Front"
    assert front.text == "# Head\ntext"
    assert list(front.lines) == [5, 6]


def test_restructured_text_has_its_adorned_title(tmp_path: Path) -> None:
    document = one(write(tmp_path / "a.rst", "=====\nGuide\n=====\n\nText.\n"))
    assert (document.title, document.kind) == ("Guide", "rst")


def test_html_gives_its_readable_text_with_source_lines(tmp_path: Path) -> None:
    page = """<html><head><title>A &amp; B</title><style>p {}</style></head>
<body><script>alert("x")</script>
<p>First <b>bold</b>
words.</p>
<ul><li>one<li>two</ul>
<pre>a
  b</pre></body></html>"""
    document = one(write(tmp_path / "a.html", page))
    assert document.title == "A & B"
    lines = document.text.split("\n")
    assert lines == ["First bold words.", "", "one", "two", "", "a", "  b"]
    assert document.lines[lines.index("two")] == 5
    assert document.lines[lines.index("  b")] == 7


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("\ufeffcafé".encode(), "café"),
        ("café".encode("utf-16"), "café"),
        (b"a\r\nb\rc", "a\nb\nc"),
        (
            "Le café est fermé à cause de l'été, très tôt déjà.".encode("latin-1"),
            "Le café est fermé à cause de l'été, très tôt déjà.",
        ),
        (
            "Где находится ближайшая библиотека?".encode("cp1251"),
            "Где находится ближайшая библиотека?",
        ),
    ],
)
def test_text_is_decoded_by_its_mark_then_utf8_then_a_guess(
    tmp_path: Path, content: bytes, text: str
) -> None:
    assert one(write(tmp_path / "a.txt", content)).text == text


def test_packed_text_is_read_as_what_it_holds(tmp_path: Path) -> None:
    plain = one(write(tmp_path / "a.md", "# Title\n\ntext"))
    for name, content in [
        ("a.md.gz", gzip.compress(b"# Title\n\ntext", mtime=0)),
        ("a.md.zst", zstandard.compress(b"# Title\n\ntext")),
    ]:
        document = one(write(tmp_path / name, content))
        assert (document.title, document.text) == (plain.title, plain.text)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"words\0\1\0words", "binary content"),
        ("a.txt.gz", gzip.compress(b"words" * 999, mtime=0)[:-9], "compressed data is damaged"),
        ("a.txt.zst", zstandard.compress(b"words" * 999)[:-3], "compressed data is damaged"),
        ("a.txt.gz", b"not packed", "cannot be read: Not a gzipped file"),
        (
            "a.pdf",
            (SAMPLES / "equipment" / "weather-station.pdf").read_bytes()[:300],
            "not a valid PDF",
        ),
        (
            "a.docx",
            (SAMPLES / "science" / "census-protocol.docx").read_bytes()[:900],
            "not a valid DOCX",
        ),
        ("a.epub", (SAMPLES / "lighthouse" / "leaflet.epub").read_bytes()[:500], "not a valid"),
        ("a.txt", b"\xff\xfe" + b"\0\xd8" * 9, "not utf-16, contrary to its byte order mark"),
        ("a.txt", b"  \n ", "empty"),
    ],
)
def test_a_broken_file_is_rejected_with_its_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    assert why_not(write(tmp_path / name, content)).startswith(reason)


def test_an_empty_file_in_a_folder_is_skipped_not_rejected(tmp_path: Path) -> None:
    documents, rejections, skipped = read(write(tmp_path / "a.py", ""), in_folder=True)
    assert (documents, rejections, skipped) == ([], [], ["empty"])


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.txt", "x")

    def refusing(_path: str, _flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(storage, "_regular", refusing)
    assert why_not(path) == "cannot be read: Permission denied"


# Packages


def test_a_pdf_has_its_pages(tmp_path: Path) -> None:
    document = one(SAMPLES / "equipment" / "weather-station.pdf")
    assert document.pages[0] == 1
    assert len(document.pages) == document.text.count("\n") + 1
    assert document.lines == ()
    assert "wind" in document.text.lower()


def test_a_docx_has_headings_and_tables_in_their_order(tmp_path: Path) -> None:
    import docx

    file = docx.Document()
    file.add_heading("Counting", level=1)
    file.add_paragraph("Count twice.")
    table = file.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "gull", "12"
    file.add_paragraph("Done.")
    file.save(str(tmp_path / "a.docx"))
    document = one(tmp_path / "a.docx")
    assert document.text == "# Counting\n\nCount twice.\n\ngull | 12\n\nDone."
    assert document.title == "Counting"


def test_an_epub_is_read_in_the_order_of_its_spine(tmp_path: Path) -> None:
    package = """<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/e/">
    <metadata><dc:title>A Book</dc:title></metadata>
    <manifest><item id="b" href="b%20c.xhtml"/><item id="a" href="a.xhtml"/></manifest>
    <spine><itemref idref="a"/><itemref idref="b"/></spine></package>"""
    container = """<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
    <rootfile full-path="OEBPS/p.opf"/></rootfiles></container>"""
    with zipfile.ZipFile(tmp_path / "a.epub", "w") as book:
        book.writestr("META-INF/container.xml", container)
        book.writestr("OEBPS/p.opf", package)
        book.writestr("OEBPS/a.xhtml", "<p>first</p>")
        book.writestr("OEBPS/b c.xhtml", "<p>second</p>")
    document = one(tmp_path / "a.epub")
    assert (document.title, document.text) == ("A Book", "first\n\nsecond")


def test_an_epub_without_a_container_says_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.epub", "w") as book:
        book.writestr("other", "x")
    assert "not a valid EPUB" in why_not(tmp_path / "a.epub")
    assert "container.xml" in why_not(tmp_path / "a.epub")


def test_a_message_has_its_subject_as_title_and_its_sender_as_metadata(tmp_path: Path) -> None:
    message = (
        b"From: Ann <ann@example.org>\r\nSubject: =?utf-8?q?Caf=C3=A9?= hours\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n"
        b"--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nOpen at nine.\r\n"
        b"--x\r\nContent-Type: text/html\r\n\r\n<p>Open at <b>nine</b>.</p>\r\n--x--\r\n"
    )
    document = one(write(tmp_path / "a.eml", message))
    assert (document.title, document.text) == ("Café hours", "Open at nine.")
    assert document.metadata["from"] == "Ann <ann@example.org>"


def test_a_message_of_html_alone_is_read_as_text(tmp_path: Path) -> None:
    message = b"Subject: x\r\nContent-Type: text/html\r\n\r\n<p>Open <b>at</b> nine.</p>\r\n"
    assert one(write(tmp_path / "a.eml", message)).text == "Open at nine."
