"""A walk copes with anything in a folder, and reports what it skips."""

import io
import os
import socket
import string
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from ettin_cli.commands.hints import hint_of
from ettin_cli.corpus.formats import read_file
from ettin_cli.corpus.records import Fields
from ettin_cli.corpus.registry import built_in_reader
from ettin_cli.corpus.sources import SourceFile, is_encodable, list_files, open_source
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.records import Rejection
from ettin_cli.storage import Stream
from tests.reading import listed, names, unprivileged, write

NOT_UTF8 = os.fsdecode(b"caf\xe9")


def test_an_empty_folder_holds_nothing_and_nothing_is_wrong(tmp_path: Path) -> None:
    listing = listed(tmp_path)
    assert (listing.files, listing.skipped, listing.rejections) == ([], {}, [])


def test_an_empty_source_is_not_the_working_folder() -> None:
    with pytest.raises(CorpusError, match="a source has an empty name"):
        open_source("")


def test_links_that_go_round_or_nowhere_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "b.txt")
    (tmp_path / "b.txt").symlink_to(tmp_path / "a.txt")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    (tmp_path / "up").symlink_to(tmp_path)
    write(tmp_path / "c.txt", "x")
    listing = listed(tmp_path)
    assert names(listing) == ["c.txt"]
    assert listing.skipped == {"broken link": 3, "link to a folder": 1}


def test_a_source_that_is_a_link_going_round_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "a.txt")
    with pytest.raises(CorpusError, match="Too many levels of symbolic links") as refused:
        open_source(str(tmp_path / "a.txt"))
    assert hint_of(refused.value) is not None


def test_a_link_whose_file_has_no_suffix_is_read_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "blob").write_text('{"_id": "a", "text": "At nine."}\n', encoding="utf-8")
    (tmp_path / "corpus.jsonl").symlink_to("blob")
    (tmp_path / "notes.md").write_text("# At nine", encoding="utf-8")
    (tmp_path / "linked.txt").symlink_to("notes.md")
    locations = [
        open_source(str(tmp_path / name)).location for name in ("corpus.jsonl", "linked.txt")
    ]
    assert locations == [tmp_path / "corpus.jsonl", tmp_path / "notes.md"]


def test_pipes_and_sockets_are_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.txt")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.txt")
        listing = listed(tmp_path)
    assert (listing.files, listing.skipped) == ([], {"not a regular file": 2})


@pytest.fixture
def abyss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file in a folder so deep that the cleanup after tests would fail at it, too."""
    monkeypatch.chdir(tmp_path)
    for _ in range(1010):
        Path("d").mkdir()
        os.chdir("d")
    Path("deep.txt").write_text("x")
    os.chdir(tmp_path)
    yield tmp_path
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)


def test_a_folder_deeper_than_python_recurses_is_walked_to_its_end(abyss: Path) -> None:
    assert names(listed(abyss)) == ["d/" * 1010 + "deep.txt"]


def test_the_index_does_not_index_itself(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "x")
    write(tmp_path / "made" / "manifest.json", '{"text": "x"}')
    write(tmp_path / "sub" / "made" / "b.txt", "x")
    listing = listed(tmp_path, index=tmp_path / "made")
    assert names(listing) == ["a.txt", "sub/made/b.txt"]
    assert listing.skipped == {"the index itself": 1}


@pytest.mark.parametrize("pattern", ["!", "[z-a]", "a\\"])
def test_what_is_no_glob_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InvalidArgumentError, match="is not a glob"):
        listed(tmp_path, include=[pattern])
    with pytest.raises(InvalidArgumentError, match="is not a glob"):
        listed(tmp_path, exclude=["*.md", pattern])


def test_globs_speak_of_paths_below_the_source(tmp_path: Path) -> None:
    for name in ("a.md", "drafts/b.md", "drafts/c.txt", "sub/drafts/d.md", "Größe.md"):
        write(tmp_path / name, "x")
    assert names(listed(tmp_path, include=["/drafts/*.md"])) == ["drafts/b.md"]
    assert names(listed(tmp_path, exclude=["drafts/"])) == ["Größe.md", "a.md"]
    assert names(listed(tmp_path, include=["*.md"], exclude=["/drafts/"])) == [
        "Größe.md",
        "a.md",
        "sub/drafts/d.md",
    ]
    assert listed(tmp_path, include=["*.rst"]).skipped == {"excluded": 5}


# Names


def test_a_name_that_is_not_utf8_is_rejected_only_where_it_would_be_read(tmp_path: Path) -> None:
    (tmp_path / f"{NOT_UTF8}.txt").write_text("x")
    (tmp_path / f"{NOT_UTF8}.jpg").write_bytes(b"\xff\0")
    (tmp_path / f".{NOT_UTF8}.txt").write_text("x")
    (tmp_path / NOT_UTF8).mkdir()
    (tmp_path / NOT_UTF8 / "a.txt").write_text("x")
    (tmp_path / NOT_UTF8 / "b.txt").write_text("x")
    listing = listed(tmp_path)
    assert listing.files == []
    assert listing.skipped == {"binary": 1, "hidden": 1}
    assert [str(rejection) for rejection in listing.rejections] == [
        f"{tmp_path}/caf\\udce9: name is not UTF-8",
        f"{tmp_path}/caf\\udce9.txt: name is not UTF-8",
    ]


@pytest.mark.parametrize("name", ["new\nline.md", "tab\t.md", " .md", "a b.md", "日本.md", "é.md"])
def test_any_other_name_is_a_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "x")
    assert names(listed(tmp_path)) == [name]


@given(st.text())
def test_a_name_is_utf8_if_it_can_be_written_as_such(name: str) -> None:
    assert is_encodable(name)
    assert not is_encodable(name + "\udce9")


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("README", "text"),
        ("a/LICENSE", "text"),
        ("a.b/file", "text"),
        ("a/file.unknown", None),
        (".gitignore", None),
        ("file.gz", None),
        ("x.adoc", "AsciiDoc"),
        ("x.ipynb.gz", "Jupyter notebook"),
        ("x.Rmd", "Markdown"),
        ("x.tex", "LaTeX"),
        ("x.MD.GZ", "Markdown"),
        ("x.csv.zst", "CSV"),
        ("x.ndjson", "JSONL"),
        ("x.pdf.gz", None),
        ("x.tar.gz", None),
        (".gz", None),
        ("x.gz.gz", None),
        ("x.xhtml", "HTML"),
        ("Dockerfile", "source code"),
        ("CMakeLists.txt", "source code"),
    ],
)
def test_the_name_tells_how_a_file_is_read(name: str, format: str | None) -> None:
    reader = built_in_reader(name)
    assert (reader and reader.name) == format


@given(st.lists(st.text(string.ascii_letters + "_é-", min_size=1, max_size=6), max_size=8))
@settings(max_examples=40, deadline=None)
def test_files_are_listed_once_and_by_name_whatever_order_the_disk_has(
    tmp_path_factory: pytest.TempPathFactory, stems: Sequence[str]
) -> None:
    folder = tmp_path_factory.mktemp("walk")
    written = {f"{'/'.join(stem)}.txt" for stem in stems}
    for name in written:
        write(folder / name, "x")
    assert names(listed(folder)) == sorted(written)


# Unreadable sources


def test_what_may_not_be_read_is_named_and_the_rest_is_listed(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "x")
    write(tmp_path / "b.txt", "x").chmod(0)
    write(tmp_path / "shut" / "c.txt", "x")
    for folder in (tmp_path, *(one for one in tmp_path.parents if "pytest" in one.as_posix())):
        folder.chmod(0o755)
    (tmp_path / "shut").chmod(0)
    rejections: list[Rejection] = []
    listed(tmp_path, exclude=["imports what the walk needs"])
    try:
        with unprivileged():
            listing = listed(tmp_path)
            read = [
                document.doc_id
                for file in listing.files
                for document in read_file(file, Fields(), rejections.append, lambda _: None)
            ]
            with pytest.raises(CorpusError, match="cannot open .*shut: Permission denied"):
                open_source(str(tmp_path / "shut"))
    finally:
        (tmp_path / "shut").chmod(0o755)
    assert read == ["a.txt"]
    assert [str(rejection) for rejection in [*listing.rejections, *rejections]] == [
        f"{tmp_path}/shut: cannot be listed: Permission denied",
        f"{tmp_path}/b.txt: cannot be read: Permission denied",
    ]


def test_a_file_that_went_between_listing_and_reading_is_named(tmp_path: Path) -> None:
    rejections: list[Rejection] = []
    file = SourceFile(tmp_path / "a.txt", "a.txt", in_folder=True)
    assert list(read_file(file, Fields(), rejections.append, lambda _: None)) == []
    assert [rejection.reason for rejection in rejections] == [
        "cannot be read: No such file or directory"
    ]


# BEIR


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst"])
def test_a_beir_corpus_may_be_packed_and_hides_what_lies_beside_it(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path / name, "x")
    write(tmp_path / "queries.jsonl", "x")
    write(tmp_path / "qrels" / "test.tsv", "x")
    source = open_source(str(tmp_path))
    assert source.kind == "beir"
    assert list_files(source).files == [SourceFile(tmp_path / name, name, in_folder=False)]


def test_a_folder_called_like_a_beir_corpus_is_none(tmp_path: Path) -> None:
    write(tmp_path / "corpus.jsonl" / "a.txt", "x")
    assert open_source(str(tmp_path)).kind == "folder"


def test_a_file_is_a_source_by_its_own_name(tmp_path: Path) -> None:
    write(tmp_path / "sub" / "a.md", "x")
    source = open_source(str(tmp_path / "sub" / ".." / "sub" / "a.md"))
    assert (source.kind, source.name, names(list_files(source))) == ("file", "a.md", ["a.md"])


def test_a_stream_is_a_source() -> None:
    stream = Stream(io.BytesIO())
    source = open_source(stream)
    assert (source.kind, source.name) == ("stream", "-")
    assert list_files(source).files == [SourceFile(None, "-", in_folder=False, stream=stream)]
    # "-" stands for standard input only on the command line.
    with pytest.raises(CorpusError, match="cannot open -: No such file"):
        open_source("-")
