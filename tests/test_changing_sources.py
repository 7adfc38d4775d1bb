"""Sources that change during a run, or are not regular files, are read or reported."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.corpus.formats import read_file
from ettin_cli.corpus.ignores import parse
from ettin_cli.corpus.registry import is_read
from ettin_cli.index.reader import Index
from ettin_cli.indexing import building, reading
from ettin_cli.indexing.planning import IndexPlan, make_plan
from tests.conftest import Ettin
from tests.indexes import Builder, doc_ids
from tests.reading import listed, read, why_not, write

SUFFIXES = [".txt", ".md", ".html", ".pdf", ".docx", ".epub", ".eml", ".jsonl", ".json", ".csv"]
SUFFIXES += [".tsv", ".parquet", ".txt.gz", ".jsonl.zst"]
LONG_AGO = 1_700_000_000_000_000_000


def put_nothing(path: Path) -> None:
    path.unlink()


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_socket(path: Path) -> None:
    path.unlink()
    # A socket's address is limited to about 100 bytes.
    here = Path.cwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


def put_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def put_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


PUT: dict[Callable[[Path], None], str] = {
    put_nothing: "No such file or directory",
    put_folder: "Is a directory",
    put_pipe: "not a regular file",
    put_socket: "No such device or address",
    put_loop: "Too many levels of symbolic links",
    put_device: "not a regular file",
}


def meanwhile(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Run a callback once, between listing the files and reading them."""
    original, left = make_plan, [change]

    def planned(*arguments: Any, **options: Any) -> IndexPlan:
        plan = original(*arguments, **options)
        if left:
            left.pop()()
        return plan

    monkeypatch.setattr(building, "make_plan", planned)


@pytest.mark.parametrize("put", PUT, ids=lambda put: put.__name__)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_takes_the_place_of_a_file_has_its_reason(
    tmp_path: Path, put: Callable[[Path], None], suffix: str
) -> None:
    path = write(tmp_path / f"a{suffix}", "x")
    put(path)
    assert why_not(path) == f"cannot be read: {PUT[put]}"


@pytest.mark.parametrize("put", PUT, ids=lambda put: put.__name__)
@pytest.mark.parametrize("name", ["a.txt", "a.pdf", "a.parquet"])
def test_a_file_replaced_between_listing_and_reading_is_named_and_the_rest_is_indexed(
    ettin: Ettin,
    build: Builder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    put: Callable[[Path], None],
    name: str,
) -> None:
    path = write(tmp_path / "docs" / name, "x")
    write(tmp_path / "docs" / "b.txt", "a ferry")
    meanwhile(monkeypatch, lambda: put(path))
    ran = ettin("index", "docs", "-i", "i", "--embedder", str(build.model))
    assert ran.code == 3
    assert f"ettin: rejected {path}: cannot be read: {PUT[put]}" in ran.err
    assert doc_ids(tmp_path / "i") == ["b.txt"]
    assert ettin("index", "-i", "i").code == 0


def test_a_file_that_changes_while_it_is_read_is_read_again_by_the_next_run(
    build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "docs" / "a.txt", "the old text")
    original = read_file

    def changing(*arguments: Any, **options: Any) -> Any:
        yield from original(*arguments, **options)
        if path.read_text() == "the old text":
            path.write_text("the new text")

    monkeypatch.setattr(reading, "read_file", changing)
    build(tmp_path / "i", tmp_path / "docs")
    assert texts(tmp_path / "i") == ["the old text"]
    build(tmp_path / "i")
    assert texts(tmp_path / "i") == ["the new text"]


def test_a_file_that_changes_after_it_was_found_the_same_is_not_taken_for_it(
    build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "docs" / "a.txt", "the old text")
    build(tmp_path / "i", tmp_path / "docs")

    def change() -> None:
        path.write_text("the new text")
        os.utime(path, ns=(LONG_AGO, LONG_AGO))

    meanwhile(monkeypatch, change)
    write(tmp_path / "docs" / "b.txt", "another")
    build(tmp_path / "i")
    build(tmp_path / "i")
    assert texts(tmp_path / "i") == ["the new text", "another"]


@pytest.mark.parametrize("shift", [-3600, -1, 0, 1, 3600])
def test_a_clock_that_goes_back_hides_no_change(
    build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    path = write(tmp_path / "docs" / "a.txt", "the old text")
    time = path.stat().st_mtime_ns
    build(tmp_path / "i", tmp_path / "docs")
    path.write_text("the new text")
    os.utime(path, ns=(time + shift * 10**9, time + shift * 10**9))
    build(tmp_path / "i")
    assert texts(tmp_path / "i") == ["the new text"]


def test_a_folder_that_goes_while_it_is_walked_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.txt", "x")
    write(tmp_path / "sub" / "b.txt", "x")
    original = os.scandir

    def going(path: Path) -> Any:
        if path.name == "sub":
            (tmp_path / "sub" / "b.txt").unlink()
            (tmp_path / "sub").rmdir()
        return original(path)

    monkeypatch.setattr(os, "scandir", going)
    listing = listed(tmp_path)
    assert [str(one) for one in listing.rejections] == [
        f"{tmp_path}/sub: cannot be listed: No such file or directory"
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_20_gb_of_nothing_costs_what_is_read_of_it(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", "")
    os.truncate(path, 20 << 30)
    if path.stat().st_blocks * 512 > 1 << 30:
        pytest.skip("there are no sparse files here")
    documents, rejections, _ = read(path)
    assert documents == []
    assert len(rejections) == 1
    assert rejections[0].reason


# Ignore files


def test_an_ignore_file_that_cannot_be_read_is_named_and_waited_for_by_nobody(
    tmp_path: Path,
) -> None:
    write(tmp_path / "a" / "a.txt", "x")
    write(tmp_path / "b" / "b.txt", "x")
    write(tmp_path / "c" / "c.txt", "x")
    os.mkfifo(tmp_path / "a" / ".gitignore")
    write(tmp_path / "b" / ".gitignore", "b.txt\n" * (1 << 18))
    (tmp_path / "c" / ".gitignore").mkdir()
    listing = listed(tmp_path)
    assert [file.name for file in listing.files] == ["a/a.txt", "b/b.txt", "c/c.txt"]
    assert [str(one) for one in listing.rejections] == [
        f"{tmp_path}/a/.gitignore: cannot be read: not a regular file",
        f"{tmp_path}/b/.gitignore: more than 1 MiB",
    ]


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("*a" * 30 + "b", "a" * 200, False),
        ("*a" * 30 + "b", "a" * 200 + "b", True),
        ("**/a/" * 30 + "b", "a/" * 200 + "c", False),
        ("**/a/" * 30 + "b", "a/" * 200 + "b", True),
        ("**/*a*/" * 9 + "b", "aa/" * 200 + "c", False),
        ("*a*b*/c", "aab/abab/c", False),
        ("x/*a*b*/c", "x/abab/c", True),
    ],
)
def test_a_glob_of_many_stars_takes_no_time_to_speak_of(glob: str, name: str, fits: bool) -> None:
    (pattern,) = parse(glob)
    assert pattern.fits(name, is_folder=False) is fits


# Names


@pytest.mark.skipif(sys.platform == "win32", reason="there they are names of devices")
def test_names_that_other_systems_reserve_are_names(
    ettin: Ettin, build: Builder, tmp_path: Path
) -> None:
    names = [
        "CON.txt",
        "NUL.md",
        "aux/lpt1.txt",
        "a:b.txt",
        'q"?*<>|.txt',
        "trailing. .txt",
        "..txt",
    ]
    names += [
        "-rf.txt",
        "$(reboot).txt",
        "a\\b.txt",
        "é" * 125 + "e.txt",
        "new\nline.txt",
        "\x1b[31m.txt",
    ]
    for name in names:
        write(tmp_path / "docs" / name, f"text {len(name)}")
    ran = ettin("index", "docs", "-i", "i", "--embedder", str(build.model))
    kept = sorted(name for name in names if not name.startswith("."))
    assert ran.code == 0
    assert doc_ids(tmp_path / "i") == kept
    assert "\x1b" not in ettin("info", "-i", "i").out


def test_a_path_longer_than_the_system_takes_is_named(
    ettin: Ettin, build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "docs" / "a.txt", "a ferry")
    os.chdir(tmp_path / "docs")
    for _ in range(20):
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    Path("deep.txt").write_text("x")
    os.chdir(tmp_path)
    ran = ettin("index", "docs", "-i", "i", "--embedder", str(build.model))
    assert (ran.code, doc_ids(tmp_path / "i")) == (3, ["a.txt"])
    assert ran.err.count("cannot be listed: File name too long") == 1


def texts(folder: Path) -> list[str]:
    found: list[str] = Index(folder).passages.table.column("text").to_pylist()
    return found


def test_every_suffix_above_is_one_that_is_read() -> None:
    assert all(is_read(f"a{suffix}") for suffix in SUFFIXES)
