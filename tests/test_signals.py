"""Ctrl-C and SIGTERM while an index is written, searched or verified are reported and resumable.

Each signal is sent from within the work, so that it comes at the same point every time.
"""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.corpus.formats import read_file
from ettin_cli.index import salvage as remains, writer
from ettin_cli.index.known_vectors import Shards
from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.salvage import damaged_files
from ettin_cli.indexing import building, reading
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.records import EmbedderCard, Reporter
from ettin_cli.runtime.loading import Loaded
from ettin_cli.storage import checksum
from tests.conftest import Ettin
from tests.indexes import Builder, WordEmbedder, assert_equal
from tests.scenes import STORIES, Scene

SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
GOES_ON = "to resume, run the same command"


def at_call(nth: int, number: signal.Signals, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that sends this process a signal at its nth call."""
    calls = 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            signal.raise_signal(number)
        return original(*arguments, **options)

    return call


def signalling(patch: pytest.MonkeyPatch, build: Builder, nth: int, number: signal.Signals) -> None:
    """Make embedding send a signal at its nth batch."""

    def load(
        files: ModelFiles,
        settings: EngineSettings,
        reporter: Reporter,
        card: EmbedderCard,
        _loaded: Loaded | None,
    ) -> WordEmbedder:
        embedder = build.load(files, settings, reporter, card)
        patch.setattr(embedder, "embed_documents", at_call(nth, number, embedder.embed_documents))
        return embedder

    patch.setattr(building, "load_embedder", load)


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
@pytest.mark.parametrize("story", STORIES)
def test_a_run_that_a_signal_ends_leaves_the_old_index_and_its_work_to_the_next(
    ettin: Ettin, build: Builder, story: str, number: signal.Signals, code: int, said: str
) -> None:
    ettin.monkeypatch.setattr(writer, "SHARD_ROWS", 2)
    ettin.monkeypatch.setenv("ETTIN_EMBEDDER", str(build.model))
    scene = Scene(Path.cwd(), story, build, files=8)
    with pytest.MonkeyPatch.context() as patch:
        signalling(patch, build, 2, number)
        ran = ettin(*STORIES[story])
    assert (ran.code, ran.out) == (code, "")
    assert ran.err == f"ettin: {said}; {GOES_ON}\n"
    assert scene.state() == scene.before
    again = ettin(*STORIES[story])
    assert again.code == 0
    # The first batch was kept.
    assert len(build.embedded) == {"first": 6, "update": 1, "rebuild": 6, "repair": 6}[story]
    assert_equal(scene.index, scene.calm)
    assert scene.litter() == []


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
def test_a_signal_while_files_are_read_leaves_no_folder_behind(
    ettin: Ettin, build: Builder, docs: Path, number: signal.Signals, code: int, said: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "read_file", at_call(2, number, read_file))
        ran = ettin("index", docs.name, "-i", "i", "--embedder", str(build.model))
    assert (ran.code, ran.err) == (code, f"ettin: {said}; {GOES_ON}\n")
    assert not Path("i").exists()


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
def test_a_signal_while_a_source_is_indexed_to_be_searched_is_said(
    ettin: Ettin, build: Builder, docs: Path, number: signal.Signals, code: int, said: str
) -> None:
    ettin.monkeypatch.setenv("ETTIN_EMBEDDER", str(build.model))
    ettin.monkeypatch.setattr("ettin_cli.searching.session_models.load_embedder", build.load)
    words = ["search", "ferry", docs.name, "-r", "none"]
    with pytest.MonkeyPatch.context() as patch:
        signalling(patch, build, 1, number)
        ran = ettin(*words)
    assert (ran.code, ran.out, ran.err) == (code, "", f"ettin: {said}; {GOES_ON}\n")
    assert ettin(*words).code == 0


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
def test_a_signal_while_an_index_is_verified_has_its_code_and_changes_nothing(
    ettin: Ettin, build: Builder, docs: Path, number: signal.Signals, code: int, said: str
) -> None:
    build(Path("i"), docs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remains, "checksum", at_call(2, number, checksum))
        ran = ettin("verify", "-i", "i")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err == ("ettin: interrupted\n" if code == 130 else "")
    assert damaged_files(Path("i")) == []


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
def test_a_signal_right_after_the_switch_leaves_the_new_index(
    ettin: Ettin, build: Builder, number: signal.Signals, code: int, said: str
) -> None:
    ettin.monkeypatch.setenv("ETTIN_EMBEDDER", str(build.model))
    scene = Scene(Path.cwd(), "update", build)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shards, "clear", at_call(1, number, Shards.clear))
        ran = ettin(*STORIES["update"])
    assert (ran.code, ran.err) == (code, f"ettin: {said}; {GOES_ON}\n")
    assert read_manifest(scene.index).generation != read_manifest(scene.start).generation
    assert_equal(scene.index, scene.calm)
    assert "up to date" in ettin(*STORIES["update"]).err
    assert scene.litter() == []
