"""Content decides whether a file has changed; size and time only save reading it."""

import os
import time
from pathlib import Path

import pytest

from ettin_cli.index import freshness as module
from ettin_cli.index.freshness import RACY_NS, entry_for, is_unchanged, portable, touched
from ettin_cli.storage import checksum

LONG_AGO = 1_700_000_000_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("one")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return path


def never(_path: Path) -> str:
    raise AssertionError("the file was read")


def test_an_entry_holds_the_file_as_it_is(path: Path) -> None:
    entry = entry_for(path, 2, "a.txt", "docs/a.txt")
    assert (entry.source, entry.name, entry.path) == (2, "a.txt", "docs/a.txt")
    assert (entry.size, entry.mtime_ns, entry.digest) == (3, LONG_AGO, checksum(path))
    with pytest.raises(FileNotFoundError):
        entry_for(path.with_name("none"), 0, "none", "none")


def test_a_file_of_the_same_size_and_time_is_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_for(path, 0, "a.txt", "a.txt")
    monkeypatch.setattr(module, "checksum", never)
    assert is_unchanged(entry, path)
    path.write_text("longer")
    assert not is_unchanged(entry, path)


def test_a_new_time_makes_the_content_count(path: Path) -> None:
    entry = entry_for(path, 0, "a.txt", "a.txt")
    os.utime(path, ns=(LONG_AGO + 1, LONG_AGO + 1))
    assert is_unchanged(entry, path)
    path.write_text("two")
    assert not is_unchanged(entry, path)


def test_a_file_that_is_gone_or_became_a_folder_has_changed(path: Path) -> None:
    entry = entry_for(path, 0, "a.txt", "a.txt")
    path.unlink()
    assert not is_unchanged(entry, path)
    path.mkdir()
    assert not is_unchanged(entry, path)


@pytest.mark.parametrize("ahead", [-RACY_NS // 2, 0, 3600 * 10**9])
def test_a_time_too_near_to_tell_a_later_change_by_is_not_trusted(path: Path, ahead: int) -> None:
    now = time.time_ns() + ahead
    os.utime(path, ns=(now, now))
    entry = entry_for(path, 0, "a.txt", "a.txt")
    assert entry.mtime_ns == 0
    path.write_text("two")
    os.utime(path, ns=(now, now))
    assert not is_unchanged(entry, path)
    assert touched(entry, path).mtime_ns == 0


def test_an_unchanged_file_gets_its_new_time_to_save_reading_it_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_for(path, 0, "a.txt", "a.txt")
    os.utime(path, ns=(LONG_AGO + 5, LONG_AGO + 5))
    again = touched(entry, path)
    assert again.mtime_ns == LONG_AGO + 5
    monkeypatch.setattr(module, "checksum", never)
    assert is_unchanged(again, path)


def test_a_path_below_the_base_moves_with_it(tmp_path: Path) -> None:
    assert portable(tmp_path / "docs" / "a.md", tmp_path) == "docs/a.md"
    assert portable(tmp_path, tmp_path / "deeper") == str(tmp_path)
