"""The other side of a separate process: it answers requests one after another, within limits.

A request is a line of JSON on stdin. The answer is lines of JSON, of which the last is an object.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

# Exit codes of a process: a request took too long (by faulthandler), or failed unexpectedly.
TOO_LONG, FAILED = 1, 70


def serve(answers: Callable[[Any], Iterable[Any]], memory: int, *, each: bool = False) -> None:
    """Answer requests until the input ends.

    Args:
        answers: Returns the lines of the answer to a request, which has its time in `seconds`.
        memory: Memory limit of the process in bytes.
        each: Whether each line has this time, and is sent at once.
    """
    # Ctrl-C is handled by the parent, which stops this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _bound(memory)
    with os.fdopen(os.dup(1), "wb") as out, Path(os.devnull).open("wb") as nowhere:
        # Libraries may print messages.
        os.dup2(nowhere.fileno(), 1)
        for line in sys.stdin.buffer:
            request = json.loads(line)
            seconds = request["seconds"]
            faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
            try:
                for answer in answers(request):
                    out.write(json.dumps(answer).encode() + b"\n")
                    if each:
                        out.flush()
                        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
            except Exception:
                # Its state is unknown; the parent starts another process.
                sys.exit(FAILED)
            out.flush()
            faulthandler.cancel_dump_traceback_later()


def _bound(memory: int) -> None:
    """Limit the memory of this process, if the system can, and disable core dumps."""
    try:
        import resource
    except ImportError:
        return
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (most, resource.getrlimit(what)[1]))
