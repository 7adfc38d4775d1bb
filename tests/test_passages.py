"""Passages are read back exactly, by any row, and damage is never read as text."""

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import IndexDamagedError
from ettin_cli.index import passages as module
from ettin_cli.index.known_vectors import joined_hashes
from ettin_cli.index.passages import Passages, PassageWriter
from ettin_cli.index.source_files import FileEntry, Files, write_files
from ettin_cli.records import Passage, Rejection
from ettin_cli.storage import checksum
from tests.indexes import hashes


def passage(number: int) -> Passage:
    return Passage(
        doc_id=f"d{number // 3}",
        text=f"text {number} 日本",
        title="Title" if number % 2 else "",
        start_line=number or None,
        end_line=number + 1,
        page=number % 5 or None,
        metadata={"n": number, "tags": ["a", "b"]} if number % 4 else {},
    )


def written(folder: Path, count: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> Passages:
    monkeypatch.setattr(module, "BATCH_ROWS", batch)
    path = folder / "generations" / "000001-00000000" / "passages.arrow"
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = PassageWriter(path)
    for number in range(count):
        writer.add(passage(number), number // 10)
    writer.close()
    assert writer.rows == count
    return Passages(path, count)


@pytest.mark.parametrize("batch", [1, 7, 1024])
def test_any_rows_are_read_as_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    stored = written(tmp_path, 40, batch, monkeypatch)
    rows = [39, 0, 7, 7, 20]
    assert stored.read(rows) == [(passage(row), row // 10) for row in rows]
    assert stored.read(np.array(rows)) == stored.read(rows)
    assert stored.contents(rows) == [passage(row).content for row in rows]
    assert stored.column("doc_id", rows) == [f"d{row // 3}" for row in rows]
    assert stored.column("file", np.array([], np.int64)) == []
    expected = hashes(*(passage(row).content for row in range(40)))
    assert np.array_equal(joined_hashes(stored.hashes()), expected)
    found = [n for block in stored.blocks("file") for n in block[0].to_pylist()]
    assert found == [row // 10 for row in range(40)]


def test_copied_rows_belong_to_their_new_file_and_keep_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = written(tmp_path, 40, 8, monkeypatch)
    writer = PassageWriter(tmp_path / "copy.arrow")
    writer.add(passage(100), 0)
    for number, first in enumerate(range(0, 40, 10), start=1):
        writer.copy(stored.table.slice(first, 10), number)
    writer.add(passage(101), 5)
    writer.close()
    copy = Passages(tmp_path / "copy.arrow", 42)
    assert [found for found, _ in copy.read(range(42))] == [
        passage(number) for number in (100, *range(40), 101)
    ]
    assert copy.column("file", range(42)) == [0, *(1 + row // 10 for row in range(40)), 5]


def test_rows_of_many_small_files_are_gathered_into_large_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = written(tmp_path, 40, 8, monkeypatch)
    writer = PassageWriter(tmp_path / "copy.arrow")
    for row in range(40):
        writer.copy(stored.table.slice(row, 1), row)
    writer.close()
    lengths = [len(batch) for batch in Passages(tmp_path / "copy.arrow", 40).table.to_batches()]
    assert lengths == [8] * 5


@pytest.fixture
def pool() -> Iterator[pa.MemoryPool]:
    """Give Arrow a memory pool that starts counting at zero."""
    whole = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(whole)
    pa.set_memory_pool(counting)
    yield counting
    pa.set_memory_pool(whole)


def test_reading_a_row_takes_no_memory_for_the_others(tmp_path: Path, pool: pa.MemoryPool) -> None:
    text = "x" * 100_000
    writer = PassageWriter(tmp_path / "passages.arrow")
    for number in range(150):
        writer.add(Passage(f"d{number}", f"{number} {text}"), 0)
        if number % 10 == 9:
            writer._flush()
    writer.close()
    stored = Passages(tmp_path / "passages.arrow", 150)
    written_with = pool.max_memory()
    assert stored.read([7, 140])[1][0].text == f"140 {text}"
    assert stored.contents([0, 149])[0] == f"0 {text}"
    assert stored.column("doc_id", [3, 77]) == ["d3", "d77"]
    assert pool.max_memory() == written_with < 40 * len(text)


def test_another_count_or_another_table_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, 3, 8, monkeypatch).path
    with pytest.raises(IndexDamagedError) as caught:
        Passages(path, 4)
    assert hint_of(caught.value) == f"ettin verify -i {tmp_path} --repair"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, pa.schema([("x", "int8")])):
        pass
    with pytest.raises(IndexDamagedError):
        Passages(path, 0)


FLIPPING = """
import random, sys
from pathlib import Path
from ettin_cli.errors import IndexDamagedError
from ettin_cli.index.passages import Passages

path, whole = Path(sys.argv[1]), Path(sys.argv[1]).read_bytes()
expected = Passages(path, 40).read(range(40))
place = path.with_name("flipped.arrow")
chooser = random.Random(4)
for _ in range(1200):
    content = bytearray(whole)
    content[chooser.randrange(len(content))] ^= 1 << chooser.randrange(8)
    # A new file each time, since another's pages may still be mapped.
    place.unlink(missing_ok=True)
    place.write_bytes(content)
    try:
        stored = Passages(place, 40)
        found = stored.read(range(40))
        list(stored.hashes()), stored.contents(range(40)), stored.column("doc_id", range(40))
    except IndexDamagedError:
        print("damaged")
        continue
    same = all(a[0].text == b[0].text for a, b in zip(found, expected))
    print("whole" if same else "WRONG TEXT")
"""


def test_a_flipped_byte_neither_kills_the_process_nor_changes_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, 40, 16, monkeypatch).path
    ran = subprocess.run(
        [sys.executable, "-c", FLIPPING, str(path)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert set(ran.stdout.split()) == {"damaged", "whole"}
    assert len(ran.stdout.split()) == 1200


# files.arrow

ENTRIES = [
    FileEntry(0, "a.md", "docs/a.md", 12, 34, "ab", 0, 2, 1, 1, ""),
    FileEntry(1, "b.bin", "/x/b.bin", 0, 0, "", skipped="binary"),
    FileEntry(1, "é.jsonl", "", -1, 0, "", rejections=(Rejection("é.jsonl", "broken", 3),)),
]


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "files.arrow"
    for entries in (ENTRIES, []):
        write_files(path, entries)
        found = Files(pa.memory_map(str(path)).read_buffer(), path, checksum(path))
        assert list(found) == entries
        assert [found[number] for number in range(len(found))] == entries


def test_a_flipped_byte_in_the_files_is_noticed_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "generations" / "000001-00000000" / "files.arrow"
    path.parent.mkdir(parents=True)
    write_files(path, ENTRIES)
    whole, right = path.read_bytes(), checksum(path)
    for at in random.Random(2).sample(range(len(whole)), 200):
        flipped = bytearray(whole)
        flipped[at] ^= 16
        with pytest.raises(IndexDamagedError, match="files.arrow is damaged"):
            Files(pa.py_buffer(bytes(flipped)), path, right)
