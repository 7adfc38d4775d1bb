"""Single key presses from a terminal, without Enter or echo."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

READ_AT_ONCE = 64
END = {"\x03", "\x04", ""}

Ask = Callable[[Callable[[], None]], str]


@contextmanager
def keyboard() -> Iterator[Ask]:
    r"""Yield a function that shows a screen by calling its argument, and returns the key pressed.

    Ctrl-C, Ctrl-D and the end of input arrive as the keys in END, so nothing is interrupted
    halfway. A key of several characters, such as an arrow, arrives as "\x1b". Keys pressed before
    the screen is shown are dropped. The screen is shown again when the terminal is resized.
    """
    if sys.platform == "win32":
        yield _ask_windows
        return
    import termios

    stdin = sys.stdin.fileno()
    original, ours = termios.tcgetattr(stdin), termios.tcgetattr(stdin)
    ours[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
    ours[6][termios.VMIN], ours[6][termios.VTIME] = 1, 0

    def ask(show: Callable[[], None]) -> str:
        termios.tcflush(stdin, termios.TCIFLUSH)
        with _changes_of_size() as changed:
            while True:
                show()
                # A resize before the wait ends it at once, so none is missed.
                ready = select.select([stdin, changed], [], [])[0]
                if stdin in ready:
                    return os.read(stdin, READ_AT_ONCE).decode("utf-8", "replace")[:1]
                os.read(changed, READ_AT_ONCE)

    try:
        termios.tcsetattr(stdin, termios.TCSAFLUSH, ours)
        yield ask
    finally:
        termios.tcsetattr(stdin, termios.TCSAFLUSH, original)


@contextmanager
def _changes_of_size() -> Iterator[int]:
    """Yield a descriptor that becomes readable when the terminal is resized."""
    changed, woken = os.pipe()
    os.set_blocking(woken, False)
    before = signal.signal(signal.SIGWINCH, lambda *_: None)
    wakeup = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    try:
        yield changed
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGWINCH, before)
        os.close(changed)
        os.close(woken)


def _ask_windows(show: Callable[[], None]) -> str:
    from typer import getchar

    show()
    try:
        return getchar()[:1]
    except (KeyboardInterrupt, EOFError):
        return ""
