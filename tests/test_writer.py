"""A generation becomes current completely or not at all, and readers keep the one they opened."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import faiss
import numpy as np
import pytest

from ettin_cli.errors import IndexDamagedError, IndexNotFoundError
from ettin_cli.index import salvage as remains, writer as module
from ettin_cli.index.contents import bytes_a_vector
from ettin_cli.index.manifest import MANIFEST, FileRecord, Manifest, read_manifest, write_manifest
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import IntactParts, damaged_files
from ettin_cli.index.source_files import FileEntry
from ettin_cli.index.vectors import inner_products
from ettin_cli.index.writer import BuildRecipe, Generation, remove_leftovers
from ettin_cli.records import Advance, EmbedderCard, Passage, no_progress
from ettin_cli.storage import checksum
from tests.indexes import DIMENSION, unit_vectors, word_vector

if TYPE_CHECKING:
    from ettin_cli.records import Floats

CARD = EmbedderCard("words", None, "f" * 64, DIMENSION, 64)
RECIPE = BuildRecipe(CARD, "auto", 0, "auto")


def embed(texts: Sequence[str], advance: Advance = no_progress) -> "Floats":
    for _ in texts:
        advance(1)
    return np.array([word_vector(text) for text in texts], np.float32)


def begin(folder: Path, texts: Sequence[str], recipe: BuildRecipe, old: Index | None) -> Generation:
    generation = Generation(folder, recipe, old)
    for number, text in enumerate(texts):
        generation.passages.add(Passage(f"d{number}", text), 0)
    return generation


def commit(
    folder: Path, *texts: str, recipe: BuildRecipe = RECIPE, old: Index | None = None
) -> tuple[Manifest, list[str]]:
    """Commit a generation of these texts; return its manifest and the texts to be embedded."""
    embedded: list[str] = []

    def noting(some: Sequence[str], advance: Advance) -> "Floats":
        embedded.extend(some)
        return embed(some)

    generation = begin(folder, texts, recipe, old)
    missing = generation.missing()
    missing.embed(noting)
    missing.finish()
    entry = FileEntry(0, "a", "a", 1, 1, "x", passages=len(texts))
    return generation.commit([entry], (), len(texts)), embedded


def test_shards_are_embedded_at_once_and_written_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_ROWS", 2)
    texts = [f"text {number}" for number in range(11)]
    commit(tmp_path / "one", *texts)
    generation = begin(tmp_path / "several", texts, RECIPE, None)
    missing, done = generation.missing(), list[int]()
    together = threading.Barrier(3, timeout=60)

    def waiting(some: Sequence[str], advance: Advance) -> "Floats":
        together.wait()  # three of the six shards
        return embed(some, advance)

    missing.embed(waiting, done.append, at_once=3)
    assert sum(done) == 11
    assert np.array_equal(missing.vectors, Index(tmp_path / "one").vectors)


def texts_of(index: Index) -> list[str]:
    return [passage.text for passage in index.read(range(len(index.passages)))]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_generation_holds_its_texts_and_their_vectors(tmp_path: Path) -> None:
    manifest, _ = commit(tmp_path, "a ferry", "some bread")
    index = Index(tmp_path)
    assert texts_of(index) == ["a ferry", "some bread"]
    assert np.array_equal(index.vectors, embed(["a ferry", "some bread"]))
    assert (manifest.counts.passages, manifest.counts.documents, manifest.counts.files) == (2, 2, 1)
    assert files(tmp_path) == {
        MANIFEST,
        *(f"generations/{manifest.generation}/{name}" for name in manifest.files),
    }
    assert damaged_files(tmp_path) == []


def test_equal_texts_are_embedded_once_and_share_the_vector(tmp_path: Path) -> None:
    texts = ["b", "a", "b", "c", "a", "b"]
    _, embedded = commit(tmp_path, *texts)
    assert embedded == ["b", "a", "c"]
    assert np.array_equal(Index(tmp_path).vectors, embed(texts))


def test_progress_moves_within_a_shard(tmp_path: Path) -> None:
    moved: list[int] = []
    begin(tmp_path, ["a", "b", "a", "c"], RECIPE, None).missing().embed(embed, moved.append)
    assert moved == [1, 1, 1]


def test_an_index_of_nothing_is_an_index(tmp_path: Path) -> None:
    manifest, embedded = commit(tmp_path)
    assert (manifest.counts.passages, manifest.factory, embedded) == (0, "SQfp16", [])
    index = Index(tmp_path)
    assert index.retrieve(embed(["a"]), 5)[0][0].tolist() == []
    assert index.select([("a", "b")], ["*"]).tolist() == []
    assert commit(tmp_path, "a", old=index)[1] == ["a"]
    for factory in ("IVF4,RaBitQ", "SQ8", "PQ4x4"):
        recipe = replace(RECIPE, factory=factory)
        manifest, _ = commit(tmp_path / factory, recipe=recipe)
        assert (manifest.factory, manifest.asked) == ("SQfp16", factory)


FACTORIES = ["auto", "Flat", "SQ8", "HNSW4", "IVF4,Flat", "RaBitQ"]
TEXTS = [f"word{number} ferry" for number in range(60)]


def unrounded(texts: Sequence[str], advance: Advance = no_progress) -> "Floats":
    """Embed with vectors that half precision cannot represent."""
    rows = [unit_vectors(1, DIMENSION, seed=crc32(text.encode()))[0] for text in texts]
    return np.array(rows, np.float32).reshape(-1, DIMENSION)


def made(folder: Path, texts: Sequence[str], factory: str, old: Index | None = None) -> Index:
    """Commit a generation of texts with vectors that are not in half precision."""
    generation = begin(folder, texts, replace(RECIPE, factory=factory), old)
    missing = generation.missing()
    missing.embed(unrounded)
    missing.finish()
    generation.commit([FileEntry(0, "a", "a", 1, 1, "x", passages=len(texts))], (), len(texts))
    return Index(folder)


@pytest.mark.parametrize("factory", FACTORIES)
def test_vectors_are_rounded_to_half_precision_whatever_the_factory(
    tmp_path: Path, factory: str
) -> None:
    index = made(tmp_path, TEXTS, factory)
    rounded = unrounded(TEXTS).astype(np.float16)
    assert np.array_equal(index.vectors, rounded)
    stored = sum(len(path.read_bytes()) for path in index.generation.glob("[ve]*.f*"))
    assert bytes_a_vector(index.parts) == round(stored / len(TEXTS))
    query = unrounded(["ferry"])
    rows, scores = index.retrieve(query, 60)[0]
    assert scores == pytest.approx(rounded[rows].astype(np.float64) @ query[0], abs=1e-6)


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("before", ["auto", "Flat", "SQ8", "format 1", "format 1, exact"])
def test_a_vector_is_the_same_whichever_index_it_is_taken_over_from(
    tmp_path: Path, before: str, factory: str
) -> None:
    if before.startswith("format 1"):
        old = of_format_1(tmp_path / "i", TEXTS[:50], "Flat" if "exact" in before else "HNSW4")
    else:
        old = made(tmp_path / "i", TEXTS[:50], before)
    updated, calm = made(tmp_path / "i", TEXTS, factory, old), made(tmp_path / "c", TEXTS, factory)
    for name in calm.manifest.files:
        ours, theirs = updated.generation / name, calm.generation / name
        assert ours.read_bytes() == theirs.read_bytes()
    assert updated.manifest.search == calm.manifest.search


def of_format_1(folder: Path, texts: Sequence[str], factory: str) -> Index:
    """Write an index as it was when vectors were stored in single precision."""
    index = made(folder, texts, factory)
    vectors = unrounded(texts)
    manifest = read_manifest(folder)
    files = {**manifest.files}
    if factory == "Flat":
        name = "vectors.faiss"
        flat = faiss.IndexFlatIP(DIMENSION)
        flat.add(vectors)
        faiss.write_index(flat, str(index.generation / name))
    else:
        name = "embeddings.f32"
        (index.generation / name).write_bytes(vectors.tobytes())
        (index.generation / "embeddings.f16").unlink()
        del files["embeddings.f16"]
    path = index.generation / name
    files[name] = FileRecord(path.stat().st_size, checksum(path))
    write_manifest(folder, replace(manifest, files=files, format=1))
    return Index(folder)


@pytest.mark.parametrize("factory", ["Flat", "HNSW4"])
def test_an_index_of_format_1_is_searched_by_the_vectors_that_it_has(
    tmp_path: Path, factory: str
) -> None:
    index = of_format_1(tmp_path, TEXTS, factory)
    vectors, query = unrounded(TEXTS), unrounded(["ferry"])
    assert index.manifest.format == 1
    assert damaged_files(tmp_path) == []
    assert np.array_equal(index.vectors, vectors)
    rows, scores = index.retrieve(query, 5)[0]
    assert np.array_equal(scores, inner_products(vectors[rows], query[0]))
    assert rows[0] == np.argmax(vectors @ query[0])
    narrowed, _ = index.retrieve(query, 5, np.arange(60))[0]
    assert narrowed.tolist() == rows.tolist()
    kept = IntactParts(tmp_path).vectors
    assert kept is not None
    assert np.array_equal(kept, vectors)


@pytest.mark.parametrize("factory", ["auto", "HNSW4"])
def test_known_vectors_are_taken_from_the_generation_before(tmp_path: Path, factory: str) -> None:
    recipe = replace(RECIPE, factory=factory)
    commit(tmp_path, "a", "b", "c", recipe=recipe)
    _, embedded = commit(tmp_path, "d", "c", "c", "a", recipe=recipe, old=Index(tmp_path))
    assert embedded == ["d"]
    assert np.allclose(Index(tmp_path).vectors, embed(["d", "c", "c", "a"]))
    kept = {Path(name).name for name in files(tmp_path)}
    assert ("embeddings.f16" in kept) == (factory != "auto")


def test_an_abandoned_generation_leaves_only_the_vectors_it_computed(tmp_path: Path) -> None:
    commit(tmp_path, "a")
    before = files(tmp_path)
    generation = begin(tmp_path, ["a", "b"], RECIPE, Index(tmp_path))
    generation.missing().embed(embed)
    generation.abandon()
    left = files(tmp_path) - before
    assert [name.split("/")[0] for name in left] == ["work"]
    assert texts_of(Index(tmp_path)) == ["a"]
    assert commit(tmp_path, "a", "b", old=Index(tmp_path))[1] == []
    assert not (tmp_path / "work" / "any").exists()
    assert [name for name in files(tmp_path) if name.startswith("work")] == []


@pytest.mark.parametrize(
    "other",
    [
        {"weights": "e" * 64},
        {"max_tokens": 32},
        {"document_prompt": "passage: "},
        {"dimension": DIMENSION * 2},
    ],
)
def test_vectors_made_in_another_way_are_not_mixed_in(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    generation = begin(tmp_path, ["a"], RECIPE, None)
    generation.missing().embed(embed)
    generation.abandon()
    wider = replace(RECIPE, embedder=replace(CARD, **other))
    assert begin(tmp_path, ["a"], wider, None).missing().total == 1
    named = replace(RECIPE, embedder=replace(CARD, name="other", query_prompt="query: "))
    assert begin(tmp_path, ["a"], named, None).missing().total == 0


def test_generations_are_counted_up(tmp_path: Path) -> None:
    names = []
    for text in "abc":
        names.append(commit(tmp_path, text)[0].generation)
    assert [name.split("-")[0] for name in names] == ["000001", "000002", "000003"]
    assert [path.name for path in (tmp_path / "generations").iterdir()] == [names[-1]]


def test_leftovers_go_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    manifest, _ = commit(tmp_path, "a")
    (tmp_path / "generations" / "000009-0123abcd").mkdir()
    (tmp_path / "generations" / "my notes").mkdir()
    (tmp_path / ".manifest.json.k3j4.tmp").touch()
    remove_leftovers(tmp_path)
    left = {path.name for path in (tmp_path / "generations").iterdir()}
    assert left == {manifest.generation, "my notes"}
    assert not list(tmp_path.glob(".manifest*"))


def test_nothing_is_removed_where_the_manifest_cannot_be_read(tmp_path: Path) -> None:
    manifest, _ = commit(tmp_path, "a")
    (tmp_path / MANIFEST).write_text('{"format": 99}')
    remove_leftovers(tmp_path)
    assert (tmp_path / "generations" / manifest.generation).is_dir()
    generation = begin(tmp_path, ["b"], RECIPE, None)
    assert (tmp_path / "generations" / manifest.generation).is_dir()
    generation.abandon()


def test_without_a_manifest_generations_are_leftovers(tmp_path: Path) -> None:
    begin(tmp_path, ["a"], RECIPE, None)
    assert len(list((tmp_path / "generations").iterdir())) == 1
    remove_leftovers(tmp_path)
    assert list((tmp_path / "generations").iterdir()) == []
    with pytest.raises(IndexNotFoundError):
        Index(tmp_path)


STEPS = ["write_files", "build", "sync_file", "checksum", "sync_folder", "write_manifest"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_commit_that_fails_at_any_step_leaves_the_old_generation_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    commit(tmp_path, "a")
    before = (tmp_path / MANIFEST).read_bytes()

    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, step, failing)
    with pytest.raises(type(error)):
        commit(tmp_path, "a", "b", old=Index(tmp_path))
    monkeypatch.undo()
    assert (tmp_path / MANIFEST).read_bytes() == before
    assert damaged_files(tmp_path) == []
    assert commit(tmp_path, "a", "b", old=Index(tmp_path))[1] == []
    assert texts_of(Index(tmp_path)) == ["a", "b"]


def test_a_full_disk_is_noticed_before_vectors_are_mapped(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    generation = begin(tmp_path, ["a"], RECIPE, None)
    (generation.path / "embeddings.f16").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        generation.missing()


# Readers beside a writer


def test_a_reader_keeps_its_generation_while_others_come_and_go(tmp_path: Path) -> None:
    commit(tmp_path, "a ferry", "some bread")
    reader = Index(tmp_path)
    for text in ("a boat", "a train"):
        commit(tmp_path, text, old=Index(tmp_path))
    assert not reader.generation.exists()
    assert texts_of(reader) == ["a ferry", "some bread"]
    assert reader.retrieve(embed(["bread"]), 1)[0][0].tolist() == [1]
    assert [entry.passages for entry in reader.files] == [2]
    assert texts_of(Index(tmp_path)) == ["a train"]
    assert damaged_files(tmp_path) == []


def test_an_index_is_opened_whole_while_it_is_being_replaced(tmp_path: Path) -> None:
    commit(tmp_path, *["0"])
    failed: list[BaseException] = []
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(1, 25):
                commit(tmp_path, *[str(number)] * (number + 1), old=Index(tmp_path))
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    while not done.is_set():
        texts = texts_of(Index(tmp_path))
        assert texts == [texts[0]] * (int(texts[0]) + 1)
        seen.add(texts[0])
    thread.join()
    assert failed == []
    assert len(seen) > 1


def test_an_index_is_whole_though_it_is_replaced_while_it_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(tmp_path, "a ferry")
    numbers: list[int] = []

    def late(path: Path) -> str:
        if len(numbers) < 3:
            numbers.append(len(numbers))
            commit(tmp_path, f"number {len(numbers)}", old=Index(tmp_path))
        return checksum(path)

    monkeypatch.setattr(remains, "checksum", late)
    assert damaged_files(tmp_path) == []
    assert numbers == [0, 1, 2]


def test_a_generation_whose_file_is_gone_is_damaged_and_not_waited_for(tmp_path: Path) -> None:
    commit(tmp_path, "a")
    for name in Index(tmp_path).manifest.files:
        path = Index(tmp_path).generation / name
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(IndexDamagedError, match=f"{name} is missing"):
            Index(tmp_path)
        path.write_bytes(content + b"x")
        with pytest.raises(IndexDamagedError, match=f"{name} has {len(content) + 1} bytes instead"):
            Index(tmp_path)
        path.write_bytes(content)
