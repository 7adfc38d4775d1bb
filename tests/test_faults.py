"""Each thing that indexing does to the disk fails once: the state is whole, the next run ends."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ettin_cli.errors import EttinError, OutputError
from ettin_cli.index import Index, damaged_files, read_manifest, writer
from tests.conftest import Ettin
from tests.faults import DiedError, Disk, on
from tests.indexes import Builder, assert_equal, doc_ids

STORIES = {
    "first": ["index", "docs", "-i", "i"],
    "update": ["index", "-i", "i"],
    "rebuild": ["index", "-i", "i", "--rebuild"],
    "repair": ["verify", "-i", "i", "--repair"],
}
DAMAGED = "vectors.faiss"


class Scene:
    """A folder with documents and an index, in the state from which a run begins."""

    def __init__(self, root: Path, story: str, build: Builder) -> None:
        self.root, self.story = root, story
        self.docs, self.index, self.calm = root / "docs", root / "i", root / "calm"
        self.start = root / "start"
        self.docs.mkdir()
        for number in range(4):
            (self.docs / f"{number}.txt").write_text(f"file {number} tells of ferry {number}\n")
        if story != "first":
            build(self.index, self.docs)
        if story in ("update", "rebuild"):
            (self.docs / "0.txt").write_text("another text\n")
            (self.docs / "new.txt").write_text("a new text\n")
            (self.docs / "3.txt").unlink()
        build(self.calm, self.docs)
        if story == "repair":
            path = self.index / "generations" / read_manifest(self.index).generation / DAMAGED
            path.write_bytes(bytes(byte ^ 4 for byte in path.read_bytes()))
        if story != "first":
            shutil.copytree(self.index, self.start)
        self.before = self.state()

    def reset(self) -> None:
        shutil.rmtree(self.index, ignore_errors=True)
        if self.start.exists():
            shutil.copytree(self.start, self.index)

    def state(self) -> object:
        """Return what tells the old state from the new one, and either from any other."""
        try:
            generation = read_manifest(self.index).generation
            damaged = [Path(path).name for path in damaged_files(self.index)]
            return generation, damaged, [] if damaged else doc_ids(self.index)
        except EttinError as error:
            return type(error)

    def litter(self) -> list[str]:
        """Return what a finished run should not have left."""
        left = {path.name for path in self.index.iterdir()}
        left -= {"lock", "manifest.json", "generations"}
        generations = {path.name for path in (self.index / "generations").iterdir()}
        shards = [path.name for path in self.index.glob("work/*/*")]
        return sorted((left - {"work"}) | generations - {read_manifest(self.index).generation}) + (
            shards
        )


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, ettin: Ettin, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    monkeypatch.setattr(writer, "SHARD_ROWS", 2)
    monkeypatch.setenv("ETTIN_EMBEDDER", str(build.model))
    return Scene(Path.cwd(), request.param, build)


def failing_once(scene: Scene, fault: str) -> Iterator[Disk]:
    """Yield disks that fail at the first thing done, at the second and so on, and each scene."""
    place = 0
    while True:
        place += 1
        scene.reset()
        disk = Disk(scene.index, place, fault)
        yield disk
        if disk.failed is None:
            assert place > 30
            return


@pytest.mark.parametrize(
    ("scene", "fault"),
    [
        ("first", "EIO"),
        ("update", "ENOSPC"),
        ("update", "EACCES"),
        ("update", "short"),
        ("rebuild", "short"),
        ("repair", "EIO"),
    ],
    indirect=["scene"],
)
def test_any_one_thing_that_fails_leaves_the_old_state_and_the_next_run_ends_well(
    ettin: Ettin, scene: Scene, fault: str
) -> None:
    refused = 0
    for disk in failing_once(scene, fault):
        with on(disk):
            ran = ettin(*STORIES[scene.story])
        if ran.code:
            refused += 1
            assert (ran.code, ran.out, len(ran.err.splitlines())) == (1, "", 2), ran.err
            reason = os.strerror(getattr(errno, "ENOSPC" if fault == "short" else fault))
            assert reason in ran.err
            new = "the index is the new one" in ran.err
            assert (scene.state() == scene.before) is not new, (disk.failed, ran.err)
        if not ran.code or "the new one" in ran.err:
            assert_equal(scene.index, scene.calm)
        assert ettin(*STORIES[scene.story]).code == 0
        assert damaged_files(scene.index) == []
        assert_equal(scene.index, scene.calm)
        assert scene.litter() == []
    assert refused > 20


@pytest.mark.parametrize("scene", ["first", "update"], indirect=True)
def test_a_run_that_dies_at_any_place_leaves_the_old_or_the_new_state(
    scene: Scene, build: Builder
) -> None:
    new = 0
    for disk in failing_once(scene, "dies"):
        sources = [scene.docs] if scene.story == "first" else []
        rebuild = scene.story == "rebuild"
        try:
            with on(disk):
                build(scene.index, *sources, rebuild=rebuild)
        except DiedError:
            if scene.state() != scene.before:
                new += 1
                assert_equal(scene.index, scene.calm)
        build(scene.index, *sources, rebuild=rebuild)
        assert_equal(scene.index, scene.calm)
        assert scene.litter() == []
    assert new > 0


@pytest.mark.parametrize("scene", ["update"], indirect=True)
@pytest.mark.parametrize("error", [OSError(errno.EIO, "failed"), KeyboardInterrupt()])
def test_what_fails_once_a_generation_is_in_force_does_not_take_it_away(
    scene: Scene, build: Builder, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def failing(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("ettin_cli.index.known.Shards.clear", failing)
        with pytest.raises((OutputError, KeyboardInterrupt)) as caught:
            build(scene.index)
    if isinstance(caught.value, OutputError):
        assert "the index is the new one, but may not outlive a power cut" in caught.value.problem
    assert Index(scene.index).manifest.generation != read_manifest(scene.start).generation
    assert_equal(scene.index, scene.calm)
