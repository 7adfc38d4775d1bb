"""Whatever interrupts it, an index ends up as an uninterrupted first build would have made it."""

import json
import random
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import (
    CorpusError,
    EttinError,
    IndexBusyError,
    IndexMismatchError,
    IndexNotFoundError,
    InvalidArgumentError,
    OutputError,
)
from ettin_cli.index import factories, writer
from ettin_cli.index.lock import writing
from ettin_cli.index.manifest import RecordedSource
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import damaged_files
from ettin_cli.indexing import building
from ettin_cli.indexing.planning import make_plan
from ettin_cli.models.embedders import read_card
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.records import Silence
from ettin_cli.text.chunking import Chunking
from tests.conftest import Ettin
from tests.indexes import (
    Builder,
    Notices,
    WordEmbedder,
    assert_equal,
    doc_ids,
    ferry_files,
    jsonl,
    word_model,
)

if TYPE_CHECKING:
    from ettin_cli.records import Floats

ROOT = Path(__file__).parents[1]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return ferry_files(tmp_path / "docs")


def litter(folder: Path) -> list[str]:
    """Return the files that a completed run should have removed."""
    generations = [path.name for path in (folder / "generations").iterdir()]
    generations.remove(Index(folder).manifest.generation)
    shards = [path.name for path in folder.glob("work/*/*")]
    return [*generations, *shards, *(path.name for path in folder.glob(".manifest*"))]


# Updates


def test_a_second_run_embeds_only_what_is_new_or_changed(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    first = build(tmp_path / "i", docs)
    assert (len(first.plan.new), first.embedded, first.reused) == (7, 7, 0)
    assert not build(tmp_path / "i").written
    (docs / "0.txt").write_text("another text\n")
    (docs / "new.txt").write_text("a new text\n")
    (docs / "6.txt").unlink()
    second = build(tmp_path / "i")
    assert (second.plan.new, second.plan.changed, second.plan.gone) == (
        ["new.txt"],
        ["0.txt"],
        ["6.txt"],
    )
    assert (second.embedded, second.reused, second.plan.unchanged) == (2, 5, 5)
    assert build.embedded == ["0 another text", "new a new text"]
    assert doc_ids(tmp_path / "i") == [*(f"{n}.txt" for n in range(6)), "new.txt"]


def test_a_text_that_was_moved_or_touched_is_not_embedded_again(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", docs)
    (docs / "below").mkdir()
    # Under another name it has another title, which is embedded with it.
    (docs / "3.txt").rename(docs / "below" / "3.txt")
    (docs / "4.txt").touch()
    report = build(tmp_path / "i")
    moved = (report.embedded, report.plan.new, report.plan.gone)
    assert moved == (0, ["below/3.txt"], ["3.txt"])
    assert build.embedded == []


def test_any_run_of_changes_ends_in_the_index_that_a_first_build_makes(
    tmp_path: Path, build: Builder
) -> None:
    docs, chooser = tmp_path / "docs", random.Random(11)
    docs.mkdir()
    for step in range(25):
        name = f"{chooser.choice('abcde')}.{chooser.choice(['txt', 'jsonl'])}"
        if (docs / name).exists() and chooser.random() < 0.3:
            (docs / name).unlink()
        elif name.endswith("txt"):
            (docs / name).write_text(f"text {chooser.randrange(6)}\n\n" * chooser.randrange(4))
        else:
            ids = chooser.choices("xyz", k=chooser.randrange(4))
            rows = [{"_id": i, "text": f"text {chooser.randrange(6)}"} for i in ids]
            (docs / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        build(tmp_path / "i", docs)
        build(tmp_path / f"fresh{step}", docs)
        assert_equal(tmp_path / "i", tmp_path / f"fresh{step}")
        assert litter(tmp_path / "i") == []


def test_a_duplicate_id_is_named_with_its_line_and_taken_when_the_other_has_gone(
    tmp_path: Path, build: Builder
) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text('{"_id": "b", "text": "first"}\n{"_id": "b", "text": "second"}\n')
    report = build(tmp_path / "i", table)
    assert [str(rejection) for rejection in report.rejections] == [f'{table}:2: duplicate id "b"']
    table.write_text('{"_id": "b", "text": "second"}\n')
    assert build(tmp_path / "i").rejections == []
    assert [passage.text for passage in Index(tmp_path / "i").read([0])] == ["second"]


def test_a_rejection_is_told_again_by_a_run_that_has_nothing_to_do(
    tmp_path: Path, build: Builder
) -> None:
    (tmp_path / "t.jsonl").write_text('{"_id": "a", "text": "x"}\nbroken\n')
    first = build(tmp_path / "i", tmp_path / "t.jsonl")
    again = build(tmp_path / "i")
    assert not again.written
    assert [str(r) for r in again.rejections] == [str(r) for r in first.rejections]
    assert len(first.rejections) == 1


def test_ids_that_collide_between_sources_are_told_apart_and_settled_anew(
    tmp_path: Path, build: Builder
) -> None:
    one, two = jsonl(tmp_path / "one.jsonl", a="x"), jsonl(tmp_path / "two.jsonl", a="y", b="z")
    build(tmp_path / "i", one, two)
    assert doc_ids(tmp_path / "i") == ["a", "two.jsonl/a", "b"]
    jsonl(one, c="x")
    assert build(tmp_path / "i").embedded == 0
    assert doc_ids(tmp_path / "i") == ["c", "a", "b"]
    jsonl(one, b="x")
    build(tmp_path / "i")
    assert doc_ids(tmp_path / "i") == ["b", "a", "two.jsonl/b"]


def test_sources_are_added_and_dropped(docs: Path, tmp_path: Path, build: Builder) -> None:
    table = jsonl(tmp_path / "t.jsonl", a="x")
    build(tmp_path / "i", docs)
    assert build(tmp_path / "i", table).embedded == 1
    assert [source.location for source in Index(tmp_path / "i").manifest.sources] == [
        "docs",
        "t.jsonl",
    ]
    shutil.rmtree(docs)
    with pytest.raises(CorpusError, match="no longer exists") as caught:
        build(tmp_path / "i")
    words = shlex.split(hint_of(caught.value) or "")
    assert words[:2] == ["ettin", "index"]
    assert build(tmp_path / "i", remove=[words[-1]]).embedded == 0
    assert doc_ids(tmp_path / "i") == ["a"]
    with pytest.raises(InvalidArgumentError, match="is not a source of") as unknown:
        build(tmp_path / "i", remove=["docs"])
    assert hint_of(unknown.value) == f"ettin info -i {tmp_path / 'i'}"
    build(tmp_path / "i", remove=[str(table)])
    assert doc_ids(tmp_path / "i") == []


def test_a_source_given_with_other_options_is_read_anew(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", docs)
    build(tmp_path / "i", docs, source=RecordedSource("", include=("0.txt", "1.txt")))
    assert doc_ids(tmp_path / "i") == ["0.txt", "1.txt"]
    assert build.embedded == []


def test_a_file_that_vanishes_while_others_are_read_is_named(
    docs: Path, tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "i", docs)
    (docs / "0.txt").write_text("changed")

    def vanishing(*arguments: Any, **options: Any) -> Any:
        made = make_plan(*arguments, **options)
        (docs / "5.txt").unlink()
        return made

    monkeypatch.setattr(building, "make_plan", vanishing)
    report = build(tmp_path / "i")
    expected = f"{docs / '5.txt'}: cannot be read: No such file or directory"
    assert [str(rejection) for rejection in report.rejections] == [expected]
    assert "5.txt" not in doc_ids(tmp_path / "i")


def test_an_index_in_the_folder_that_it_is_of_does_not_index_itself(
    docs: Path, build: Builder
) -> None:
    build(docs / "index", docs)
    assert not build(docs / "index").written
    assert doc_ids(docs / "index") == [f"{number}.txt" for number in range(7)]


def test_a_dry_run_says_what_is_to_be_done_and_does_nothing(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    report = build(tmp_path / "i", docs, dry_run=True)
    assert (len(report.plan.new), report.written, report.manifest) == (7, False, None)
    assert not (tmp_path / "i").exists()
    build(tmp_path / "i", docs)
    before = (tmp_path / "i" / "manifest.json").read_bytes()
    (docs / "0.txt").unlink()
    assert build(tmp_path / "i", dry_run=True).plan.gone == ["0.txt"]
    assert (tmp_path / "i" / "manifest.json").read_bytes() == before


# Interruptions


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SHARD_ROWS", 2)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("whole_shards", [0, 1, 3])
def test_an_interrupted_build_resumes_with_the_shard_it_was_at(
    docs: Path,
    tmp_path: Path,
    build: Builder,
    monkeypatch: pytest.MonkeyPatch,
    whole_shards: int,
) -> None:
    class Interrupted(WordEmbedder):
        def embed_documents(self, texts: Sequence[str], *_: object) -> "Floats":
            if len(self.embedded) == 2 * whole_shards:
                raise KeyboardInterrupt
            return super().embed_documents(texts)

    loaded: list[Interrupted] = []

    def load(files: Any, *_: object) -> Interrupted:
        loaded.append(Interrupted(read_card(files)))
        return loaded[-1]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(building, "load_embedder", load)
        build(tmp_path / "i", docs)
    with pytest.raises(IndexNotFoundError):
        Index(tmp_path / "i")
    again = build(tmp_path / "i", docs)
    assert (again.reused, again.embedded) == (2 * whole_shards, 7 - 2 * whole_shards)
    assert sorted([*loaded[0].embedded, *build.embedded]) == [
        f"{number} file {number} tells of ferry {number}" for number in range(7)
    ]
    build(tmp_path / "calm", docs)
    assert_equal(tmp_path / "i", tmp_path / "calm")
    assert litter(tmp_path / "i") == []


KILLING = """
import os, signal, sys
from pathlib import Path
from ettin_cli.index import known_vectors as known, passages, writer
from ettin_cli.indexing import building
from tests.indexes import Builder

owner, name, nth = sys.argv[1].split(":")
owner = {"Shards": known.Shards, "PassageWriter": passages.PassageWriter, "writer": writer}[owner]
original, calls = getattr(owner, name), []

def killing(*arguments):
    calls.append(1)
    if len(calls) == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)

setattr(owner, name, killing)
writer.SHARD_ROWS = 2
builder = Builder(Path(sys.argv[2]))
building.load_embedder = builder.load
builder(Path(sys.argv[3]), *sys.argv[5:], rebuild=sys.argv[4] == "rebuild")
"""
MOMENTS = {
    "PassageWriter:close:1": 0,
    "Shards:add:1": 0,
    "Shards:add:3": 4,
    "writer:build:1": 7,
    "writer:write_manifest:1": 7,
    "writer:remove_leftovers:2": None,
}


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("story", ["first", "update", "rebuild"])
def test_a_run_killed_at_any_moment_leaves_the_old_state_and_its_work_to_the_next(
    docs: Path, tmp_path: Path, build: Builder, story: str, moment: str
) -> None:
    if story != "first":
        build(tmp_path / "i", docs)
    if story == "update":
        for number in range(7):
            (docs / f"{number}.txt").write_text(f"changed text {number}\n")
    before = doc_ids(tmp_path / "i") if story != "first" else []
    sources = [str(docs)] if story == "first" else []
    words = [moment, str(build.model), str(tmp_path / "i"), story, *sources]
    killed = subprocess.run([sys.executable, "-c", KILLING, *words], cwd=ROOT, check=False)
    assert killed.returncode == -9
    saved = MOMENTS[moment]
    if story == "first" and saved is not None:
        with pytest.raises(IndexNotFoundError):
            Index(tmp_path / "i")
    else:
        assert damaged_files(tmp_path / "i") == []
    if story == "rebuild":
        assert doc_ids(tmp_path / "i") == before
    again = build(tmp_path / "i", *sources, rebuild=story == "rebuild")
    if saved is not None:
        assert (again.reused, again.embedded) == (saved, 7 - saved)
    build(tmp_path / "calm", docs)
    assert_equal(tmp_path / "i", tmp_path / "calm")
    assert litter(tmp_path / "i") == []


# Other recipes


@pytest.fixture
def mismatched(docs: Path, tmp_path: Path, build: Builder) -> Path:
    build(tmp_path / "i", docs, chunking=Chunking(8), settings=EngineSettings(max_length=32))
    return tmp_path / "i"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--embedder", "other"], r"was built with embedder \S+/words \(\w+\), not \S+/other \("),
        (
            ["--chunk-size", "none"],
            r"of 8 tokens \(overlap 0\), not complete documents as passages",
        ),
        (
            ["--chunk-size", "9"],
            r"was built with passages of 8 tokens \(overlap 0\), not passages of 9 ",
        ),
        (["--chunk-size", "8", "--chunk-overlap", "2"], r"not passages of 8 tokens \(overlap 2\)"),
        (["--chunk-size", "auto"], r"not passages sized for the embedder \(overlap 0\)"),
        (["--max-length", "16"], r"with \S+/words and a limit of 32 tokens, not 16"),
    ],
)
def test_another_recipe_is_refused_with_the_command_that_follows_it(
    ettin: Ettin, mismatched: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    word_model(tmp_path / "other", weights=b"others")
    before = (mismatched / "manifest.json").read_bytes()
    refused = ettin("index", "-i", "i", *options)
    assert refused.code == 1
    problem, hint = refused.err.splitlines()
    assert re.search(said, problem)
    assert (mismatched / "manifest.json").read_bytes() == before
    command = shlex.split(hint.removeprefix("  hint: "))
    assert ettin(*command[1:]).code == 0
    assert ettin("index", "-i", "i", *options).code == 0


def test_without_options_an_index_keeps_its_recipe_even_when_rebuilt(
    mismatched: Path, docs: Path, build: Builder
) -> None:
    def recipe() -> tuple[object, ...]:
        manifest = Index(mismatched).manifest
        return manifest.embedder, manifest.chunk_size, manifest.chunk_overlap, manifest.asked

    made = recipe()
    (docs / "0.txt").write_text("one two three four five six seven eight nine ten\n")
    assert build(mismatched).written
    assert recipe() == made
    assert build(mismatched, rebuild=True).embedded == 8
    assert recipe() == made
    build(mismatched, rebuild=True, chunking=Chunking(4, 1))
    assert recipe()[:3] == (made[0], 4, 1)


def test_a_changed_prompt_is_another_embedder(docs: Path, tmp_path: Path, build: Builder) -> None:
    build(tmp_path / "i", docs)
    settings = build.model / "config_sentence_transformers.json"
    settings.write_text(json.dumps({"prompts": {"query": "find: "}}))
    with pytest.raises(IndexMismatchError, match="was built with older prompts of"):
        build(tmp_path / "i")


def test_the_embedder_is_found_from_any_working_folder(
    docs: Path, tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build(Path("i"), "docs", embedder="words")
    assert Index(tmp_path / "i").manifest.embedder.name == str(tmp_path / "words")
    monkeypatch.chdir(docs)
    (docs / "0.txt").write_text("changed")
    assert build(tmp_path / "i").embedded == 1


def test_a_factory_is_kept_and_auto_is_settled_anew(
    docs: Path, tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(**options: Any) -> tuple[str, str, bool]:
        report = build(tmp_path / "i", docs, **options)
        manifest = Index(tmp_path / "i").manifest
        return manifest.factory, manifest.asked, report.written

    assert made() == ("SQfp16", "auto", True)
    assert made(factory="HNSW4") == ("HNSW4", "HNSW4", True)
    assert made() == ("HNSW4", "HNSW4", False)
    assert made(factory="auto") == ("SQfp16", "auto", True)
    (docs / "more.txt").write_text("more\n")
    monkeypatch.setattr(factories, "SLOW_SEARCH_S", -1.0)
    monkeypatch.setattr(factories, "_lists", lambda count: 2)
    assert made() == ("IVF2,Flat", "auto", True)
    with pytest.raises(EttinError, match="cannot build the FAISS index 'Flot'"):
        made(factory="Flot")
    assert Index(tmp_path / "i").manifest.factory == "IVF2,Flat"


def test_a_factory_that_faiss_does_not_know_costs_no_embedding_and_leaves_nothing(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    with pytest.raises(EttinError, match="cannot build the FAISS index 'nope'"):
        build(tmp_path / "i", docs, factory="nope")
    assert build.embedded == []
    assert not (tmp_path / "i").exists()


# Rebuilding


def test_a_rebuild_starts_from_nothing_and_leaves_the_old_index_until_it_is_done(
    docs: Path, tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "i", docs)
    seen: list[list[str]] = []
    load = build.load

    def looking(*arguments: Any) -> WordEmbedder:
        seen.append(doc_ids(tmp_path / "i"))
        return load(*arguments)

    monkeypatch.setattr(building, "load_embedder", looking)
    assert build(tmp_path / "i", rebuild=True).embedded == 7
    assert seen == [[f"{number}.txt" for number in range(7)]]
    assert litter(tmp_path / "i") == []


@pytest.mark.parametrize("content", ["{broken", '{"format": 99}'])
def test_a_manifest_that_cannot_be_read_is_replaced_when_the_sources_are_named(
    docs: Path, tmp_path: Path, build: Builder, content: str
) -> None:
    build(tmp_path / "i", docs)
    (tmp_path / "i" / "manifest.json").write_text(content)
    for options in ({}, {"rebuild": True}):
        with pytest.raises(EttinError, match=r"damaged|newer"):
            build(tmp_path / "i", **options)
    assert build(tmp_path / "i", docs, rebuild=True, embedder=str(build.model)).embedded == 7
    assert litter(tmp_path / "i") == []


def test_records_from_standard_input_are_kept_and_never_lost_in_silence(
    ettin: Ettin, docs: Path, build: Builder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stdin = jsonl(tmp_path / "stdin.jsonl", a="from a pipe")
    with stdin.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert ettin("index", "-", "-i", "i", "--embedder", str(build.model)).code == 0
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert ettin("index", str(docs), "-i", "i").code == 0
        assert doc_ids(tmp_path / "i")[0] == "a"
        refused = ettin("index", "-i", "i", "--rebuild")
        assert refused.code == 2
        assert "standard input" in refused.err
        assert doc_ids(tmp_path / "i")[0] == "a"
        assert ettin("index", "-i", "i", "--rebuild", "--remove", "-").code == 0
    assert "a" not in doc_ids(tmp_path / "i")


# Writers and disks


def test_a_second_writer_waits_or_fails_as_it_is_told(
    ettin: Ettin, docs: Path, tmp_path: Path, build: Builder
) -> None:
    build(tmp_path / "i", docs)
    with writing(tmp_path / "i", wait=True, reporter=Silence()):
        ran = ettin("index", "-i", "i", "--no-wait")
        with pytest.raises(IndexBusyError):
            build(tmp_path / "i", wait=False)
    assert ran.code == 1
    assert ran.err.startswith("ettin: error: i is being written by process ")
    assert ettin("index", "-i", "i", "--no-wait").code == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 1 MB, if one can be created."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no file system can be made here")
    yield place
    # Lazily, since the files of a failed run may still be mapped.
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="no mount")
def test_a_full_disk_is_one_line_and_the_index_is_as_it_was(
    ettin: Ettin, small_disk: Path, docs: Path, build: Builder
) -> None:
    folder = small_disk / "i"
    build(folder, docs)
    manifest = (folder / "manifest.json").read_bytes()
    jsonl(docs / "more.jsonl", **{f"d{n}": f"record {n}" for n in range(300)})
    free = shutil.disk_usage(small_disk).free
    codes = []
    for left in (0, *range(8192, 200_000, 24_576), free):
        (small_disk / "ballast").write_bytes(bytes(free - left))
        ran = ettin("index", "-i", str(folder))
        codes.append(ran.code)
        if ran.code == 0:
            break
        assert (ran.code, len(ran.err.splitlines())) == (1, 2)
        assert "No space left on device; the index is unchanged" in ran.err
        assert (folder / "manifest.json").read_bytes() == manifest
        assert damaged_files(folder) == []
        (small_disk / "ballast").unlink()
    assert codes[0] == 1
    assert codes[-1] == 0
    assert len(Index(folder).passages) == 307


@pytest.mark.parametrize("error", [OSError(28, "of Arrow's own"), OSError("no number")])
def test_an_error_of_the_disk_is_said_in_the_words_of_the_system(
    docs: Path,
    tmp_path: Path,
    build: Builder,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(writer, "write_files", failing)
    with pytest.raises(OutputError) as caught:
        build(tmp_path / "i", docs)
    reason = "No space left on device" if error.errno else "no number"
    assert caught.value.problem == (
        f"cannot write {tmp_path / 'i'}: {reason}; the index is unchanged"
    )


# Embedder input


def test_what_the_embedder_cannot_read_is_counted(tmp_path: Path, build: Builder) -> None:
    lengths = [1, 9, 13, 14, 15, 40]
    texts = {f"d{length}": " ".join(["word"] * length) for length in lengths}
    table = jsonl(tmp_path / "t.jsonl", **texts)
    for model, fits in (
        (word_model(tmp_path / "plain", max_tokens=16), 14),
        (word_model(tmp_path / "p", max_tokens=16, prompts={"document": "a b c d "}), 10),
    ):
        folder = tmp_path / f"{model.name}-index"
        report = build(folder, table, embedder=str(model), chunking=Chunking(None))
        assert report.manifest is not None
        assert report.manifest.counts.truncated == sum(length > fits for length in lengths)
        cut = build(folder, rebuild=True, chunking=Chunking("auto"))
        assert cut.manifest is not None
        assert cut.manifest.counts.truncated == 0
        assert max(len(text.split()) for text in build.embedded) == fits


def test_the_reporter_is_told_of_every_file_and_every_embedded_passage(
    docs: Path, tmp_path: Path, build: Builder
) -> None:
    notices = Notices()
    build(tmp_path / "i", docs, reporter=notices)
    assert notices.tracked == [
        ("reading", 7, "files"),
        ("embedding", 7, "passages"),
        ("indexing terms", 7, "passages"),
    ]
    assert notices.advanced == 21


def test_no_source_at_all_is_wrong_usage(tmp_path: Path, build: Builder) -> None:
    with pytest.raises(InvalidArgumentError, match="no source to index") as caught:
        build(tmp_path / "i")
    assert hint_of(caught.value) == f"ettin index SOURCE -i {tmp_path / 'i'}"
