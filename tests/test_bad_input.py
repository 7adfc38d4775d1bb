"""Bad input is reported in one line each with the right exit code, and the rest is indexed."""

import gzip
import io
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from ettin_cli.corpus import ocr_installed
from tests.conftest import Ettin, Outcome
from tests.reading import unprivileged, write, write_epub, write_pdf

WORDS = "The keeper climbs the stairs at dusk and lights the lamp. " * 40


@pytest.fixture
def bad(tmp_path: Path) -> Iterator[Path]:
    """A folder with every kind of invalid input, and a few valid files."""
    bad = tmp_path / "bad"
    write(bad / "good.md", "# Good\n\nThe ferry sails at nine.\n")
    write(bad / "one.json", '{"id": 7, "text": "A single record."}')
    write(bad / "new\nline.txt", "A file with a line break in its name.")
    write(bad / "sub" / ".gitignore", "*\n!*/\n!*.md\n")
    write(bad / "sub" / "deep" / "kept.md", "Taken back by a negation.")
    write(bad / "sub" / "deep" / "ignored.txt", "ignored")
    write_damaged(bad)
    write_tables(bad)
    write_silent(bad)
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(bad)
        listening.bind("socket.txt")
        os.chdir(here)
        yield bad


def write_damaged(bad: Path) -> None:
    write(bad / "binary.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    write(bad / "encoding.txt", b"\xff\xfe\x00\xd8\x00\xd8a\x00")
    write(bad / "cut.txt.gz", gzip.compress(os.urandom(900).hex().encode())[:-300])
    write(bad / "cut.md.zst", zstandard.compress(os.urandom(900).hex().encode())[:-300])
    cut(write_pdf(bad / "cut.pdf", [WORDS]))
    cut(write_epub(bad / "cut.epub", {"a.xhtml": WORDS}))
    file = docx.Document()
    file.add_paragraph(WORDS)
    file.save(str(bad / "cut.docx"))
    cut(bad / "cut.docx")
    pq.write_table(pa.table({"text": [WORDS]}), bad / "cut.parquet")
    cut(bad / "cut.parquet")
    write_pdf(bad / "locked.pdf", ["words"], password="secret")
    write_pdf(bad / "scan.pdf", [""])
    (bad / "caf\udce9.txt").write_text("words")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_tables(bad: Path) -> None:
    rows = ['{"_id": "a", "text": "first"}', '{"_id": "b", ', '{"_id": "a", "text": "again"}']
    rows += ['{"_id": "c"}', '{"_id": "x y\\nz", "text": "an odd id"}']
    write(bad / "rows.jsonl", "\n".join(rows))
    write(bad / "rows.csv", 'id,text\n1,one\n2\n3,a,b\n4,"open\n5,five\n')
    write(bad / "deep.json", "[" * 100_000 + "]" * 100_000)


def write_silent(bad: Path) -> None:
    """Write files that are skipped and only counted."""
    write(bad / "object.json", '{"name": "x"}')
    write(bad / "script.html", "<html><head><title>App</title></head><script>run()</script>")
    write(bad / "front.md", "---\ntitle: Only front matter\n---\n")
    docx.Document().save(str(bad / "nothing.docx"))
    (bad / "loop").symlink_to(bad)
    (bad / "round.txt").symlink_to(bad / "round.txt")
    (bad / "gone.txt").symlink_to(bad / "nowhere.txt")
    os.mkfifo(bad / "pipe.txt")


def rejected(ran: Outcome) -> list[str]:
    """Return the rejections with their reasons, paths shortened to the last folder."""
    lines = [line for line in ran.err.splitlines() if line.startswith("ettin: rejected ")]
    return [line.rpartition("/")[2] for line in lines]


# Only the part of a message that is ours.
REJECTED = [
    "caf\\udce9.txt: name is not UTF-8",
    "binary.txt: binary content",
    "cut.docx: not a valid DOCX: ",
    "cut.epub: not a valid EPUB: ",
    "cut.md.zst: compressed data is damaged or truncated: ",
    "cut.parquet: not a valid Parquet file: ",
    "cut.pdf: not a valid PDF: ",
    "cut.txt.gz: compressed data is damaged or truncated: ",
    "deep.json: broken JSON: ",
    "encoding.txt: not utf-16, contrary to its byte order mark",
    "locked.pdf: needs a password",
    "rows.csv:3: 1 fields, but the header has 2",
    "rows.csv:4: 3 fields, but the header has 2",
    "rows.csv:5: broken CSV: ",
    "rows.jsonl:2: broken JSON: unexpected end of data at column 14",
    'rows.jsonl:3: duplicate id "rows.jsonl#a"',
    'rows.jsonl:4: no "text" field; the fields are "_id"; set it with --text-field',
    f"scan.pdf: {'no text is recognised' if ocr_installed() else 'no text layer (a scan?)'}",
]
INDEXED = [
    "front.md",
    "good.md",
    "new\nline.txt",
    "one.json#7",
    "rows.csv#1",
    "rows.csv#5",
    "rows.jsonl#a",
    "rows.jsonl#x y\nz",
    "sub/deep/kept.md",
]


def test_everything_that_is_bad_has_its_line_and_the_rest_is_indexed(
    ettin: Ettin, bad: Path
) -> None:
    ran = ettin("index", str(bad))
    assert (ran.code, ran.out) == (3, "")
    assert_told(rejected(ran), REJECTED)
    assert (
        "ettin: skipped 2 broken link, 2 empty, 1 hidden, 1 ignored by .gitignore, "
        "1 link to a folder, 2 not a regular file, 1 table without a text field\n"
    ) in ran.err
    found = ettin("search", "words", "-r", "none", "-k", "50", "-f", "json")
    hits = json.loads(found.out)["hits"]
    assert sorted(hit["doc_id"] for hit in hits) == INDEXED
    again = ettin("index")
    assert (again.code, rejected(again)) == (3, rejected(ran))
    assert "is up to date" in again.err


def assert_told(lines: list[str], expected: list[str]) -> None:
    assert len(lines) == len(expected)
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(beginning)


@pytest.mark.parametrize("name", sorted({line.split(":")[0] for line in REJECTED[1:]}))
def test_a_bad_file_named_as_the_source_is_told_the_same(
    ettin: Ettin, bad: Path, name: str
) -> None:
    ran = ettin("index", str(bad / name))
    assert ran.code == 3
    expected = [line.replace("rows.jsonl#", "") for line in REJECTED if line.startswith(name)]
    assert_told(rejected(ran), expected)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "object.json",
            'object.json: no "text" field; the fields are "name"; set it with --text-field',
        ),
        ("script.html", "script.html: empty"),
        ("nothing.docx", "nothing.docx: empty"),
    ],
)
def test_what_a_folder_passes_over_is_named_when_asked_for(
    ettin: Ettin, bad: Path, name: str, said: str
) -> None:
    ran = ettin("index", str(bad / name))
    assert (ran.code, rejected(ran)) == (3, [said])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "cannot open nowhere: No such file or directory"),
        ("", "a source has an empty name"),
        ("bad/pipe.txt", "bad/pipe.txt is neither a file nor a folder"),
        ("bad/socket.txt", "bad/socket.txt is neither a file nor a folder"),
        ("bad/round.txt", "cannot open bad/round.txt: Too many levels of symbolic links"),
        ("bad/caf\udce9.txt", "its path is not UTF-8"),
        ("bad/sub/.gitignore", "has an unknown format"),
    ],
)
def test_a_source_that_is_none_fails_with_what_to_do(
    ettin: Ettin, bad: Path, source: str, said: str
) -> None:
    ran = ettin("index", source)
    assert (ran.code, ran.out) == (1, "")
    first, second = ran.err.splitlines()
    assert first.startswith("ettin: error: ")
    assert said in first
    assert second.startswith("  hint: ")
    assert not (bad.parent / ".ettin" / "manifest.json").exists()


def test_a_file_without_permission_is_named_and_the_rest_is_indexed(
    ettin: Ettin, tmp_path: Path
) -> None:
    write(tmp_path / "docs" / "a.txt", "words")
    write(tmp_path / "docs" / "b.txt", "words too")
    for folder in (tmp_path, *(one for one in tmp_path.parents if "pytest" in one.as_posix())):
        folder.chmod(0o777)
    # Without privileges Python's own modules cannot be read here, so all are imported first.
    ettin("search", "words", "docs", "-r", "none")
    (tmp_path / "docs" / "b.txt").chmod(0)
    with unprivileged():
        ran = ettin("index", "docs", "-i", "mine")
    assert ran.code == 3
    assert rejected(ran) == ["b.txt: cannot be read: Permission denied"]
    assert "mine: 1 document, 1 passage" in ran.err


def test_an_empty_folder_makes_an_index_of_nothing(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = ettin("index", "empty")
    assert ran.code == 0
    assert ".ettin: 0 documents, 0 passages" in ran.err
    found = ettin("search", "words", "-r", "none")
    assert (found.code, json.loads(found.out)["hits"]) == (0, [])


def test_records_on_standard_input_are_named_by_their_line(
    ettin: Ettin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = b'{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}\n\n{\n\xff\n{"text": "z"}\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(rows)))
    ran = ettin("index", "-")
    assert ran.code == 3
    assert [line for line in ran.err.splitlines() if "rejected" in line] == [
        'ettin: rejected -:2: duplicate id "a"',
        "ettin: rejected -:4: broken JSON: unexpected end of data at column 2",
        "ettin: rejected -:5: not UTF-8",
    ]
    found = ettin("search", "x", "-r", "none", "-f", "trec")
    assert sorted(line.split()[2] for line in found.out.splitlines()) == ["-:6", "a"]


def test_a_beir_folder_is_its_corpus(ettin: Ettin, tmp_path: Path) -> None:
    rows = [{"_id": "d 1", "title": "Ferry", "text": "It sails at nine.", "metadata": {"n": 1}}]
    write(tmp_path / "beir" / "corpus.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write(tmp_path / "beir" / "queries.jsonl", '{"_id": "q 1", "text": "when does it sail"}\n')
    write(tmp_path / "beir" / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\nq 1\td 1\t1\n")
    assert ettin("index", "beir").code == 0
    ran = ettin("search", "--queries", "beir/queries.jsonl", "-r", "none", "-f", "trec")
    assert [line.split()[:4] for line in ran.out.splitlines()] == [["q%201", "Q0", "d%201", "1"]]


def test_a_source_that_vanished_is_told_and_found_again(ettin: Ettin, docs: Path) -> None:
    assert ettin("index", "docs").code == 0
    docs.rename(docs.parent / "away")
    ran = ettin("index")
    assert (ran.code, ran.out) == (1, "")
    assert f"source {docs} no longer exists" in ran.err
    assert f"hint: ettin index -i .ettin --remove {docs}" in ran.err
    told = ettin("info", "--check")
    assert (told.code, "0 new, 0 changed, 3 gone" in told.out) == (1, True)
    hits = json.loads(ettin("search", "when does the ferry sail", "-r", "none").out)["hits"]
    assert [hit["stale"] for hit in hits] == [True] * 3
    (docs.parent / "away").rename(docs)
    assert ettin("info", "--check").code == 0
