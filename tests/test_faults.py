"""Each disk operation of indexing fails once: the index stays intact, and the next run works."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ettin_cli.errors import OutputError
from ettin_cli.index import writer
from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import damaged_files
from tests.conftest import Ettin
from tests.faults import DiedError, Disk, on
from tests.indexes import Builder, assert_equal
from tests.scenes import STORIES, Scene


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, ettin: Ettin, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    monkeypatch.setattr(writer, "SHARD_ROWS", 2)
    monkeypatch.setenv("ETTIN_EMBEDDER", str(build.model))
    return Scene(Path.cwd(), request.param, build)


def failing_once(scene: Scene, fault: str, first: int = 1, step: int = 1) -> Iterator[Disk]:
    """Yield disks that fail at one operation, at a later one and so on, each with a new scene."""
    place = first - step
    while True:
        place += step
        scene.reset()
        disk = Disk(scene.index, place, fault)
        yield disk
        if disk.failed is None:
            assert place > 30
            return


@pytest.mark.parametrize(
    ("scene", "fault", "first", "step"),
    [
        ("first", "EIO", 1, 1),
        # Every operation of an update fails in one of three ways.
        ("update", "ENOSPC", 1, 3),
        ("update", "EACCES", 2, 3),
        ("update", "short", 3, 3),
        ("rebuild", "short", 1, 1),
        ("repair", "EIO", 1, 1),
    ],
    indirect=["scene"],
)
def test_any_one_thing_that_fails_leaves_the_old_state_and_the_next_run_ends_well(
    ettin: Ettin, scene: Scene, fault: str, first: int, step: int
) -> None:
    refused = 0
    for disk in failing_once(scene, fault, first, step):
        with on(disk):
            ran = ettin(*STORIES[scene.story])
        if ran.code:
            refused += 1
            assert (ran.code, ran.out, len(ran.err.splitlines())) == (1, "", 2), ran.err
            reason = os.strerror(getattr(errno, "ENOSPC" if fault == "short" else fault))
            assert reason in ran.err
            new = "the new index is in place" in ran.err
            assert (scene.state() == scene.before) is not new, (disk.failed, ran.err)
        if not ran.code or "the new index is in place" in ran.err:
            assert_equal(scene.index, scene.calm)
        assert ettin(*STORIES[scene.story]).code == 0
        assert damaged_files(scene.index) == []
        assert_equal(scene.index, scene.calm)
        assert scene.litter() == []
    assert refused > 20 // step


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
    def failing(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("ettin_cli.index.known_vectors.Shards.clear", failing)
        with pytest.raises((OutputError, KeyboardInterrupt)) as caught:
            build(scene.index)
    if isinstance(caught.value, OutputError):
        assert (
            "the new index is in place, but may not survive a power failure" in caught.value.problem
        )
    assert Index(scene.index).manifest.generation != read_manifest(scene.start).generation
    assert_equal(scene.index, scene.calm)
