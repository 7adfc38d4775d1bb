"""The ignored files are those that git itself ignores."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from tests.reading import listed, names, write

NAMES = (
    "a.txt",
    "b.txt",
    "d !x.txt",
    "*.txt",
    "build/a.txt",
    "keep/x.md",
    "a/b/c/d.txt",
    "sub/a.txt",
    "sub/b.md",
    "sub/build/c.txt",
    "sub/deep/a.txt",
)
PATTERNS = r"""
*
**
/*
/**
*.txt
!*.txt
*.md
a.*
a.txt
/a.txt
!a.txt
**a.txt
[ab].txt
[!a].txt
[^b].txt
[a-c].txt
[z-a].txt
[]a].txt
[!]x].txt
[-a].txt
[a-].txt
[\a].txt
[a-\c].txt
[[:alpha:]].txt
[[:foo:]a].txt
[[:space:]]
[
[a
?.md
a[.]txt
sub
sub/
/sub
!sub/
!/sub
sub/*
sub/**
sub/**/
sub//
sub[/]a.txt
!sub/a.txt
!sub/deep/
*/a.txt
**/build
build/**
!build/a.txt
**/deep/*.txt
deep/
!*/
!**/
!**/a.txt
a/**
a/**/d.txt
a/*/c
!a/b/c/
\*.txt
\a.txt
\#x
# a comment
d \!x.txt
b.txt\ 
!
""".strip("\n").split("\n")
RULES = st.lists(st.sampled_from(PATTERNS), max_size=5)

git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    subprocess.run(["git", "init", "-q", tree], check=True)
    for name in NAMES:
        write(tree / name, "x")
    return tree


def not_ignored_by_git(folder: Path) -> list[str]:
    command = ["git", "-c", "core.excludesFile=", "ls-files", "-zo", "--exclude-standard"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True)
    return sorted(name for name in ran.stdout.split("\0") if name and ".gitignore" not in name)


def rules(folder: Path, lines: Sequence[str]) -> None:
    (folder / ".gitignore").write_bytes("\n".join(lines).encode())


@git
@given(RULES, RULES)
@settings(max_examples=150, deadline=None)
def test_what_git_ignores_is_ignored_and_nothing_else(
    tree: Path, outer: list[str], inner: list[str]
) -> None:
    rules(tree, outer)
    rules(tree / "sub", inner)
    assert sorted(names(listed(tree))) == not_ignored_by_git(tree)


@git
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_alone_is_git_s(tree: Path, pattern: str) -> None:
    rules(tree, [pattern])
    rules(tree / "sub", [])
    assert sorted(names(listed(tree))) == not_ignored_by_git(tree)


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        # All except one kind of file, at any depth.
        (["*", "!*/", "!*.md"], ["keep/x.md", "sub/b.md"]),
        # All files of a folder except one kind.
        (["sub/**", "!sub/**/", "!sub/**/a.txt"], ["sub/a.txt", "sub/deep/a.txt"]),
        # Re-including a folder does not re-include what is ignored inside it.
        (["deep/", "!sub/"], ["sub/a.txt", "sub/b.md", "sub/build/c.txt"]),
        # Files in an ignored folder cannot be re-included.
        (["sub/", "!sub/a.txt"], []),
        (["sub/*", "!sub/a.txt"], ["sub/a.txt"]),
    ],
)
def test_the_usual_ways_to_write_exceptions_work(
    tmp_path: Path, lines: list[str], kept: list[str]
) -> None:
    for name in (*NAMES, "keep/x.md"):
        write(tmp_path / name, "x")
    rules(tmp_path, lines)
    found = [name for name in names(listed(tmp_path)) if name.startswith(("sub", "keep"))]
    assert [name for name in found if name.startswith("sub") or "*" in lines] == kept


def test_an_ignore_file_may_begin_with_a_mark_and_have_windows_line_ends(tmp_path: Path) -> None:
    write(tmp_path / ".gitignore", "\ufeffa.txt\r\nb.txt  \r\n")
    for name in ("a.txt", "b.txt", "c.txt"):
        write(tmp_path / name, "x")
    assert names(listed(tmp_path)) == ["c.txt"]


def test_an_ignore_file_that_cannot_be_read_ignores_nothing(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").mkdir()
    write(tmp_path / "a.txt", "x")
    write(tmp_path / "sub" / ".gitignore", b"\xff\xfe*\n")
    write(tmp_path / "sub" / "b.txt", "x")
    assert names(listed(tmp_path)) == ["a.txt", "sub/b.txt"]


def test_a_folder_that_is_ignored_and_named_on_purpose_is_read(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".gitignore", "build/\n*.log\n")
    write(tmp_path / "build" / "docs" / "a.txt", "x")
    write(tmp_path / "docs" / "a.log", "x")
    write(tmp_path / "docs" / "b.txt", "x")
    assert names(listed(tmp_path / "build")) == ["docs/a.txt"]
    assert names(listed(tmp_path / "build" / "docs")) == ["a.txt"]
    assert names(listed(tmp_path / "docs")) == ["b.txt"]
    assert names(listed(tmp_path)) == ["docs/b.txt"]


def test_a_folder_that_ignores_all_of_itself_can_be_read_by_its_parts(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path / "venv" / ".gitignore", "*\n")
    write(tmp_path / "venv" / "lib" / "docs" / "a.txt", "x")
    assert names(listed(tmp_path)) == names(listed(tmp_path / "venv")) == []
    assert names(listed(tmp_path / "venv" / "lib")) == ["docs/a.txt"]
    assert names(listed(tmp_path / "venv" / "lib" / "docs")) == ["a.txt"]


def test_ignore_files_outside_of_the_work_tree_do_not_count(tmp_path: Path) -> None:
    write(tmp_path / ".gitignore", "*\n")
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    write(tmp_path / "repository" / "docs" / "a.txt", "x")
    assert names(listed(tmp_path / "repository" / "docs")) == ["a.txt"]
    assert names(listed(tmp_path / "repository")) == ["docs/a.txt"]
