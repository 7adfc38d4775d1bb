"""Ctrl-C and SIGTERM: remembered, whatever becomes of the exception that they raise.

A signal strikes anywhere, also in callbacks of libraries and half way through an import. There its
exception may come out as another one, which says something else than what happened, or not at all.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ettin_cli.errors import INTERRUPTED, TERMINATED

CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


class _Struck:
    """The exit code of the signal that came last, and whether its exception got lost."""

    code: int | None = None
    lost = False


@contextmanager
def heeded() -> Iterator[None]:
    """Remember a signal that comes during the block, in the main thread.

    Where Ctrl-C is ignored, as a shell does for jobs in the background, it stays so.
    """
    _Struck.code, _Struck.lost = None, False
    hook, before = sys.unraisablehook, _handlers()
    try:
        for number in before:
            signal.signal(number, _strike)
        sys.unraisablehook = _unraisable
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def struck() -> int | None:
    """Return the exit code of the signal that came; None if none did."""
    return _Struck.code


def check() -> None:
    """End here if a signal came whose exception got lost, as in a finalizer.

    Raises:
        KeyboardInterrupt: It was Ctrl-C's.
        SystemExit: It was a kill's.
    """
    if _Struck.lost and _Struck.code is not None:
        _Struck.lost = False
        _end(_Struck.code)


def show(error: BaseException) -> None:
    """Write the traceback of what a signal became, if that is asked for."""
    if os.environ.get("ETTIN_DEBUG") == "1":
        traceback.print_exception(error)


def _handlers() -> dict[signal.Signals, Any]:
    """Return what is done so far at the signals that are heeded here, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {signal.SIGTERM: signal.getsignal(signal.SIGTERM)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        found[signal.SIGINT] = signal.default_int_handler
    return found


def _strike(number: int, _frame: FrameType | None) -> None:
    _Struck.code = CODES[signal.Signals(number)]
    _end(_Struck.code)


def _end(code: int) -> None:
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    raise SystemExit(code)


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    if _Struck.code and isinstance(lost.exc_value, (KeyboardInterrupt, SystemExit)):
        _Struck.lost = True
    else:
        sys.__unraisablehook__(lost)
