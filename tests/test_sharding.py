"""An index that is built and updated in shards is the index that is built without them."""

import json
import os
import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ettin_cli.corpus import document_stream
from ettin_cli.errors import EttinError, IndexMismatchError, InvalidArgumentError
from ettin_cli.index import factories
from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.passages import Passages, PassageWriter
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import damaged_files
from ettin_cli.index.shards import Shared
from ettin_cli.index.writer import BuildRecipe
from ettin_cli.indexing import building, requests, sharding
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.records import Passage
from ettin_cli.searching.retrievers import DenseRetriever
from ettin_cli.settings import READING
from ettin_cli.text.chunking import Chunking
from ettin_cli.text.lexical import Terms
from tests.conftest import Ettin
from tests.indexes import Builder, WordEmbedder, assert_equal, ferry_files, jsonl
from tests.sharded import answers, assert_same, files_of, litter, shards, sizes

# Many more were tried once.
SEEDS = int(os.environ.get("SEEDS", 1))


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return ferry_files(tmp_path / "docs")


def change(place: Path, chooser: random.Random) -> None:
    """Change a file of a folder, as people do: write, edit or remove it."""
    name = f"{chooser.choice('abcdef')}.{chooser.choice(['txt', 'jsonl', 'jsonl'])}"
    file = place / name
    if file.exists() and chooser.random() < 0.2:
        file.unlink()
    elif name.endswith("txt"):
        file.write_text(f"text {chooser.randrange(6)} of it\n\n" * chooser.randrange(6))
    else:
        lines = file.read_text().splitlines() if file.exists() else []
        if not lines or chooser.random() < 0.2:
            ids = [*chooser.choices("xyz", k=2), *map(str, range(chooser.randrange(15)))]
            # Ids that other files have too, and records without any text.
            lines = [drawn(i if i in "xyz" else f"{name}-{i}", chooser) for i in ids]
        else:
            at = chooser.randrange(len(lines))
            begin, end = sorted(chooser.choices(range(len(lines) + 1), k=2))
            edits = {
                "remove": lines[:at] + lines[at + 1 :],
                "insert": [*lines[:at], drawn(f"n{chooser.random()}", chooser), *lines[at:]],
                "replace": [*lines[:at], drawn("z", chooser), *lines[at + 1 :]],
                "cut": lines[:begin] + lines[end:],
                "move": lines[at:] + lines[:at],
            }
            lines = edits[chooser.choice(list(edits))]
        file.write_text("".join(line + "\n" for line in lines))


def drawn(doc_id: str, chooser: random.Random) -> str:
    """Return a record with a text of some length, or a line that is none."""
    text = " ".join(f"text {chooser.randrange(6)} tells" for _ in range(chooser.randrange(5)))
    return record(doc_id, text) if chooser.random() < 0.9 else "broken"


def record(doc_id: str, text: str) -> str:
    return json.dumps({"_id": doc_id, "text": text})


# A new index


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("1", [7]), ("3", [2, 3, 2]), ("7", [1] * 7), ("20", [1] * 7), ("auto", [7])],
)
def test_a_new_index_is_divided_evenly_between_documents(
    docs: Path, tmp_path: Path, build: Builder, asked: str, expected: list[int]
) -> None:
    build(tmp_path / "i", docs, shards=asked)
    build(tmp_path / "whole", docs)
    assert sizes(tmp_path / "i") == expected
    assert_same(tmp_path / "i", tmp_path / "whole")
    # The same command updates it, whatever number there was to be had.
    assert not build(tmp_path / "i", docs, shards=asked).written
    (docs / "3.txt").write_text("another text\n")
    assert build(tmp_path / "i", docs, shards=asked).embedded == 1


def test_a_large_index_has_as_many_shards_as_it_needs(
    tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharding, "MOST_PASSAGES", 10)
    lines = [record(f"{n}", " ".join(["tells of ferry"] * (1 + n % 4))) for n in range(20)]
    lines[3:3] = ["broken", record("0", "again")]
    lines[15:15] = [record("blank", " "), record("a giant", "file of " * 60)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    options = {"chunking": Chunking(4), "settings": EngineSettings(max_length=5)}
    made = build(tmp_path / "i", tmp_path / "t.jsonl", shards="auto", **options)
    whole = build(tmp_path / "whole", tmp_path / "t.jsonl", **options)
    assert_same(tmp_path / "i", tmp_path / "whole")
    assert max(sizes(tmp_path / "i")) == 30
    assert len(shards(tmp_path / "i")) > 4
    assert made.rejections == whole.rejections
    held = [Index(tmp_path / "i" / "shards" / name) for name in shards(tmp_path / "i")]
    # Every document is in one shard, and each shard counts its own part.
    ids = [set(index.doc_ids()) for index in held]
    assert sum(map(len, ids)) == len(set().union(*ids))
    for index, own in zip(held, ids, strict=True):
        [entry] = index.files
        assert (entry.first, entry.passages) == (0, len(index.passages))
        assert entry.documents - len(own) in (0, 1)
        assert index.manifest.counts.documents == entry.documents
    truncated = [index.manifest.counts.truncated for index in held]
    assert sum(truncated) == whole.manifest.counts.truncated > 0  # type: ignore[union-attr]
    assert sum(count > 0 for count in truncated) > 1


def test_an_empty_corpus_is_one_shard(tmp_path: Path, build: Builder) -> None:
    (tmp_path / "docs").mkdir()
    build(tmp_path / "i", tmp_path / "docs", shards="3")
    build(tmp_path / "whole", tmp_path / "docs")
    assert sizes(tmp_path / "i") == [0]
    assert_same(tmp_path / "i", tmp_path / "whole")
    (tmp_path / "docs" / "0.txt").write_text("")
    (tmp_path / "docs" / "1.txt").write_text("a text")
    assert build(tmp_path / "i").embedded == 1
    build(tmp_path / "whole")
    assert_same(tmp_path / "i", tmp_path / "whole")


def test_standard_input_is_divided_and_kept(tmp_path: Path, build: Builder) -> None:
    docs = ferry_files(tmp_path / "docs")
    for name, options in (("i", {"shards": "4"}), ("whole", {})):
        stream = document_stream([{"_id": f"{n}", "text": f"text {n}"} for n in range(9)])
        build(tmp_path / name, stream, docs, **options)
        (docs / "2.txt").write_text(f"text of {name}\n")
    assert sizes(tmp_path / "i") == [4] * 4
    for name in ("i", "whole"):
        assert build(tmp_path / name).embedded == 1
    assert_same(tmp_path / "i", tmp_path / "whole")


def test_a_dry_run_writes_nothing(docs: Path, tmp_path: Path, build: Builder) -> None:
    report = build(tmp_path / "i", docs, shards="3", dry_run=True)
    assert (len(report.plan.new), report.written) == (7, False)
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize("asked", ["0", "x", "-1", "1.5", ""])
def test_what_is_not_a_number_of_shards_is_wrong_usage(
    ettin: Ettin, docs: Path, build: Builder, asked: str
) -> None:
    for more in ([], ["--dry-run"]):
        words = ["index", str(docs), "-i", "i", "--embedder", str(build.model)]
        refused = ettin(*words, "--shards", asked, *more)
        assert refused.code == 2
        assert refused.err == (
            f"ettin: error: {asked!r} is not a number of shards\n"
            "  hint: auto, none, a number above 0\n"
        )


@pytest.mark.parametrize(
    ("first", "then"), [(None, "3"), ("3", "none"), ("3", "4"), (None, "auto")]
)
def test_another_division_needs_a_rebuild(
    ettin: Ettin, docs: Path, tmp_path: Path, build: Builder, first: str | None, then: str
) -> None:
    build(tmp_path / "i", docs, shards=first)
    before = (tmp_path / "i" / "manifest.json").read_bytes()
    refused = ettin("index", "-i", "i", "--shards", then)
    assert refused.code == 1
    was = f"in {first} shards" if first else "without shards"
    assert refused.err == (
        f"ettin: error: i was built {was}\n  hint: ettin index -i i --rebuild --shards {then}\n"
    )
    assert (tmp_path / "i" / "manifest.json").read_bytes() == before
    assert ettin("index", "-i", "i", "--rebuild", "--shards", then).code == 0
    build(tmp_path / "whole", docs)
    if then == "none":
        assert not shards(tmp_path / "i")
        assert litter(tmp_path / "i") == []
        assert_equal(tmp_path / "i", tmp_path / "whole")
    else:
        assert_same(tmp_path / "i", tmp_path / "whole")


def test_a_graph_is_refused_before_anything_is_embedded(
    ettin: Ettin, docs: Path, tmp_path: Path, build: Builder
) -> None:
    words = ["index", str(docs), "-i", "i", "--embedder", str(build.model)]
    refused = ettin(*words, "--shards", "2", "--factory", "HNSW32")
    assert refused.code == 2
    assert "RaBitQfs" in refused.err
    assert build.embedded == []
    assert not (tmp_path / "i").exists()
    build(tmp_path / "i", docs, shards="2")
    with pytest.raises(InvalidArgumentError, match="RaBitQfs"):
        build(tmp_path / "i", factory="HNSW4")
    assert damaged_files(tmp_path / "i") == []


def test_what_is_not_the_indexs_own_stays(docs: Path, tmp_path: Path, build: Builder) -> None:
    precious = tmp_path / "i" / "shards" / "train-0001" / "precious.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    with pytest.raises(InvalidArgumentError, match="contains other files, such as shards/train"):
        build(tmp_path / "i", docs)
    shutil.move(tmp_path / "i", tmp_path / "aside")
    for number in ("none", "2"):
        build(tmp_path / "i", docs, shards=number, rebuild=True)
        shutil.copytree(
            tmp_path / "aside" / "shards", tmp_path / "i" / "shards", dirs_exist_ok=True
        )
        (docs / "new.txt").write_text(number)
        build(tmp_path / "i")
        assert precious.read_text() == "mine"


def test_a_shard_is_not_updated_alone(docs: Path, tmp_path: Path, build: Builder) -> None:
    build(tmp_path / "i", docs, shards="2")
    place = tmp_path / "i" / "shards" / shards(tmp_path / "i")[0]
    with pytest.raises(EttinError, match=f"is a shard of {tmp_path / 'i'}"):
        build(place)
    assert damaged_files(tmp_path / "i") == []
    # A manifest of something else above an index means nothing.
    other = tmp_path / "x" / "shards" / "i"
    build(other, docs)
    path = Index(other).read([0])[0].path
    (tmp_path / "x" / "manifest.json").write_text("{}")
    assert Index(other).read([0])[0].path == path


def test_vectors_of_an_interrupted_shard_outlast_the_shards_before_it(
    tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs, folder = tmp_path / "docs", tmp_path / "i"
    docs.mkdir()
    for number in range(30):
        (docs / f"{number:02}.txt").write_text(f"text number {number}")
    monkeypatch.setattr("ettin_cli.index.writer.SHARD_ROWS", 2)
    embed, calls = WordEmbedder.embed_documents, [0]

    def interrupted(model: WordEmbedder, texts: Any, *rest: Any) -> Any:
        calls[0] += 1
        if calls[0] == 15:
            raise KeyboardInterrupt
        return embed(model, texts, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(WordEmbedder, "embed_documents", interrupted)
        build(folder, docs, shards="3")
    (docs / "01.txt").write_text("another text")
    assert build(folder, docs, shards="3").embedded == 3


# Updates


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_run_of_changes_ends_in_the_index_that_a_first_build_makes(
    tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(sharding, "MOST_PASSAGES", 12)
    chooser = random.Random(seed)
    places = [tmp_path / name for name in ("one", "two", "three")]
    for place in places:
        place.mkdir()
        for _ in range(6):
            change(place, chooser)
    sources = places[:2]
    settings = {"chunking": Chunking(4)}
    for step in range(8):
        if step:
            for _ in range(chooser.randrange(1, 4)):
                change(chooser.choice(sources), chooser)
        if step == 4:
            build(tmp_path / "i", remove=[str(sources.pop(0))])
        if step == 6:
            sources.append(places[2])
        options = settings if step else {**settings, "shards": "3"}
        made = build(tmp_path / "i", *sources, **options)
        whole = build(tmp_path / f"whole{step}", *sources, **settings)
        assert_same(tmp_path / "i", tmp_path / f"whole{step}")
        assert [str(one) for one in made.rejections] == [str(one) for one in whole.rejections]


@pytest.fixture
def parted(docs: Path, tmp_path: Path, build: Builder) -> Path:
    """An index in three shards: of 0 and 1, of 2 to 4, of 5 and 6."""
    build(tmp_path / "i", docs, shards="3")
    return tmp_path / "i"


def stats(folder: Path) -> dict[str, list[tuple[int, int]]]:
    """Return what shows whether a file of a shard was written, by the name of the shard."""
    return {
        place.name: [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files_of(place)]
        for place in (folder / "shards").iterdir()
    }


def names(folder: Path) -> list[list[str]]:
    """Return the names of the files of each shard."""
    places = [folder / "shards" / name for name in shards(folder)]
    return [[entry.name for entry in Index(place).files] for place in places]


CHANGES: dict[str, tuple[list[int], list[list[str]]]] = {
    "change 3": ([1], [["0", "1"], ["2", "3", "4"], ["5", "6"]]),
    # The first and the last file of a shard stay where they are.
    "change 2": ([1], [["0", "1"], ["2", "3", "4"], ["5", "6"]]),
    "change 4": ([1], [["0", "1"], ["2", "3", "4"], ["5", "6"]]),
    "add 3a": ([1], [["0", "1"], ["2", "3", "3a", "4"], ["5", "6"]]),
    # A new file joins the one before it.
    "add 1a": ([0], [["0", "1", "1a"], ["2", "3", "4"], ["5", "6"]]),
    "add 00": ([0], [["0", "00", "1"], ["2", "3", "4"], ["5", "6"]]),
    "remove 5": ([2], [["0", "1"], ["2", "3", "4"], ["6"]]),
    "empty 6": ([2], [["0", "1"], ["2", "3", "4"], ["5", "6"]]),
    "remove 5 remove 6": ([2], [["0", "1"], ["2", "3", "4"]]),
    "empty 0 empty 1": ([0], [["0", "1"], ["2", "3", "4"], ["5", "6"]]),
    "touch 3 change 6": ([2], [["0", "1"], ["2", "3", "4"], ["5", "6"]]),
    "change 0 remove 6": ([0, 2], [["0", "1"], ["2", "3", "4"], ["5"]]),
}


@pytest.mark.parametrize(
    ("changes", "factory"),
    [*((changes, "auto") for changes in CHANGES), ("change 3", "SQ8"), ("add 1a", "SQ8")],
)
def test_a_change_touches_only_its_shard(
    docs: Path, tmp_path: Path, build: Builder, changes: str, factory: str
) -> None:
    folder = tmp_path / "i"
    build(folder, docs, shards="3", factory=factory)
    before, old = stats(folder), shards(folder)
    words = iter(changes.split())
    for change, name in zip(words, words, strict=True):
        file = docs / f"{name}.txt"
        if change == "remove":
            file.unlink()
        elif change == "touch":
            file.touch()
        else:
            file.write_text("" if change == "empty" else f"text {name} of it\n")
    touched, expected = CHANGES[changes]
    new = changes.count("change") + changes.count("add")
    assert build(folder).embedded == new
    assert [[name.removesuffix(".txt") for name in held] for held in names(folder)] == expected
    kept = [name for number, name in enumerate(old) if number not in touched]
    assert [name for name in shards(folder) if name in old] == kept
    after = stats(folder)
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    if factory == "auto":
        build(tmp_path / "whole", docs)
        assert_same(folder, tmp_path / "whole")
    assert litter(folder) == []


@pytest.mark.parametrize("border", ["kept", "moved", "removed", "changed"])
def test_a_changed_file_keeps_its_documents_in_their_shards(
    tmp_path: Path, build: Builder, border: str
) -> None:
    table = tmp_path / "t.jsonl"
    texts = {f"d{number}": f"text {number}" for number in range(8)}
    build(tmp_path / "i", jsonl(table, **texts), shards="2")
    if border == "kept":
        texts["d7"] = "text another"
    elif border == "moved":
        texts = {"d4": texts.pop("d4"), **texts}
    elif border == "removed":
        del texts["d4"]
    else:
        texts["d4"] = "text another"
    jsonl(table, **texts)
    assert build(tmp_path / "i").embedded == (border in ("kept", "changed"))
    # Of the documents of a shard only the first is known when its file is read again.
    assert sizes(tmp_path / "i") == {"moved": [8], "removed": [7]}.get(border, [4, 4])
    build(tmp_path / "whole", table)
    assert_same(tmp_path / "i", tmp_path / "whole")


def test_a_shard_that_outgrows_its_size_is_split(
    docs: Path, parted: Path, tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharding, "MOST_PASSAGES", 4)
    old = shards(parted)
    jsonl(docs / "3.jsonl", **{f"n{number}": f"text {number}" for number in range(6)})
    assert build(parted, docs, shards="3").embedded == 6
    assert sizes(parted) == [2, 3, 3, 3, 2]
    assert [shards(parted)[at] for at in (0, 4)] == [old[at] for at in (0, 2)]
    build(tmp_path / "whole", docs)
    assert_same(parted, tmp_path / "whole")
    # Neither the number asked for at first nor that of now is another division.
    assert not build(parted, shards="3").written
    assert not build(parted, shards="5").written
    with pytest.raises(IndexMismatchError, match="in 5 shards"):
        build(parted, shards="4")


def test_sources_are_added_and_removed(
    docs: Path, parted: Path, tmp_path: Path, build: Builder
) -> None:
    table = jsonl(tmp_path / "t.jsonl", a="text a", b="text b")
    build(parted, table)
    assert [len(held) for held in names(parted)] == [2, 3, 3]
    build(tmp_path / "whole", docs, table)
    assert_same(parted, tmp_path / "whole")
    assert build(parted, remove=[str(docs)]).embedded == 0
    build(tmp_path / "other", table)
    assert_same(parted, tmp_path / "other")
    # One that is removed and added again comes last.
    assert build(parted, docs).embedded == 7
    assert build(parted, table, remove=[str(table)]).embedded == 0
    build(tmp_path / "last", docs, table)
    assert_same(parted, tmp_path / "last")


def test_a_text_that_moves_to_another_shard_is_not_embedded_again(
    docs: Path, parted: Path, tmp_path: Path, build: Builder
) -> None:
    (docs / "below").mkdir()
    (docs / "below" / "0.txt").write_text("a new text\n")
    build(parted)
    (docs / "0.txt").replace(docs / "below" / "0.txt")
    assert build(parted).embedded == 0
    build(tmp_path / "whole", docs)
    assert_same(parted, tmp_path / "whole")


@pytest.mark.parametrize("what", ["reading", "language", "terms", "factory", "rebuild"])
def test_shards_of_another_recipe_are_made_again(
    docs: Path,
    parted: Path,
    tmp_path: Path,
    build: Builder,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    options: dict[str, Any] = {"language": {"language": "german"}, "factory": {"factory": "Flat"}}
    options["rebuild"] = {"rebuild": True}
    if what == "reading":
        monkeypatch.setattr(requests, "BuildRecipe", partial(BuildRecipe, reading=READING + 1))
        monkeypatch.setattr(building, "READING", READING + 1)
    if what == "terms":
        monkeypatch.setattr(Terms, "made_by", property(lambda _: "another version"))
    old = shards(parted)
    report = build(parted, **options.get(what, {}))
    assert report.written
    assert report.embedded == (7 if what == "rebuild" else 0)
    assert len(shards(parted)) == 3
    assert not set(old) & set(shards(parted))
    build(tmp_path / "whole", docs, **options.get(what, {}))
    assert_same(parted, tmp_path / "whole")
    assert not build(parted).written
    if what == "rebuild":
        assert build(parted, rebuild=True).embedded == 7
        assert len(shards(parted)) == 3


# Readers


def test_an_open_index_outlives_an_update_of_its_shards(
    docs: Path, parted: Path, tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "whole", docs)
    index, whole = Index(parted), Index(tmp_path / "whole")
    (docs / "3.txt").write_text("another text\n")
    (docs / "6.txt").unlink()
    build(parted)
    assert index.is_outdated()
    assert answers(index) == answers(whole)
    assert index.read(range(7)) == whole.read(range(7))
    newer = Index(parted)
    assert not newer.is_outdated()
    build(tmp_path / "whole")
    assert answers(newer) == answers(Index(tmp_path / "whole"))


def test_the_same_passages_make_the_same_file(tmp_path: Path) -> None:
    made = [Passage(f"d{n // 3}", f"text {n}", metadata={"n": n}) for n in range(2500)]
    added = PassageWriter(tmp_path / "added.arrow")
    for number, passage in enumerate(made):
        added.add(passage, number // 900)
    added.close()
    table = Passages(tmp_path / "added.arrow", len(made)).table
    copied = PassageWriter(tmp_path / "copied.arrow")
    both = PassageWriter(tmp_path / "both.arrow")
    for number, begin in enumerate(range(0, 2500, 900)):
        copied.copy(table.slice(begin, 900), number)
        for one, passage in enumerate(made[begin : begin + 900]):
            if one < 300:
                both.add(passage, number)
        both.copy(table.slice(begin + 300, 600), number)
    copied.close()
    both.close()
    expected = (tmp_path / "added.arrow").read_bytes()
    assert (tmp_path / "copied.arrow").read_bytes() == expected
    assert (tmp_path / "both.arrow").read_bytes() == expected


# Compressed vectors


def many(path: Path, count: int, seed: int = 0) -> Path:
    """Write records of drawn words."""
    chooser = random.Random(seed)
    words = [f"w{number}" for number in range(60)]
    texts = {f"d{seed}-{n}": " ".join(chooser.choices(words, k=9)) for n in range(count)}
    return jsonl(path, **texts)


@pytest.mark.parametrize("factory", ["SQ8", "PQ2x4", "IVF8,Flat", "IVF8,SQ8", "RaBitQfs"])
def test_shards_are_compressed_as_one_index_is(
    tmp_path: Path, build: Builder, factory: str
) -> None:
    table, folder = many(tmp_path / "t.jsonl", 200), tmp_path / "i"
    options = {"factory": factory, "chunking": Chunking(None)}
    build(folder, table, shards="3", **options)
    build(tmp_path / "whole", table, **options)
    assert_same(folder, tmp_path / "whole")
    quantizer = Shared.of(folder, read_manifest(folder)).quantizer
    assert quantizer is not None
    before, old = quantizer.read_bytes(), shards(folder)
    search = Index(folder).manifest.search
    # A shard is an index of its own.
    alone = Index(folder / "shards" / old[1])
    assert (alone.manifest.factory, alone.manifest.search) == (factory, search)
    [one] = DenseRetriever(alone, WordEmbedder(alone.manifest.embedder)).searches([["w1 w2"]])
    assert len(one(10, None).rows) == 10
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, record("new", "w3 w4 w5")]))
    many(tmp_path / "more.jsonl", 5, seed=1)
    assert build(folder, tmp_path / "more.jsonl").embedded == 6
    quantizer = Shared.of(folder, read_manifest(folder)).quantizer
    assert quantizer is not None
    assert quantizer.read_bytes() == before
    assert damaged_files(folder) == litter(folder) == []
    for name in shards(folder):
        manifest = read_manifest(folder / "shards" / name)
        assert (manifest.factory, manifest.asked, manifest.search) == (factory, factory, search)
    # Each passage finds itself, or one of the same text.
    index = Index(folder)
    some = np.asarray(index.vectors[::20], np.float32)
    found = [rows[0] for rows, _ in index.retrieve(some, 5)]
    assert np.array_equal(index.vectors[found], index.vectors[::20])


def test_an_index_without_passages_is_compressed_once_it_has_some(
    tmp_path: Path, build: Builder
) -> None:
    docs, folder = tmp_path / "docs", tmp_path / "i"
    docs.mkdir()
    build(folder, docs, shards="2", factory="SQ8")
    assert Index(folder).manifest.factory == "SQfp16"
    many(docs / "a.jsonl", 40)
    build(folder)
    build(tmp_path / "whole", docs, factory="SQ8")
    assert_same(folder, tmp_path / "whole")
    (docs / "a.jsonl").write_text("")
    build(folder)
    assert sizes(folder) == [0]
    many(docs / "a.jsonl", 40)
    assert build(folder).embedded == 40
    assert_same(folder, tmp_path / "whole")


def test_auto_is_settled_anew(
    tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, folder = many(tmp_path / "t.jsonl", 60), tmp_path / "i"
    build(folder, table, shards="2")
    monkeypatch.setattr(factories, "SLOW_SEARCH_S", -1.0)
    monkeypatch.setattr(factories, "_lists", lambda count: 4)
    many(tmp_path / "more.jsonl", 5, seed=1)
    build(folder, tmp_path / "more.jsonl")
    build(tmp_path / "whole", table, tmp_path / "more.jsonl")
    assert Index(folder).manifest.factory == "IVF4,Flat"
    assert_same(folder, tmp_path / "whole")
    assert not build(folder).written
