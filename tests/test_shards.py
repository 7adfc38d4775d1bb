"""An index in shards answers as the same passages in one index, to the last bit."""

import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ettin_cli.errors import IndexDamagedError
from ettin_cli.index import damaged_files, reader, require_intact, threads
from ettin_cli.index.joined_passages import JoinedVectors
from ettin_cli.index.manifest import MANIFEST, Manifest, read_manifest
from ettin_cli.index.places import Places
from ettin_cli.index.reader import Index
from ettin_cli.index.source_files import FileEntry
from ettin_cli.index.writer import Generation
from ettin_cli.records import Passage, Rejection
from ettin_cli.searching import multi_vector
from ettin_cli.searching.constraints import demands_of, matching_rows
from ettin_cli.searching.multi_vector import MultiVectorRetriever, TokenNearness
from ettin_cli.searching.retrievers import (
    DenseRetriever,
    HybridRetriever,
    LexicalRetriever,
    Retriever,
)
from tests import test_multi_vector_retrieval as multi
from tests.conftest import Ettin
from tests.shards import cut
from tests.test_multi_vector_retrieval import RECIPE, WordTokens

WORDS = ["aak", "baz", "cor", "aal", "dul", "-"]
# A document: its passages, and the value of a metadata field.
Document = tuple[list[str], str]


def written(folder: Path, documents: Sequence[Document], files: int = 3) -> Index:
    """Write an index of documents in some files, and of files that have none."""
    generation = Generation(folder, RECIPE, None)
    entries: list[FileEntry] = []
    for number in range(files):
        own = documents[number * len(documents) // files : (number + 1) * len(documents) // files]
        first = generation.passages.rows
        for at, (texts, shore) in enumerate(own):
            for text in texts:
                one = Passage(f"d{number}-{at}", text, metadata={"shore": shore} if shore else {})
                generation.passages.add(one, len(entries))
        rejections = (Rejection(f"{number}.md", "broken", 1),) if own else ()
        entries.append(
            FileEntry(
                0,
                f"{number}.md",
                f"docs/{number}.md",
                size=10 + number,
                mtime_ns=1,
                digest=f"{number}",
                first=first,
                passages=generation.passages.rows - first,
                documents=len(own),
                truncated=number if own else 0,
                skipped="" if own else "empty",
                rejections=rejections,
            )
        )
    missing = generation.missing()
    missing.embed_tokens(WordTokens().embed_tokens)
    missing.finish()
    missing.write_lists()
    generation.commit(entries, (), len(documents))
    return Index(folder)


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
documents = st.lists(
    st.tuples(st.lists(texts, min_size=1, max_size=3), st.sampled_from(["west", "east", ""])),
    max_size=24,
)


@settings(max_examples=5)
@given(documents, st.sampled_from([1, 2, 7]), st.sampled_from([1, 3, 200]))
def test_shards_hold_what_the_whole_holds(
    tmp_path_factory: pytest.TempPathFactory, made: list[Document], shards: int, depth: int
) -> None:
    folder = tmp_path_factory.mktemp("i")
    whole = written(folder / "whole", made)
    parted = Index(cut(whole, folder / "parted", shards))
    assert len(parted.parts) == shards
    rows = np.random.default_rng(1).permutation(len(whole.passages))
    assert len(parted.passages) == len(rows)
    assert parted.read(rows) == whole.read(rows)
    assert list(parted.doc_ids()) == list(whole.doc_ids())
    assert parted.passages.contents(rows) == whole.passages.contents(rows)
    assert parted.passages.term_texts(rows) == whole.passages.term_texts(rows)
    assert parted.passages.column("file", rows) == whole.passages.column("file", rows)
    assert np.array_equal(parted.vectors, whole.vectors)
    assert np.array_equal(parted.vectors[rows], whole.vectors[rows])
    assert list(parted.files) == list(whole.files)
    assert [parted.files[number] for number in range(3)] == list(whole.files)
    assert len(parted.files) == len(whole.files)
    assert [parted.file_of(row) for row in rows] == [whole.file_of(row) for row in rows]
    for filters, paths in [([], ["1.md"]), ([("shore", "west")], []), ([("shore", "x")], ["*"])]:
        assert np.array_equal(parted.select(filters, paths), whole.select(filters, paths))
    for ours, theirs in zip(retrievers(parted), retrievers(whole), strict=True):
        for forms in (["aak cor"], ["aal", "baz dul", "baz"], ["-"]):
            for among in (None, np.sort(rows[: len(rows) // 2])):
                answers = [
                    (found.rows.tolist(), found.scores.tobytes(), found.by_retriever)
                    for one in (ours, theirs)
                    for found in [one.searches([forms])[0](depth, among)]
                ]
                assert answers[0] == answers[1]
            assert ours.score_texts(forms, ["aak baz", "cor"]) == theirs.score_texts(
                forms, ["aak baz", "cor"]
            )
    for query in ('aak -"baz cor"', '"aak baz"', "cor shore:west", "dul -shore:east", "-aal cor"):
        assert demands_of(query, parted) == demands_of(query, whole)
        demands = demands_of(query, whole)
        assert np.array_equal(matching_rows(parted, demands), matching_rows(whole, demands))
    counts = zip(*(i.lexicon.counts_in(WORDS, rows) for i in (parted, whole)), strict=True)
    assert all(np.array_equal(one, other) for one, other in counts)
    assert len(parted.lexicon) == len(whole.lexicon)


def retrievers(index: Index) -> list[Retriever]:
    embedder = WordTokens()
    return [
        *(LexicalRetriever(index, expand=expand) for expand in (False, True)),
        *(DenseRetriever(index, embedder, expand=expand) for expand in (False, True)),
        *(HybridRetriever(index, embedder, expand=expand) for expand in (False, True)),
        HybridRetriever(index, embedder, near=TokenNearness(index, embedder)),
        MultiVectorRetriever(index, embedder),
    ]


DOCUMENTS: list[Document] = [
    ([f"aak {word} {number}", f"cor {word}"], "west" if number % 2 else "")
    for number in range(9)
    for word in WORDS[:2]
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return written(tmp_path_factory.mktemp("w") / "whole", DOCUMENTS)


@pytest.fixture
def parted(whole: Index, tmp_path: Path) -> Path:
    # Beside the whole, so that its files have the same paths.
    return cut(whole, whole.folder.parent / tmp_path.name, 3)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "shards").rglob("*") if path.is_file())


def test_a_file_in_several_shards_is_one_file(whole: Index, tmp_path: Path) -> None:
    index = Index(cut(whole, tmp_path / "parted", 4, at=[2, 2, 5]))
    assert [len(part.files) for part in index._contents.parts] == [1, 0, 1, 3]
    assert list(index.files) == list(whole.files)
    assert index.files[0] == whole.files[0]
    assert {index.file_of(row).name for row in range(12)} == {"0.md"}


def test_paths_are_relative_to_the_folder_of_the_whole(parted: Path) -> None:
    [shard, *_] = read_manifest(parted).shards
    paths = [Index(folder).read([0])[0].path for folder in (parted, parted / "shards" / shard.name)]
    assert paths == [str(parted.resolve().parent / "docs" / "0.md")] * 2


def test_every_damaged_file_is_found(parted: Path) -> None:
    assert damaged_files(parted) == []
    for path in files_of(parted):
        content = path.read_bytes()
        if not content:
            continue
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert damaged_files(parted) == [str(path)]
        with pytest.raises(IndexDamagedError, match="damaged") as found:
            require_intact(parted)
        assert found.value.fields == {"folder": parted, "path": path}
        path.write_bytes(content)


def test_a_file_that_is_missing_is_named(parted: Path) -> None:
    for path in files_of(parted):
        moved = path.rename(parted / "away")
        with pytest.raises(IndexDamagedError) as found:
            Index(parted)
        assert str(found.value) == f"{path} is missing"
        assert found.value.fields == {"folder": parted, "path": path}
        assert damaged_files(parted) == [str(path)]
        moved.rename(path)
    Index(parted)


def test_another_manifest_in_the_place_of_a_shard_is_damage(
    whole: Index, parted: Path, tmp_path: Path
) -> None:
    other = cut(whole, tmp_path / "other", 3)
    path = parted / "shards" / read_manifest(parted).shards[1].name / MANIFEST
    written = other / "shards" / read_manifest(other).shards[1].name / MANIFEST
    path.write_bytes(written.read_bytes())
    with pytest.raises(IndexDamagedError, match="is not the one that the index names") as found:
        Index(parted)
    assert found.value.fields == {"folder": parted, "path": path}
    assert damaged_files(parted) == [str(path)]


def test_an_open_index_outlives_its_shards(whole: Index, parted: Path) -> None:
    index = Index(parted)
    shutil.rmtree(parted / "shards")
    rows = range(len(whole.passages))
    assert index.read(rows) == whole.read(rows)
    assert np.array_equal(index.vectors, whole.vectors)
    assert list(index.files) == list(whole.files)
    for ours, theirs in zip(retrievers(index), retrievers(whole), strict=True):
        [one], [other] = ours.searches([["aak"]]), theirs.searches([["aak"]])
        assert one(9, None).rows.tolist() == other(9, None).rows.tolist()


def test_an_index_that_is_replaced_while_it_is_opened_is_opened_again(
    whole: Index, parted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = cut(whole, tmp_path / "newer", 2)

    def replaced(folder: Path) -> Manifest:
        manifest = read_manifest(folder)
        shutil.rmtree(parted)
        newer.rename(parted)
        monkeypatch.setattr(reader, "read_manifest", read_manifest)
        return manifest

    before = Index(parted)
    monkeypatch.setattr(reader, "read_manifest", replaced)
    index = Index(parted)
    assert len(index.parts) == 2
    assert index.read([5]) == whole.read([5])
    assert before.is_outdated()
    assert not index.is_outdated()


@pytest.mark.parametrize("factory", ["SQ8", "RaBitQfs", "IVF2,Flat", "IVF2,SQ8"])
def test_compressed_shards_with_one_quantizer_answer_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str
) -> None:
    texts = [f"{word} {number % 9}" for number in range(40) for word in WORDS[:5]]
    monkeypatch.setattr(multi, "RECIPE", replace(RECIPE, factory=factory))
    whole = multi.made(tmp_path / "whole", texts)
    assert whole.manifest.factory == factory
    parted = Index(cut(whole, tmp_path / "parted", 3))
    for query in ("aak 3", "baz", "dul 1 4"):
        for depth in (1, 20, 150):
            [one], [other] = (
                DenseRetriever(index, WordTokens()).searches([[query]]) for index in (whole, parted)
            )
            assert one(depth, None).rows.tolist() == other(depth, None).rows.tolist()
            assert one(depth, None).scores.tobytes() == other(depth, None).scores.tobytes()


def test_lists_of_shards_lead_to_the_same_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LEAST_SCORED": 9, "SCORED_A_WANTED": 2, "SCORED_A_ROOT": 3}.items():
        monkeypatch.setattr(multi_vector, name, value)
    texts = multi.drawn(300)
    # Texts that are in several shards.
    texts += texts[:100]
    whole = multi.made(tmp_path / "whole", texts)
    parted = Index(cut(whole, tmp_path / "parted", 3))
    assert parted.tokens is not None and len(parted.tokens.distinct) == 300
    chosen = np.arange(0, 400, 3)
    for query in multi.drawn(6, seed=9, words=6):
        for among in (None, chosen):
            near = [TokenNearness(index, WordTokens()) for index in (whole, parted)]
            found = [one.best(one.asked([[query]])[0], 20, among) for one in near]
            assert found[0][0].tolist() == found[1][0].tolist()
            assert found[0][1].tobytes() == found[1][1].tobytes()


def test_vectors_of_shards_are_indexed_as_an_array_is() -> None:
    array = np.arange(14, dtype=np.float16).reshape(7, 2)
    joined = JoinedVectors([array[:3], array[3:3], array[3:]])
    keys: list[Any] = [
        0,
        -1,
        np.int64(2),
        np.uint8(6),
        np.int64(-7),
        [],
        [-1, 0, 3],
        [[1, -2], [3, 4]],
    ]
    keys += [slice(None), slice(5, 1, -2), slice(-3, None), np.arange(7) % 2 == 0, [False] * 7]
    keys += [np.array([6, 6, -7], np.int32), np.empty(0, np.int64), np.array(3)]
    for key in keys:
        found = joined[key]
        assert found.dtype == array.dtype
        assert found.shape == array[key].shape
        assert found.tolist() == array[key].tolist()
    wrong: list[Any] = [7, -8, [0, 7], [-8], np.array([True] * 6), [0.5], None, ..., "a", (1, 1)]
    for key in wrong:
        with pytest.raises(IndexError):
            joined[key]


def test_rows_beyond_the_last_are_refused() -> None:
    with pytest.raises(IndexError):
        list(Places([2, 0, 1]).split([3]))


def test_every_command_answers_from_shards_as_from_the_whole(
    ettin: Ettin, library: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(library, tmp_path / "library")
    ettin.monkeypatch.chdir(place)
    cut(Index(place / ".ettin"), place / "parted", 3)
    query = ["ferry", "--retriever"]
    for words in (
        [*query, "dense", "-r", "embedded", "--by", "passage"],
        [*query, "hybrid", "-r", "none", "--expand", "--fold", "near"],
        [*query, "bm25", "-r", "none", "--filter", "open=true"],
        [*query, "hybrid", "-r", "embedded", "--path", "*.md", "--path", "boats*"],
        ['"ferry" -rowing tags:b', "--retriever", "bm25", "-r", "none"],
    ):
        answers = []
        for index in (".ettin", "parted"):
            ran = ettin("search", *words, "-i", index, "-f", "json")
            assert ran.code == 0, ran.err
            answers.append(re.sub(r'"seconds":[^}]*}|"[a-z_]*seconds":[^,}]*', "", ran.out))
        assert "Tern" in answers[0] or "ferry" in answers[0]
        assert answers[0] == answers[1]
    said = ettin("info", "-i", "parted").out
    assert re.search(r"shards +3, of \d+ to \d+ passages\n", said)
    whole = ettin("info", "-i", ".ettin").out
    for row in ("documents", "passages", "terms", "changes"):
        [line] = re.findall(rf"(?m)^{row} .*", whole)
        assert line in said
    assert ettin("verify", "-i", "parted").out == "parted is intact: 36 files\n"


def test_answers_are_the_same_in_threads(
    whole: Index, parted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "LEAST_ROWS", 0)
    monkeypatch.setattr(threads, "cpu_threads", lambda _: 3)
    started: list[int] = []

    def pool(size: int, initializer: Callable[[], None]) -> ThreadPoolExecutor:
        started.append(size)
        return ThreadPoolExecutor(size, initializer=initializer)

    monkeypatch.setattr(threads, "ThreadPoolExecutor", pool)
    for ours, theirs in zip(retrievers(Index(parted)), retrievers(whole), strict=True):
        for forms in (["aak 3"], ["cor", "baz 1"]):
            [one], [other] = ours.searches([forms]), theirs.searches([forms])
            assert one(9, None).rows.tolist() == other(9, None).rows.tolist()
            assert one(9, None).scores.tobytes() == other(9, None).scores.tobytes()
    assert set(started) == {3}
