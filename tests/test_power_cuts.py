"""The power is cut at every moment of a run, and unsynced data is lost in many ways.

`benchmarks/power_cuts.py` tries all states, and resumes from each.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ettin_cli import storage
from tests.faults import on
from tests.power import PowerCut, Recorder, all_states, surest
from tests.replay import BrokenStateError, Replay, run

LISTS = ["--factory", "IVF2,Flat"]


@pytest.fixture
def patch(tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.parametrize(
    ("story", "options", "every", "expected"),
    [
        ("first", [], 1, {"old", "new"}),
        ("update", [], 1, {"old", "new"}),
        ("update", LISTS, 1, {"old", "new"}),
        ("rebuild", [], 1, {"old", "new"}),
        # A damaged state is refused, and the suggested command repairs it.
        ("repair", [], 10, {"refused", "new"}),
    ],
)
def test_a_power_cut_leaves_the_old_index_or_the_new_one(
    tmp_path: Path,
    patch: pytest.MonkeyPatch,
    story: str,
    options: list[str],
    every: int,
    expected: set[str],
) -> None:
    replay = Replay(tmp_path, story, patch, *options)
    moments = replay.record()
    for number, state in enumerate(all_states(moments, samples=1)):
        if number % every == 0:
            replay.judge(state, resume=number % 40 == 0)
    assert set(replay.verdicts) == expected
    assert replay.verdicts.total() > 50
    assert replay.judge_end(moments) == "new"


@pytest.mark.parametrize("story", ["first", "update"])
def test_each_thing_done_is_a_moment_of_its_own(
    tmp_path: Path, patch: pytest.MonkeyPatch, story: str
) -> None:
    moments = Replay(tmp_path, story, patch).record()
    changes = [change for change in PowerCut(moments, len(moments) - 1).changes if change]
    assert len(changes) > 10
    for change in changes:
        # A name appears, disappears, or replaces another.
        assert sorted(stands_for is None for stands_for in change.values()) in (
            [False],
            [True],
            [False, True],
        )


def test_a_run_stopped_right_after_the_switch_does_not_cost_the_old_index(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    replay = Replay(tmp_path, "update", patch)
    synced = storage.sync_folder

    def stopping(folder: Path) -> None:
        if folder == replay.scene.index:
            raise KeyboardInterrupt
        synced(folder)

    replay.scene.reset()
    with on(Recorder(replay.scene.index)) as disk:
        with pytest.MonkeyPatch.context() as one:
            one.setattr(storage, "sync_folder", stopping)
            assert run(*replay.command)[0] == 130
        assert run(*replay.command)[0] == 0
    assert isinstance(disk, Recorder)
    moments = disk.end()
    for state in all_states(moments, samples=1):
        replay.judge(state, resume=False)
    assert set(replay.verdicts) == {"old", "new"}
    assert replay.judge_end(moments) == "new"


def test_vectors_that_were_computed_outlive_a_power_cut(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    moments = Replay(tmp_path, "first", patch).record()
    shards = [{name for name in m.names if name.endswith(".shard")} for m in moments]
    # The newest name is durable only once its folder is synced.
    last = max(at for at, found in enumerate(shards) if found and found == max(shards, key=len))
    assert len(shards[last]) == 2
    assert shards[last] <= set(surest(moments[: last + 1]))


@pytest.mark.parametrize(
    "missing",
    [
        "storage.sync_file",
        "storage.sync_folder",
        "index.writer.sync_file",
        "index.writer.sync_folder",
    ],
)
def test_the_replay_finds_what_is_not_synced(
    tmp_path: Path, patch: pytest.MonkeyPatch, missing: str
) -> None:
    replay = Replay(tmp_path, "update", patch)
    with pytest.MonkeyPatch.context() as one:
        one.setattr(f"ettin_cli.{missing}", lambda _: None)
        moments = replay.record()

    def verdicts() -> Iterator[str]:
        try:
            for state in all_states(moments, samples=0):
                yield replay.judge(state, resume=False)
        except BrokenStateError:
            yield "broken"

    assert any(verdict not in ("old", "new") for verdict in verdicts())
