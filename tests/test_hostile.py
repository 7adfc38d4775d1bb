"""Hostile documents take bounded time and memory: they are rejected, and the rest is read."""

import gzip
import json
import zipfile
from pathlib import Path

import docx
import pytest
import zstandard

from ettin_cli import storage
from ettin_cli.corpus import html, packages, pdf, tables
from ettin_cli.corpus.html import html_document
from ettin_cli.settings import MAX_COLUMNS
from tests.conftest import Ettin
from tests.indexes import Builder, doc_ids
from tests.reading import one, read, why_not, write, write_pdf

CONTAINER = '<container><rootfile full-path="book.opf"/></container>'


def write_book(path: Path, chapter: bytes, times: int = 1) -> Path:
    """Write an EPUB whose spine lists one chapter several times."""
    spine = '<itemref idref="a"/>' * times
    manifest = '<manifest><item id="a" href="a.jpg"/></manifest>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("META-INF/container.xml", CONTAINER)
        book.writestr("book.opf", f"<package>{manifest}<spine>{spine}</spine></package>")
        book.writestr("a.jpg", chapter)
    return path


# Packages


@pytest.fixture
def little_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MAX_MARKUP_BYTES", 1 << 20)


@pytest.mark.usefixtures("little_markup")
def test_a_book_of_one_large_chapter_or_of_one_many_times_is_not_unpacked(tmp_path: Path) -> None:
    reason = "more than 1 MiB of markup when unpacked"
    assert why_not(write_book(tmp_path / "a.epub", b"a " * (1 << 19) + b"a")) == reason
    assert why_not(write_book(tmp_path / "b.epub", b"a " * 1000, times=600)) == reason
    assert one(write_book(tmp_path / "c.epub", b"a " * 1000, times=500)).text.startswith("a a")


@pytest.mark.usefixtures("little_markup")
@pytest.mark.parametrize("name", ["word/document.xml", "word/media/image1.png"])
def test_a_docx_that_grows_in_unpacking_is_not_unpacked(tmp_path: Path, name: str) -> None:
    docx.Document().save(str(tmp_path / "a.docx"))
    with zipfile.ZipFile(tmp_path / "a.docx", "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{name}.xml" if name.endswith("xml") else name, b"<w:p/>" * (1 << 18))
    assert why_not(tmp_path / "a.docx") == "more than 1 MiB of markup when unpacked"


def test_entities_that_multiply_are_not_expanded(tmp_path: Path) -> None:
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    entities = "".join(f'<!ENTITY {name} "{f"&{of};" * 10}">' for of, name in pairs)
    bomb = f'<!DOCTYPE x [<!ENTITY a "{"x" * 1000}">{entities}]><container>&i;</container>'
    with zipfile.ZipFile(tmp_path / "a.epub", "w") as book:
        book.writestr("META-INF/container.xml", bomb)
    assert why_not(tmp_path / "a.epub").startswith("not a valid EPUB: ")


# Compressed text and tables


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.json"])
def test_a_record_that_unpacks_without_end_is_not_read_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, suffix: str
) -> None:
    monkeypatch.setattr(storage, "MAX_RECORD_BYTES", 1 << 20)
    monkeypatch.setattr(tables, "MAX_JSON_BYTES", 1 << 20)
    head = {"a.csv": "text\n", "a.tsv": "text\n"}.get(name, '{"text": "')
    body = head.encode() + b"a " * (1 << 20)
    packed = gzip.compress(body) if suffix == "gz" else zstandard.compress(body)
    assert len(packed) < 20_000
    line = 2 if name[2:] in ("csv", "tsv") else 1
    reason = why_not(write(tmp_path / f"{name}.{suffix}", packed))
    if name == "a.json":
        assert reason == "more than 1 MiB of text"
    else:
        assert f"line {line} is longer than 1 MiB; reading stopped there" in reason


def test_records_before_one_that_is_too_long_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "MAX_RECORD_BYTES", 1000)
    rows = [json.dumps({"_id": i, "text": "a" * n}) for i, n in enumerate([10, 900, 2000, 10])]
    documents, rejections, _ = read(write(tmp_path / "a.jsonl", "\n".join(rows)))
    assert [document.doc_id for document in documents] == ["0", "1"]
    assert len(rejections) == 1
    assert "line 3 is longer" in rejections[0].reason


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_table_of_a_hundred_thousand_columns_is_rejected(tmp_path: Path, name: str) -> None:
    mark = "," if name == "a.csv" else "\t"
    for columns in (MAX_COLUMNS, 100_000):
        header = mark.join(["text", *(f"c{number}" for number in range(columns - 1))])
        row = mark.join(["word", *(["1"] * (columns - 1))])
        path = write(tmp_path / name, f"{header}\n{row}\n")
        if columns == 100_000:
            assert why_not(path) == "100,000 columns, more than 10,000"
        else:
            assert one(path).text == "word"


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_as_deep_as_it_is_long_is_broken(tmp_path: Path, name: str) -> None:
    reason = why_not(write(tmp_path / name, b"[" * 2_000_000))
    assert "depth limit exceeded" in reason or "nested too deeply" in reason


# HTML: each of these made the standard library's parser, or ours, take quadratic time


@pytest.mark.parametrize(
    ("page", "text"),
    [
        pytest.param("<p>one</p>" + "<a " * 100_000, "one", id="tags that do not end"),
        pytest.param("<p>one</p>" + "<!--" * 100_000, "one", id="comments that do not end"),
        pytest.param("one" + "<!-- ->" * 50_000, "one", id="comments that nearly end"),
        pytest.param("<svg>" * 50_000 + "</style>" * 50_000 + "</svg>one", "one", id="nested"),
    ],
)
def test_markup_without_an_end_takes_no_more_time_than_its_length(page: str, text: str) -> None:
    assert html_document(page, "a").text.startswith(text)


def test_text_behind_the_last_tag_is_kept_with_its_line() -> None:
    document = html_document("<p>one</p>\ntwo &amp; three\n\na < b <i", "a")
    assert document.text == "one\n\ntwo & three a < b <i"
    assert list(document.lines) == [1, 1, 2]


def test_a_comment_ends_where_it_ends_and_later_ones_do_not_hide_text() -> None:
    page = "one <!-- a -> b --> two <!-- c --> three <!-- never <b>four</b>"
    assert html_document(page, "a").text.startswith("one two three")
    assert html.COMMENT_END.search("--  >")


# PDF


def test_a_pdf_of_too_many_pages_or_too_much_text_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["words"] * 12)
    monkeypatch.setattr(pdf, "MAX_TEXT_BYTES", 40)
    assert why_not(path) == "more than 0 MiB of text"
    monkeypatch.setattr(pdf, "MAX_PAGES", 11)
    assert why_not(path) == "12 pages, more than 11"


def test_a_pdf_whose_pages_go_round_in_a_circle_ends(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["words"])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"[6 0 R]", b"[2 0 R]"))
    assert why_not(path)
    path.write_bytes(content.replace(b"/Count 1", b"/Count 9"))
    documents, rejections, _ = read(path)
    assert len(documents) + len(rejections) == 1


# Endless lines in files other than documents

ENDLESS = '{"query": "' + "a" * 5000


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rerank", "-", "-r", "embedded"], "-: line 2"),
        (["rerank", "long.jsonl", "-r", "embedded"], "long.jsonl: line 2"),
        (["score", "--pairs", "-", "-r", "embedded"], "-: line 2"),
        (["score", "query", "-", "-r", "embedded"], "stdin: line 2"),
        (["score", "query", "@long.jsonl", "-r", "embedded"], "long.jsonl: more than 0 MiB"),
        (["search", "--queries", "long.jsonl", "docs"], "long.jsonl: line 2"),
        (["search", "--queries", "-", "docs"], "-: line 2"),
        (["search", "-", "docs"], "-: line 2"),
        (
            ["rerank", "run.trec", "--queries", "long.jsonl", "--corpus", "docs"],
            "long.jsonl: line 2",
        ),
        (["rerank", "long.jsonl", "--queries", "q.txt", "--corpus", "docs"], "long.jsonl: line 2"),
    ],
)
def test_a_line_that_never_ends_is_one_line_and_not_read_to_its_end(
    ettin: Ettin,
    docs: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    told: str,
) -> None:
    assert docs.exists()
    first = '{"_id": "1", "query": "a ferry", "text": "x", "documents": ["a ferry"]}\n'
    monkeypatch.setattr(storage, "MAX_RECORD_BYTES", 1000)
    monkeypatch.setattr("ettin_cli.commands.score.MAX_TEXT_BYTES", 1000)
    write(Path("long.jsonl"), first + ENDLESS)
    write(Path("run.trec"), "1 Q0 bread.txt 1 0.5 x\n")
    write(Path("q.txt"), "a ferry\n")
    with Path("long.jsonl").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        ran = ettin(*words)
    assert ran.code == 1, ran.err
    (error,) = [line for line in ran.err.splitlines() if line.startswith("ettin: error: ")]
    assert told in error


# All of them together


def test_a_folder_of_bombs_is_named_file_by_file_and_the_rest_is_indexed(
    ettin: Ettin, build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "MAX_MARKUP_BYTES", 1 << 20)
    monkeypatch.setattr(storage, "MAX_RECORD_BYTES", 1 << 20)
    (tmp_path / "docs").mkdir()
    write_book(tmp_path / "docs" / "a.epub", b"a " * (1 << 20))
    write(tmp_path / "docs" / "b.jsonl.gz", gzip.compress(b'{"text": "' + b"a" * (2 << 20)))
    write(tmp_path / "docs" / "c.txt", "a ferry")
    ran = ettin("index", "docs", "-i", "i", "--embedder", str(build.model))
    assert ran.code == 3
    rejected = [line for line in ran.err.splitlines() if line.startswith("ettin: rejected ")]
    assert [Path(line.split()[2].rstrip(":")).name for line in rejected] == ["a.epub", "b.jsonl.gz"]
    assert doc_ids(tmp_path / "i") == ["c.txt"]
