"""The files of an open index are mapped without descriptors, and are damaged only if they are."""

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ettin_cli.errors import EttinError, IndexDamagedError
from ettin_cli.index.factories import build as write_faiss, read_index
from ettin_cli.index.mapping import mapped_file, mapped_numbers, release
from ettin_cli.index.passages import Passages
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import intact_texts
from ettin_cli.index.vectors import mapped, open_index
from tests import test_multi_vector_retrieval as multi
from tests.indexes import Builder, ferry_files, unit_vectors
from tests.sharded import answers
from tests.shards import cut

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")


def held_below(folder: Path) -> list[str]:
    """Return the files in a folder that this process has open."""
    links = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(one.readlink()))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return [link for link in links if link.startswith(f"{folder}/")]


@linux
@pytest.mark.parametrize("options", [{}, {"shards": "3"}, {"shards": "3", "factory": "SQ8"}])
def test_an_open_index_holds_no_descriptors(
    tmp_path: Path, build: Builder, options: dict[str, str]
) -> None:
    folder = tmp_path / "i"
    build(folder, ferry_files(tmp_path / "docs"), **options)
    index = Index(folder)
    assert held_below(folder) == []
    answers(index)
    assert len(index.read(range(7))) == len(index.select([], ["*.txt"])) == 7
    assert held_below(folder) == []


@linux
def test_open_token_vectors_hold_no_descriptors(tmp_path: Path) -> None:
    whole = multi.made(tmp_path / "whole", multi.drawn(300))
    parted = Index(cut(whole, tmp_path / "parted", 3))
    assert whole.token_lists is not None and parted.token_lists is not None
    assert held_below(tmp_path) == []


READ: list[Callable[[Path], object]] = [
    mapped_file,
    lambda path: mapped_numbers(path, np.dtype("<u4")),
    lambda path: mapped(path, 1, 2, "float16"),
    lambda path: open_index(path, {}),
    read_index,
    lambda path: Passages(path, 1),
    lambda path: list(intact_texts(path)),
]


@pytest.mark.parametrize("read", READ)
def test_too_many_open_files_are_not_damage(tmp_path: Path, read: Callable[[Path], object]) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "i" / "generations" / "1" / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"ARROW1\0\0" * 9)
    with suppress(IndexDamagedError):  # What is loaded at the first call needs descriptors too.
        read(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(EttinError) as caught:
            read(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (str(caught.value), caught.value.code) == (
        f"cannot read {path}: {os.strerror(errno.EMFILE)}",
        "cannot-read",
    )


@pytest.mark.parametrize("shards", ["none", "3"])
def test_a_file_that_the_system_does_not_read_is_not_damage(
    tmp_path: Path, build: Builder, shards: str
) -> None:
    folder = tmp_path / "i"
    build(folder, ferry_files(tmp_path / "docs"), shards=shards)
    for path in folder.rglob("generations/*/*"):
        kept = path.rename(tmp_path / "kept")
        path.symlink_to(path)  # Whoever opens it follows the link for ever.
        with pytest.raises(EttinError) as caught:
            Index(folder)
        assert str(caught.value) == f"cannot read {path}: {os.strerror(errno.ELOOP)}"
        assert caught.value.code == "cannot-read"
        path.unlink()
        with pytest.raises(IndexDamagedError, match=f"{path.name} is missing"):
            Index(folder)
        kept.rename(path)
    assert len(Index(folder).passages) == 7


def test_numbers_are_those_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "i" / "generations" / "1" / "numbers"
    path.parent.mkdir(parents=True)
    path.write_bytes(np.arange(5, dtype="<u4").tobytes())
    kind = np.dtype("<u4")
    assert mapped_numbers(path, kind).tolist() == [0, 1, 2, 3, 4]
    assert mapped_numbers(path, kind, 8, 2).tolist() == [2, 3]
    assert mapped_numbers(path, kind, 8, 0).tolist() == []
    assert not mapped_numbers(path, kind).flags.writeable
    for offset, count in ((8, 4), (24, 1), (2, -1)):
        with pytest.raises(IndexDamagedError, match="numbers is damaged"):
            mapped_numbers(path, kind, offset, count)
    path.write_bytes(b"")
    assert mapped_numbers(path, kind).tolist() == []
    with pytest.raises(IndexDamagedError, match="numbers is damaged"):
        mapped_numbers(path, kind, 0, 1)


@linux
def test_the_memory_of_read_vectors_is_released(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(np.arange(1 << 20, dtype="<f4").tobytes())
    vectors = mapped(path, 1 << 14, 64, "float32")

    def resident() -> int:
        lines = iter(Path("/proc/self/smaps").read_text().splitlines())
        next(line for line in lines if line.endswith(str(path)))
        return int(next(line for line in lines if line.startswith("Rss:")).split()[1])

    total = vectors.sum(dtype=np.float64)
    assert resident() == 4096
    release(vectors)
    assert resident() == 0
    assert vectors.sum(dtype=np.float64) == total == sum(range(1 << 20))


@linux
@pytest.mark.parametrize(
    ("factory", "in_parts"),
    [("SQfp16", False), ("SQ4", False), ("PCA8,IVF4,SQ8", True), ("NSG8", True)],
)
def test_an_index_that_is_visited_in_parts_is_not_read_ahead(
    tmp_path: Path, factory: str, in_parts: bool
) -> None:
    path = tmp_path / "vectors.faiss"
    index = open_index(path, write_faiss(unit_vectors(400), factory, path)[1], factory)
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    next(line for line in lines if line.endswith(str(path)))
    flags = next(line for line in lines if line.startswith("VmFlags:")).split()
    assert ("rr" in flags) == in_parts
    assert index.ntotal == 400


def test_memory_that_is_not_mapped_keeps_its_content() -> None:
    content = np.frombuffer(pa.py_buffer(bytes([7]) * (1 << 20)), "u1")
    release(content)
    assert content.min() == 7
