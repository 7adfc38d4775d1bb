"""One writer at a time, named in the others' error, in a folder that belongs to an index."""

import ctypes
import getpass
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import EttinError, IndexBusyError, InvalidArgumentError
from ettin_cli.index.lock import HOLDER, LOCK, writing
from ettin_cli.indexing import building
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.records import EmbedderCard, Reporter, Silence
from ettin_cli.runtime.loading import Loaded
from tests.conftest import Ettin, Outcome
from tests.indexes import Builder, Notices, WordEmbedder, doc_ids, word_model
from tests.reading import is_superuser

# Windows has no signal that cannot be handled.
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

HOLDING = """
import sys
from pathlib import Path
from ettin_cli.index import writing
from ettin_cli.records import Silence
with writing(Path(sys.argv[1]), wait=True, reporter=Silence()):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path / "index")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_told_who_holds_the_index(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    with (
        pytest.raises(IndexBusyError, match=f"being written by process {holder.pid} of") as caught,
        writing(tmp_path / "index", wait=False, reporter=Silence()),
    ):
        pass
    assert "--no-wait" in (hint_of(caught.value) or "")


def test_a_second_writer_waits_and_says_for_whom(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    said: list[str] = []

    class Releasing(Silence):
        def notice(self, message: str) -> None:
            said.append(message)
            holder.communicate("\n")

    with writing(tmp_path / "index", wait=True, reporter=Releasing()):
        assert holder.poll() == 0
    assert f"waiting for process {holder.pid}" in said[0]


def test_a_second_writer_touches_nothing_of_a_first_at_work(
    ettin: Ettin, build: Builder, docs: Path, tmp_path: Path
) -> None:
    seen: list[Outcome] = []

    def listed() -> dict[Path, bytes | None]:
        paths = (tmp_path / "i").rglob("*")
        return {path: path.read_bytes() if path.is_file() else None for path in paths}

    def load(
        files: ModelFiles,
        settings: EngineSettings,
        reporter: Reporter,
        card: EmbedderCard,
        _loaded: Loaded | None,
    ) -> WordEmbedder:
        before = listed()
        assert any(path.name == "passages.arrow" for path in before)
        for more in ([], ["--rebuild"]):
            seen.append(ettin("index", "docs", "-i", "i", "--no-wait", *more))
        assert listed() == before
        return build.load(files, settings, reporter, card)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "load_embedder", load)
        build(tmp_path / "i", docs)
    assert [ran.code for ran in seen] == [1, 1]
    for ran in seen:
        assert f"i is being written by process {os.getpid()} of" in ran.err
    assert len(doc_ids(tmp_path / "i")) == 3


@pytest.mark.parametrize("death", sorted({KILL, signal.SIGTERM}))
def test_a_killed_writer_holds_nothing(
    tmp_path: Path, holder: "subprocess.Popen[str]", death: signal.Signals
) -> None:
    holder.send_signal(death)
    holder.wait()
    with writing(tmp_path / "index", wait=False, reporter=Silence()):
        assert f"process {os.getpid()} " in (tmp_path / "index" / HOLDER).read_text()
    assert not (tmp_path / "index" / HOLDER).exists()


def test_the_lock_is_free_again_after_a_failure(tmp_path: Path) -> None:
    for _ in range(2):
        with (
            pytest.raises(ZeroDivisionError),
            writing(tmp_path, wait=False, reporter=Silence()),
        ):
            raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] in ([], [LOCK])


def test_a_holder_whose_name_cannot_be_written_still_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with writing(tmp_path, wait=False, reporter=Silence()):
        monkeypatch.undo()
        ran = subprocess.run(
            [sys.executable, "-c", HOLDING.replace("wait=True", "wait=False"), str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert "is being written by another process" in ran.stderr


def test_a_user_without_a_name_has_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("no entry for this user")

    monkeypatch.setattr(getpass, "getuser", nameless)
    with writing(tmp_path, wait=True, reporter=Silence()):
        assert (tmp_path / HOLDER).read_text() == f"process {os.getpid()}"


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("x")
    for place in (tmp_path / "index", tmp_path / "index" / "below"):
        with pytest.raises(EttinError), writing(place, wait=True, reporter=Silence()):
            pass
    assert (tmp_path / "index").read_text() == "x"


def test_a_folder_of_other_things_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "generations").mkdir()
    (tmp_path / "thesis.tex").write_text("x")
    with (
        pytest.raises(InvalidArgumentError, match=r"contains other files, such as thesis\.tex"),
        writing(tmp_path, wait=True, reporter=Silence()),
    ):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["generations", "thesis.tex"]


def test_what_an_interrupted_first_run_left_is_no_hindrance(tmp_path: Path) -> None:
    for name in ("generations", "work"):
        (tmp_path / name).mkdir()
    for name in (LOCK, HOLDER, ".manifest.json.x.tmp"):
        (tmp_path / name).touch()
    notices = Notices()
    with writing(tmp_path, wait=False, reporter=notices):
        pass
    assert notices.said == []


def _no_override() -> None:
    """Drop the capabilities that let a child of root write anywhere."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):
        libc.prctl(24, capability, 0, 0, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's capabilities")
def test_an_index_that_may_only_be_read_is_read_and_not_written(
    ettin: Ettin, tmp_path: Path
) -> None:
    model = word_model(tmp_path / "words")
    (tmp_path / "docs").mkdir()
    assert ettin("index", "docs", "-i", "index", "--embedder", str(model)).code == 0
    places = [tmp_path / "index", *(tmp_path / "index").rglob("*")]
    modes = [path.stat().st_mode for path in places]
    for path in places:
        path.chmod(path.stat().st_mode & 0o555)

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "ettin_cli", *words, "-i", "index"],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=_no_override if is_superuser() else None,
        )

    read, refused = run("verify"), run("index")
    for path, mode in zip(places, modes, strict=True):
        path.chmod(mode)
    assert (read.returncode, read.stdout) == (0, "index is intact: 10 files\n")
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "ettin: error: cannot write to index: Permission denied",
        "  hint: free some space or fix the permissions, then run the same command to resume",
    ]


def test_a_folder_made_for_nothing_is_removed_and_one_that_was_there_is_not(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("new", "mine"):
        with (
            pytest.raises(EttinError, match="no luck"),
            writing(tmp_path / name, wait=False, reporter=Silence()),
        ):
            (tmp_path / name / "generations").mkdir()
            raise EttinError("no luck")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_vectors_of_a_run_that_failed_are_kept_with_their_folder(tmp_path: Path) -> None:
    with writing(tmp_path / "index", wait=False, reporter=Silence()):
        (tmp_path / "index" / "work").mkdir()
    assert (tmp_path / "index" / "work").is_dir()


def test_who_waits_for_a_run_that_leaves_nothing_makes_the_folder_again(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    class Ending(Silence):
        def notice(self, message: str) -> None:
            holder.communicate("\n")
            assert not (tmp_path / "index").exists()

    with writing(tmp_path / "index", wait=True, reporter=Ending()):
        assert (tmp_path / "index" / LOCK).exists()
