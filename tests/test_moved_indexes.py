"""An index that was moved, or that is in a folder without write permission."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ettin_cli.index.manifest import read_manifest
from tests.conftest import Ettin

READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'


def read_only(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command with a folder on a read-only file system."""
    script = f'{READ_ONLY} && cd "$1" && shift && exec "$@"'
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(folder), *command],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )


def ids(out: str) -> list[str]:
    return [hit["doc_id"] for hit in json.loads(out)["hits"]]


def test_an_index_on_a_disk_that_can_only_be_read_answers(inside: Ettin, library: Path) -> None:
    if shutil.which("unshare") is None or read_only(library, "true").returncode:
        pytest.skip("nothing can be mounted here")
    assert read_only(library, "touch", "x").returncode
    words = ["search", "When does the ferry sail?", "-r", "none"]
    expected = inside(*words)

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return read_only(library, sys.executable, "-m", "ettin_cli", *words)

    found = run(*words)
    assert found.returncode == 0, found.stderr
    assert ids(found.stdout) == ids(expected.out)
    assert run("verify").stdout == ".ettin is intact: 12 files\n"
    assert run("info", "--check").returncode == 0
    refused = run("index")
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "ettin: error: cannot write to .ettin: Read-only file system",
        "  hint: free some space or fix the permissions, then run the same command to resume",
    ]


def test_an_index_that_is_moved_with_its_sources_is_up_to_date(
    ettin: Ettin, library: Path, tmp_path: Path
) -> None:
    shutil.copytree(library, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("cache"))
    ettin.monkeypatch.chdir(tmp_path / "elsewhere")
    before = read_manifest(library / ".ettin").generation
    ran = ettin("search", "When does the ferry sail?", "-r", "none", "-k", "1")
    (hit,) = json.loads(ran.out)["hits"]
    assert Path(hit["path"]).resolve() == tmp_path / "elsewhere" / "docs" / "ferry.md"
    assert "stale" not in hit
    assert "up to date" in ettin("index").err
    assert read_manifest(Path(".ettin")).generation == before


def test_an_index_that_is_moved_alone_answers_and_says_how_to_bring_it_up_to_date(
    ettin: Ettin, docs: Path, tmp_path: Path
) -> None:
    assert ettin("index", "docs").code == 0
    (tmp_path / "other").mkdir()
    (tmp_path / ".ettin").rename(tmp_path / "other" / "i")
    found = ettin("search", "When does the ferry sail?", "-r", "none", "-i", "other/i")
    assert (found.code, ids(found.out)[0]) == (0, "ferry.md")
    assert "stale" in found.err
    gone = ettin("index", "-i", "other/i")
    assert gone.code == 1
    remove = f"ettin index -i other/i --remove {tmp_path / 'other' / 'docs'}"
    assert gone.err.splitlines()[1] == f"  hint: {remove}"
    again = ettin("index", "docs", *remove.split()[2:])
    assert (again.code, "0 passages embedded" in again.err) == (0, True), again.err
    assert "stale" not in ettin("search", "ferry", "-r", "none", "-i", "other/i").err
