"""Ctrl-C and SIGTERM: end the work, and record the signal even if its exception is replaced.

A signal can arrive anywhere. In a library's callback its exception may be lost or replaced by a
misleading one. During the import of a library or the acquisition of a lock it would do harm. In
such places the signal is delivered again a little later.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from ettin_cli.errors import INTERRUPTED, TERMINATED

CODES = {int(signal.SIGINT): INTERRUPTED, int(signal.SIGTERM): TERMINATED}
PAUSE_S = 0.02
# Ten seconds: a lock that is never released must not block Ctrl-C.
MOST_PAUSES = 500
LOADING = ("ExtensionFileLoader.create_module", "ExtensionFileLoader.exec_module")


class _Struck:
    """The exit code of the last signal, and how often its delivery was postponed."""

    code: int | None = None
    pauses = 0


@contextmanager
def heeded() -> Iterator[None]:
    """End the block when a signal arrives, and record the signal.

    Ctrl-C stays ignored where it already is, as shells do for background jobs.
    """
    _Struck.code = None
    hook, before = sys.unraisablehook, _handlers()
    try:
        for number in before:
            signal.signal(number, _strike if number in CODES else _strike_again)
        sys.unraisablehook = partial(_lost, hook)
        yield
    finally:
        if hasattr(signal, "SIGALRM") and signal.SIGALRM in before:
            # Ignored first: a last delivery might set the timer again, and by default it kills.
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
        if before:
            _pause(0)
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def struck() -> int | None:
    """Return the exit code of the signal that arrived; None if none did."""
    return _Struck.code


def show(error: BaseException) -> None:
    """Write the traceback of the exception that a signal turned into, if that is requested."""
    if os.environ.get("ETTIN_DEBUG") == "1":
        traceback.print_exception(error)


def _handlers() -> dict[int, Any]:
    """Return the handlers of the signals replaced by `heeded`; none outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {int(signal.SIGTERM): signal.getsignal(signal.SIGTERM)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handlers[signal.SIGINT] = signal.default_int_handler
    if hasattr(signal, "setitimer"):
        handlers[signal.SIGALRM] = signal.getsignal(signal.SIGALRM)
    return handlers


def _strike(number: int, frame: FrameType | None) -> None:
    # A user who sends a second signal does not want to wait.
    _Struck.pauses = 0 if _Struck.code is None else MOST_PAUSES
    _Struck.code = CODES[number]
    _strike_again(number, frame)


def _strike_again(_number: int, frame: FrameType | None) -> None:
    if _Struck.code is None or (_is_delicate(frame) and _wait()):
        return
    _pause(0)
    if _Struck.code == INTERRUPTED:
        raise KeyboardInterrupt
    raise SystemExit(_Struck.code)


def _wait() -> bool:
    """Deliver the signal again in a moment; return whether it will be."""
    if not hasattr(signal, "setitimer") or _Struck.pauses == MOST_PAUSES:
        return False
    _Struck.pauses += 1
    _pause(PAUSE_S)
    return True


def _pause(seconds: float) -> None:
    """Deliver the signal again after so many seconds; 0 cancels it."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _is_delicate(frame: FrameType | None) -> bool:
    """Return whether an exception in this frame would be lost or do harm.

    A lock that a context manager has just acquired would never be released. A C module whose
    import fails may abort the process. Exceptions in finalizers are discarded.
    """
    if frame is None:
        return False
    code = frame.f_code
    if code.co_name in ("__enter__", "__exit__") or code.co_filename.startswith("<frozen import"):
        return True
    above: FrameType | None = frame
    while above is not None:
        if above.f_code.co_name == "__del__" or above.f_code.co_qualname in LOADING:
            return True
        above = above.f_back
    return False


def _lost(usual: Callable[[Any], object], lost: sys.UnraisableHookArgs) -> None:
    """Deliver a signal again if its exception was raised where nothing could catch it."""
    if not (_Struck.code and isinstance(lost.exc_value, (KeyboardInterrupt, SystemExit))):
        usual(lost)
    elif threading.current_thread() is threading.main_thread():
        _pause(PAUSE_S)
