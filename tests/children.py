"""Command lines run in forked children that tests kill; a fork takes milliseconds."""

import os
import signal
import threading
import time
import traceback

from tests.replay import run

SIGNALS = {signal.SIGINT, signal.SIGTERM}
# Exit codes of a child interrupted before its command line began, and of one that failed.
EARLY, CRASHED = 98, 99
PATIENCE = 0.0005
STDERR = 2


def forked(words: list[str]) -> int:
    """Run a command line in a child; return its process id.

    A failed child's message, or the traceback of a crashed one, goes to stderr.
    """
    # A lock held by another thread would stay locked in the child.
    assert threading.active_count() == 1
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return child
    try:
        # A process started in the background ignores SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code, said = run(*words)
        if code in (1, 2):
            os.write(STDERR, said.encode())
        os._exit(code)
    except KeyboardInterrupt:
        os._exit(EARLY)
    except SystemExit as end:
        os._exit(int(end.code or 0))
    except BaseException:
        os.write(STDERR, traceback.format_exc().encode())
    finally:
        os._exit(CRASHED)


def ended(child: int, seconds: float) -> int | None:
    """Wait for a child; return its exit code, or None if it is still running."""
    until = time.perf_counter() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.perf_counter() >= until:
            return None
        time.sleep(PATIENCE)
