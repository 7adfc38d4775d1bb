"""Single key presses from a terminal, without Enter and without an echo."""

from __future__ import annotations

import os
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

    Ctrl-C, Ctrl-D and the end of input come as keys too, the ones in END, so nothing is
    interrupted halfway. A key of several characters, as the arrows are, comes as "\x1b".
    Keys that are pressed before the screen is there are dropped: they cannot be meant for it.
    The screen is shown again when the terminal changes its size.
    """
    if sys.platform == "win32":
        yield _ask_windows
        return
    import termios

    stdin = sys.stdin.fileno()
    found, ours = termios.tcgetattr(stdin), termios.tcgetattr(stdin)
    ours[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
    ours[6][termios.VMIN], ours[6][termios.VTIME] = 1, 0

    def ask(show: Callable[[], None]) -> str:
        termios.tcflush(stdin, termios.TCIFLUSH)
        before = signal.signal(signal.SIGWINCH, lambda *_: show())
        try:
            # A change of size waits until the screen is there, lest one is drawn into the other.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
            show()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGWINCH})
            return os.read(stdin, READ_AT_ONCE).decode("utf-8", "replace")[:1]
        finally:
            signal.signal(signal.SIGWINCH, before)

    try:
        termios.tcsetattr(stdin, termios.TCSAFLUSH, ours)
        yield ask
    finally:
        termios.tcsetattr(stdin, termios.TCSAFLUSH, found)


def _ask_windows(show: Callable[[], None]) -> str:
    from typer import getchar

    show()
    try:
        return getchar()[:1]
    except (KeyboardInterrupt, EOFError):
        return ""
