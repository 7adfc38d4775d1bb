"""A damaged index in shards is repaired: only what is lost is read and embedded again."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.corpus import document_stream
from ettin_cli.errors import EttinError, IndexDamagedError
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import damaged_files
from ettin_cli.indexing.repairing import RepairReport, repair_index
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.records import Silence
from tests.conftest import Ettin
from tests.indexes import Builder, doc_ids, ferry_files, jsonl
from tests.sharded import assert_same, files_of, litter, shards


def repair(folder: Path) -> RepairReport:
    return repair_index(BuildRequest(folder, offline=True), Silence())


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    docs = ferry_files(tmp_path / "docs")
    # In two shards.
    jsonl(docs / "1a.jsonl", d0="text 0", d1="text 1", d2="text 2")
    return docs


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])


@pytest.mark.parametrize(("factory", "how"), [("auto", "damaged"), ("SQ8", "missing")])
def test_any_damaged_file_is_named_and_repaired(
    tmp_path: Path, docs: Path, build: Builder, factory: str, how: str
) -> None:
    folder = tmp_path / "i"
    build(folder, docs, shards="3", factory=factory)
    build(tmp_path / "whole", docs, factory=factory)
    shutil.copytree(folder, tmp_path / "start")
    second = folder / "shards" / shards(folder)[1]
    # Shards are alike, so all files of one are tried, and those of the index itself.
    quantizers = list(folder.glob("generations/*/*"))
    assert [path.name for path in quantizers] == ["quantizer.faiss"] * (factory == "SQ8")
    for path in [*quantizers, *files_of(second)]:
        if not path.stat().st_size:
            continue
        damage(path, how)
        assert damaged_files(folder) == [str(path)]
        old = shards(folder)
        report = repair(folder)
        assert report.damaged == [str(path)]
        assert not report.lost
        assert report.built is not None
        vectors = "embeddings.f16" if factory == "SQ8" else "vectors.faiss"
        lost = path.name in (vectors, "passages.arrow", "manifest.json")
        assert report.built.embedded == (4 if lost else 0)
        # Files are read again only where the passages or their files are not known.
        read = path.name in ("passages.arrow", "files.arrow", "manifest.json")
        assert bool(report.built.plan.files) == read
        if not read and path not in quantizers:
            assert [shards(folder)[at] == old[at] for at in range(3)] == [True, False, True]
        assert_same(folder, tmp_path / "whole")
        assert repair(folder).built is None
        assert not build(folder).written
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "start", folder)


@pytest.mark.parametrize("lost", [[0], [1], [1, 2], [0, 1, 2]])
def test_shards_that_are_missing_are_read_and_embedded_again(
    tmp_path: Path, docs: Path, build: Builder, lost: list[int]
) -> None:
    folder = tmp_path / "i"
    build(folder, docs, shards="3")
    build(tmp_path / "whole", docs)
    places = [folder / "shards" / shards(folder)[at] for at in lost]
    numbers = sum(len(Index(place).passages) for place in places)
    for place in places:
        shutil.rmtree(place)
    assert damaged_files(folder) == [str(place / "manifest.json") for place in places]
    report = repair(folder)
    assert report.built is not None
    assert (report.built.embedded, list(report.lost)) == (numbers, [])
    assert_same(folder, tmp_path / "whole")


def test_shards_are_repaired_without_sources_as_far_as_they_can_be(
    ettin: Ettin, tmp_path: Path, docs: Path, build: Builder
) -> None:
    folder = tmp_path / "i"
    build(folder, docs, shards="3")
    build(tmp_path / "whole", docs)
    docs.rename(tmp_path / "away")
    [vectors] = (folder / "shards" / shards(folder)[1]).glob("generations/*/vectors.faiss")
    damage(vectors, "damaged")
    ran = ettin("verify", "-i", "i")
    assert ran.code == 1
    assert str(vectors.relative_to(tmp_path)) in ran.out + ran.err
    assert ettin("verify", "-i", "i", "--repair").code == 0
    assert_same(folder, tmp_path / "whole")
    place = folder / "shards" / shards(folder)[1]
    shutil.rmtree(place)
    refused = ettin("verify", "-i", "i", "--repair")
    assert refused.code == 1
    assert "no longer exists" in refused.err
    assert damaged_files(folder) == [str(place / "manifest.json")]


def test_records_from_standard_input_are_kept_but_for_those_of_a_lost_shard(
    tmp_path: Path, build: Builder
) -> None:
    records = [{"_id": f"s{number}", "text": f"text {number}"} for number in range(9)]
    table = jsonl(tmp_path / "t.jsonl", a="text a", b="text b", c="text c")
    folder = tmp_path / "i"
    build(folder, document_stream(records), table, shards="4")
    shutil.rmtree(folder / "shards" / shards(folder)[1])
    report = repair(folder)
    assert list(report.lost) == ["-"]
    assert doc_ids(folder) == ["s0", "s1", "s2", "s6", "s7", "s8", "a", "b", "c"]
    assert damaged_files(folder) == litter(folder) == []
    assert [entry.passages for entry in Index(folder).files] == [6, 3]
    assert build(folder, table).written is False


@pytest.mark.parametrize("what", ["vectors.faiss", "quantizer.faiss"])
def test_an_update_does_not_hide_damage(
    tmp_path: Path, docs: Path, build: Builder, what: str
) -> None:
    folder = tmp_path / "i"
    build(folder, docs, shards="3", factory="SQ8")
    place = folder / "shards" / shards(folder)[1] if what == "vectors.faiss" else folder
    [path] = place.glob(f"generations/*/{what}")
    damage(path, "damaged")
    (docs / "2.txt").write_text("another text\n")
    with pytest.raises(IndexDamagedError) as found:
        build(folder)
    assert found.value.problem == f"{path} is damaged"
    assert hint_of(found.value) == f"ettin verify -i {folder} --repair"
    assert build.embedded == []
    assert damaged_files(folder) == [str(path)]


def test_a_damaged_manifest_is_one_line(
    ettin: Ettin, tmp_path: Path, docs: Path, build: Builder
) -> None:
    folder = tmp_path / "i"
    build(folder, docs, shards="3")
    damage(folder / "manifest.json", "damaged")
    for command in (["verify"], ["verify", "--repair"], ["index"], ["info"]):
        ran = ettin(*command, "-i", "i")
        assert ran.code == 1
        assert ran.err.startswith("ettin: error: i/manifest.json is damaged\n")
    words = ["index", "docs", "-i", "i", "--embedder", str(build.model), "--rebuild"]
    assert ettin(*words, "--shards", "3").code == 0
    build(tmp_path / "whole", docs)
    assert_same(folder, tmp_path / "whole")


def test_a_damaged_leftover_of_an_interrupted_run_is_not_used(
    tmp_path: Path, docs: Path, build: Builder
) -> None:
    build(tmp_path / "other", docs, shards="3")
    folder = tmp_path / "i"
    shutil.copytree(tmp_path / "other" / "shards", folder / "shards")
    first, second, third = sorted((folder / "shards").iterdir())
    for path in files_of(first):
        if path.name == "vectors.faiss":
            damage(path, "damaged")
    damage(second / "manifest.json", "damaged")
    lost = 10 - len(Index(third).passages)
    assert build(folder, docs, shards="3").embedded == lost
    build(tmp_path / "whole", docs)
    assert_same(folder, tmp_path / "whole")


def test_documents_that_only_a_lost_list_of_files_knew_are_named(
    tmp_path: Path, build: Builder
) -> None:
    docs = ferry_files(tmp_path / "docs")
    build(tmp_path / "i", docs, shards="2")
    [listed] = (tmp_path / "i" / "shards" / shards(tmp_path / "i")[1]).rglob("files.arrow")
    damage(listed, "damaged")
    (docs / "6.txt").unlink()
    assert repair(tmp_path / "i").lost == ["6.txt"]


def test_a_shard_that_the_system_does_not_read_is_kept(tmp_path: Path, build: Builder) -> None:
    folder = tmp_path / "i"
    records = [{"_id": f"s{n}", "text": f"text {n}"} for n in range(9)]
    build(folder, document_stream(records), shards="3")
    before = {path: path.read_bytes() for path in files_of(folder) if path.name != "lock"}
    path = folder / "shards" / shards(folder)[1] / "manifest.json"
    kept = path.rename(tmp_path / "kept")
    path.symlink_to(path)  # Whoever opens it follows the link for ever.
    for act in (damaged_files, repair, Index):
        with pytest.raises(EttinError) as caught:
            act(folder)
        assert str(caught.value) == f"cannot read {path}: {os.strerror(errno.ELOOP)}"
        assert caught.value.code == "cannot-read"
    path.unlink()
    kept.rename(path)
    assert {one: one.read_bytes() for one in before} == before
    assert len(doc_ids(folder)) == 9
