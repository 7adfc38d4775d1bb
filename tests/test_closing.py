"""A long-lived process can close what it opens, also while other threads use it."""

import csv
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from ettin_cli.corpus import pdf
from ettin_cli.corpus.pdf import PdfProcess
from ettin_cli.corpus.separate import close_processes
from ettin_cli.errors import ClosedError, IndexNotFoundError
from ettin_cli.index.reader import Index
from ettin_cli.searching.retrievers import DenseRetriever, LexicalRetriever, Retriever
from ettin_cli.storage import mode_for
from tests.indexes import Builder, WordEmbedder, ferry_files, word_vector
from tests.reading import one, read, write, write_pdf
from tests.threads import PATIENCE_S, THREADS, in_threads

ROWS = np.arange(7)


@pytest.fixture
def folder(tmp_path: Path, build: Builder) -> Path:
    build(tmp_path / "i", ferry_files(tmp_path / "docs"))
    return tmp_path / "i"


def everything(index: Index) -> Any:
    """Return the results of each way to read an index."""
    [(rows, scores)] = index.retrieve(word_vector("ferry 3")[None], 5)
    return (
        [passage.text for passage in index.read(ROWS)],
        (rows.tolist(), scores.tolist()),
        [part.tolist() for part in index.lexicon.scores({"ferri": 1, "3": 1}).highest(5)],
        [entry.name for entry in index.files],
        index.select([], ["3.txt"]).tolist(),
        list(index.doc_ids()),
        np.array(index.vectors).tolist(),
    )


def maps() -> str:
    return Path("/proc/self/maps").read_text()


def handles() -> list[str]:
    """Return the open files of this process."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        # The descriptor used for listing is closed by then.
        with suppress(FileNotFoundError):
            found.append(str(path.readlink()))
    return found


READS: dict[str, Callable[[Index], object]] = {
    "read": lambda index: index.read(ROWS),
    "retrieve": lambda index: index.retrieve(word_vector("ferry")[None], 5),
    "retrieve among": lambda index: index.retrieve(word_vector("ferry")[None], 5, ROWS),
    "passages": lambda index: index.passages,
    "vectors": lambda index: index.vectors,
    "lexicon": lambda index: index.lexicon,
    "files": lambda index: index.files,
    "doc_ids": lambda index: list(index.doc_ids()),
    "select": lambda index: index.select([("a", "b")], []),
    "holding": lambda index: index.holding("title", bool),
    "file_of": lambda index: index.file_of(0),
    "known_vectors": lambda index: index.known_vectors(),
}


@pytest.mark.parametrize("read", READS)
def test_a_closed_index_says_so_whatever_is_read_of_it(folder: Path, read: str) -> None:
    with Index(folder) as index:
        READS[read](index)
    with pytest.raises(ClosedError, match="the index in .*i is closed") as caught:
        READS[read](index)
    assert caught.value.code == "closed"
    assert index.manifest.counts.passages == 7
    index.close()


@pytest.mark.skipif(sys.platform != "linux", reason="maps are listed on Linux alone")
def test_a_closed_index_holds_no_map_and_no_file_though_retrievers_refer_to_it(
    folder: Path,
) -> None:
    index = Index(folder)
    whole = everything(index)
    retrievers: list[Retriever] = [
        DenseRetriever(index, WordEmbedder(index.manifest.embedder)),
        LexicalRetriever(index),
    ]
    found = [one.searches([["ferry 3"]])[0](3, None).rows.tolist() for one in retrievers]
    assert whole[0][3] == "file 3 tells of ferry 3"
    assert found[0][0] == found[1][0] == 3
    assert str(folder / "generations") in maps()
    index.close()
    assert str(folder / "generations") not in maps()
    assert not [path for path in handles() if str(folder) in path]
    for retriever in retrievers:
        with pytest.raises(ClosedError):
            retriever.searches([["ferry 3"]])[0](3, None)


def test_what_was_taken_of_an_index_is_read_after_it_was_closed(folder: Path) -> None:
    index = Index(folder)
    vectors, passages, blocks = index.vectors, index.passages, index.doc_ids()
    first = next(blocks)
    index.close()
    assert np.array_equal(vectors, [word_vector(text) for text in passages.contents(ROWS)])
    assert [first, *blocks] == passages.column("doc_id", ROWS)


def test_threads_that_read_while_it_is_closed_get_the_whole_or_the_error(folder: Path) -> None:
    index = Index(folder)
    expected = everything(Index(folder))
    began = [Event() for _ in range(THREADS)]

    def work(number: int) -> int:
        if number == 0:
            for event in began[1:]:
                assert event.wait(PATIENCE_S)
            index.close()
            return 0
        count = 0
        while True:
            try:
                assert everything(index) == expected
            except ClosedError:
                return count
            finally:
                began[number].set()
            count += 1

    found = in_threads(work)
    assert all(isinstance(count, int) for count in found)
    # The first read of each finished before it was closed.
    assert all(count for count in found[1:])


def test_threads_that_open_its_parts_at_once_read_the_same(folder: Path) -> None:
    expected = everything(Index(folder))
    for _ in range(20):
        index = Index(folder)
        assert in_threads(lambda _, index=index: everything(index)) == [expected] * THREADS  # type: ignore[misc]


def test_a_newer_generation_is_told_of_and_the_older_is_read_on(
    folder: Path, tmp_path: Path, build: Builder
) -> None:
    index = Index(folder)
    before = everything(index)
    assert not index.is_outdated()
    (tmp_path / "docs" / "3.txt").write_text("file 3 tells of a train\n")
    for _ in range(2):
        build(folder)
    assert index.is_outdated()
    # Another run has removed the older files.
    assert not index.generation.exists()
    assert everything(index) == before
    newer = Index(folder)
    assert not newer.is_outdated()
    assert newer.read([3])[0].text == "file 3 tells of a train"
    assert everything(index) == before
    index.close()
    assert index.is_outdated()
    (folder / "manifest.json").unlink()
    with pytest.raises(IndexNotFoundError):
        newer.is_outdated()


def test_threads_read_pdfs_at_once_and_the_process_is_closed_between_them(tmp_path: Path) -> None:
    paths = [write_pdf(tmp_path / f"{n}.pdf", [f"page {n}"] * (n % 3 + 1)) for n in range(THREADS)]
    process = PdfProcess()

    def work(number: int) -> list[list[str | None]]:
        found = []
        for _ in range(5):
            found.append(process.read(paths[number])[1])
            if number % 4 == 0:
                process.close()
        return found

    assert in_threads(work) == [[[f"page {n}"] * (n % 3 + 1)] * 5 for n in range(THREADS)]
    process.close()
    assert process.process is None


def test_an_index_is_built_without_a_process_that_stays(tmp_path: Path, build: Builder) -> None:
    write_pdf(tmp_path / "docs" / "a.pdf", ["the ferry sails"])
    build(tmp_path / "i", tmp_path / "docs")
    assert pdf._process.process is None
    assert one(tmp_path / "docs" / "a.pdf").text == "the ferry sails"
    begun = pdf._process.process
    assert begun is not None
    close_processes()
    assert begun.poll() is not None


def test_long_fields_are_read_in_threads_and_the_limit_is_the_callers_again(
    tmp_path: Path,
) -> None:
    usual = csv.field_size_limit(1000)
    try:
        texts = [str(number) * 5000 for number in range(10)]
        for number, text in enumerate(texts):
            write(tmp_path / f"{number}.csv", f"id,text\n1,{text}\n2,{text}\n")

        def work(number: int) -> bool:
            path = tmp_path / f"{number % 10}.csv"
            return all(
                [document.text for document in read(path)[0]] == [texts[number % 10]] * 2
                for _ in range(20)
            )

        assert csv.field_size_limit() == 1000
        assert in_threads(work) == [True] * THREADS
        assert csv.field_size_limit() == 1000
    finally:
        csv.field_size_limit(usual)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="permissions are those of Unix")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_new_file_gets_what_the_umask_leaves_which_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        monkeypatch.setattr(os, "umask", None)
        assert mode_for(tmp_path / "new") == mode
        assert list(tmp_path.iterdir()) == []
    finally:
        monkeypatch.undo()
        os.umask(before)
