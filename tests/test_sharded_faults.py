"""What fails in a build in shards leaves the index in force, and the next run goes on."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.errors import EttinError, IndexNotFoundError
from ettin_cli.index import writer
from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.salvage import damaged_files
from ettin_cli.indexing import building
from tests.faults import DiedError, Disk, on
from tests.indexes import Builder, WordEmbedder, doc_ids, ferry_files
from tests.sharded import litter, shards

ROOT = Path(__file__).parents[1]
# The texts that were embedded by the last run.
EMBEDDED: list[str] = []
# Trying every operation takes minutes.
EVERY = int(os.environ.get("EVERY", 43))


class Scene:
    """Sources, an index in shards before a run, and one that no run disturbed."""

    def __init__(self, root: Path, build: Builder, story: str, factory: str) -> None:
        self.root, self.build, self.story = root, build, story
        self.docs, self.index, self.start = root / "docs", root / "i", root / "start"
        self.calm, self.whole = root / "calm", root / "whole"
        self.options = {"shards": "3", "factory": factory}
        ferry_files(self.docs)
        if story != "first":
            build(self.index, self.docs, **self.options)
        if story == "update":
            (self.docs / "0.txt").write_text("text 0 of it\n")
            (self.docs / "6.txt").write_text("text 6 of it\n")
            (self.docs / "3.txt").unlink()
        if self.index.exists():
            shutil.copytree(self.index, self.start)
            shutil.copytree(self.index, self.calm)
        self.embedded = self.run(self.calm)
        build(self.whole, self.docs, factory=factory)
        self.before = self.state()

    def run(self, folder: Path) -> int:
        """Run the command of the story, and return the number of embedded texts."""
        EMBEDDED.clear()
        if self.story == "first":
            self.build(folder, self.docs, **self.options)
        else:
            self.build(folder, self.docs, rebuild=self.story == "rebuild")
        return len(EMBEDDED)

    def reset(self) -> None:
        """Return to the state before the run."""
        shutil.rmtree(self.index, ignore_errors=True)
        if self.start.exists():
            shutil.copytree(self.start, self.index)

    def state(self) -> object:
        """Return a value that distinguishes the old state from the new one."""
        try:
            return damaged_files(self.index), shards(self.index), doc_ids(self.index)
        except IndexNotFoundError:
            return None

    def check_end(self) -> None:
        """Check that the index is what an undisturbed run made."""
        assert damaged_files(self.index) == litter(self.index) == []
        assert contents(self.index) == contents(self.calm)


def contents(folder: Path) -> list[dict[str, bytes]]:
    """Return the contents of the files of each shard, but for those with times and names."""
    found = []
    for name in shards(folder):
        place = folder / "shards" / name
        generation = place / "generations" / read_manifest(place).generation
        found.append(
            {path.name: path.read_bytes() for path in generation.iterdir() if path.stem != "files"}
        )
    return found


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    def load(*arguments: Any) -> WordEmbedder:
        embedder = build.load(*arguments)
        embedder.embedded = EMBEDDED
        return embedder

    monkeypatch.setattr(building, "load_embedder", load)
    monkeypatch.setattr(writer, "SHARD_ROWS", 2)
    return Scene(tmp_path, build, *request.param.split())


def failing_once(scene: Scene, fault: str) -> Iterator[Disk]:
    """Yield disks of which one in some operations fails, and before each return to the start."""
    place = 1
    while True:
        scene.reset()
        disk = Disk(scene.index, place, fault)
        yield disk
        if disk.failed is None:
            assert place > 100
            return
        place += EVERY


# A writer that fails is not closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("scene", "fault"),
    [
        ("first auto", "dies"),
        ("update SQ8", "dies"),
        ("rebuild auto", "dies"),
        ("update SQ8", "ENOSPC"),
        ("first auto", "short"),
    ],
    indirect=["scene"],
)
def test_a_run_that_fails_at_any_place_leaves_the_index_and_the_next_one_ends_it(
    scene: Scene, fault: str
) -> None:
    embedded = []
    for disk in failing_once(scene, fault):
        new = True
        try:
            with on(disk):
                scene.run(scene.index)
        except DiedError:
            new = scene.state() != scene.before
        except EttinError as error:
            new = "the new index is in place" in error.problem
            assert (scene.state() == scene.before) is not new, (disk.failed, error)
        if new:
            assert contents(scene.index) == contents(scene.calm)
        first = len(EMBEDDED)
        again = scene.run(scene.index)
        if not new:
            embedded.append((first, again))
        if new and scene.story == "rebuild":
            continue
        scene.check_end()
    # What was embedded is not lost, but for a batch at most that was not written.
    most = scene.embedded + 2
    assert all(one + other <= most for one, other in embedded), embedded
