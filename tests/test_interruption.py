"""A signal ends a command as documented wherever it strikes, even if its exception is lost.

Each is sent from within the work, so that it strikes at the same point every time.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from ettin_cli.errors import EttinError
from ettin_cli.runtime import interruption
from tests.conftest import Ettin
from tests.indexes import Builder
from tests.test_signals import GOES_ON, SIGNALS

LOCK = threading.Lock()
# Far longer than a signal takes to arrive; ends a failing test.
PATIENCE_S = 30


def became(other: Exception) -> Callable[[signal.Signals], None]:
    """Return a callback that is struck, in a library that replaces the exception."""

    def callback(number: signal.Signals) -> None:
        try:
            signal.raise_signal(number)
        except BaseException:
            raise other from None

    return callback


def in_a_finalizer(number: signal.Signals) -> None:
    """Strike where the exception is swallowed, and continue."""

    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(number)

    Finalized()
    threading.Event().wait(PATIENCE_S)


def in_a_callback_of_a_weak_reference(number: signal.Signals) -> None:
    """Strike at another point where the exception is swallowed."""

    class Referred:
        pass

    referred = Referred()
    reference = weakref.ref(referred, lambda _: signal.raise_signal(number))
    del referred
    threading.Event().wait(PATIENCE_S)
    del reference


def taking_a_lock(number: signal.Signals) -> None:
    """Strike where a lock is acquired, which would not be released since it was never entered."""

    class Guard:
        def __enter__(self) -> None:
            LOCK.acquire()
            signal.raise_signal(number)

        def __exit__(self, *_: object) -> None:
            LOCK.release()

    with Guard():
        threading.Event().wait(PATIENCE_S)


PLACES = {
    "an error of ours": became(EttinError("the index is damaged")),
    "an error of the system": became(OSError(5, "Input/output error")),
    "a library's error": became(RuntimeError("the callback failed")),
    "an import that failed": became(ImportError("cannot import name")),
    "no error at all": became(SystemError("error return without exception set")),
    "a finalizer": in_a_finalizer,
    "a weak reference": in_a_callback_of_a_weak_reference,
    "a lock": taking_a_lock,
}


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
@pytest.mark.parametrize("place", PLACES)
def test_a_resumable_command_reports_how_to_resume_whatever_the_signal_became(
    ettin: Ettin,
    build: Builder,
    docs: Path,
    place: str,
    number: signal.Signals,
    code: int,
    said: str,
) -> None:
    words = ["index", docs.name, "-i", "i", "--embedder", str(build.model)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ettin_cli.indexing.reading.read_file", struck_by(number, place))
        ran = ettin(*words)
    assert (ran.code, ran.out, ran.err) == (code, "", f"ettin: {said}; {GOES_ON}\n")
    assert not LOCK.locked()
    assert ettin(*words).code == 0


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
@pytest.mark.parametrize("place", PLACES)
def test_any_other_command_ends_with_the_signals_code(
    inside: Ettin, place: str, number: signal.Signals, code: int, said: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ettin_cli.commands.search.find_index", struck_by(number, place))
        ran = inside("search", "ferry", "-r", "none")
    err = "ettin: interrupted\n" if code == 130 else ""
    assert (ran.code, ran.out, ran.err) == (code, "", err)
    assert not LOCK.locked()


def struck_by(number: signal.Signals, place: str) -> Callable[..., None]:
    return lambda *_, **__: PLACES[place](number)


def test_what_the_signal_became_is_shown_where_that_is_asked_for(
    inside: Ettin, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ETTIN_DEBUG", "1")
    monkeypatch.setattr(
        "ettin_cli.commands.search.find_index",
        struck_by(signal.SIGINT, "a library's error"),
    )
    monkeypatch.setattr(sys, "argv", ["ettin", "search", "ferry", "-r", "none"])
    from ettin_cli.cli import main

    with pytest.raises(SystemExit) as end:
        main()
    err = capfd.readouterr().err
    assert end.value.code == 130
    assert err.startswith("Traceback")
    assert err.endswith("RuntimeError: the callback failed\nettin: interrupted\n")


def hits(out: str) -> object:
    return json.loads(out)["hits"]


def test_a_signal_after_the_work_is_done_changes_nothing(
    inside: Ettin, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = inside("search", "ferry", "-r", "none")

    # The signal is remembered, and its exception was lost.
    def swallowed(*_: object) -> None:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("ettin_cli.console.Console.summary", swallowed, raising=False)
    ran = inside("search", "ferry", "-r", "none")
    assert (ran.code, hits(ran.out)) == (0, hits(calm.out))


def test_the_handlers_are_those_of_before_when_a_command_has_ended(inside: Ettin) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    hook = sys.unraisablehook
    assert inside("info").code == 0
    assert [signal.getsignal(number) for number in numbers] == before
    assert sys.unraisablehook is hook


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption.heeded():
            signal.raise_signal(signal.SIGINT)
            assert interruption.struck() is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_second_signal_does_not_wait() -> None:
    seen = []

    class Guard:
        def __enter__(self) -> None:
            signal.raise_signal(signal.SIGINT)
            seen.append("the first waits")
            signal.raise_signal(signal.SIGINT)
            seen.append("the second does too")

        def __exit__(self, *_: object) -> None:
            pass

    with interruption.heeded():
        with pytest.raises(KeyboardInterrupt), Guard():
            seen.append("entered")
        # No signal strikes during cleanup.
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert seen == ["the first waits"]


# A module whose initialisation in C aborts the process when interrupted (pybind11).
LOADS = """
import os, signal, sys, time
sys.argv = ["ettin", "--version"]

def strike(frame, event, argument):
    if event == "call" and {place}:
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)

from ettin_cli.__main__ import main
{before}
sys.setprofile(strike)
{work}
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=2 * PATIENCE_S
    )


def test_a_library_in_c_is_loaded_before_an_interruption_ends_the_command() -> None:
    code = LOADS.format(
        place="'importlib' not in frame.f_code.co_filename and loading(frame)",
        before="""
from ettin_cli.runtime import interruption

def loading(frame):
    while frame and not frame.f_code.co_qualname.startswith("ExtensionFileLoader."):
        frame = frame.f_back
    return frame is not None
""",
        work="""
try:
    with interruption.heeded():
        import onnx
        time.sleep(30)
except KeyboardInterrupt:
    sys.exit("done" if "onnx.onnx_cpp2py_export" in sys.modules else "not loaded")
""",
    )
    ran = python(code)
    assert (ran.returncode, ran.stderr) == (1, "done\n")


def test_a_command_that_has_not_begun_is_interrupted_without_a_traceback() -> None:
    code = LOADS.format(place="'typer' in frame.f_code.co_filename", before="", work="main()")
    ran = python(code)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "ettin: interrupted\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_a_run_struck_at_any_place_leaves_the_old_index_or_the_new_one() -> None:
    root = Path(__file__).parents[1]
    ran = subprocess.run(
        [sys.executable, "benchmarks/interrupts.py", "--places", "10", "--story", "update"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE_S,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"\b10 (old|new)\b|\b\d (new|old).*\b\d (new|old)\b", ran.stdout)
