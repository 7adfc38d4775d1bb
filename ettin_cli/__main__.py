"""Run `python -m ettin_cli` as `ettin`."""

import signal
import sys
from contextlib import suppress

from ettin_cli.errors import INTERRUPTED


def main() -> None:
    """Run `ettin` in a process of its own, where Ctrl-C never shows a traceback."""
    try:
        from ettin_cli.cli import main as run

        run()
    except KeyboardInterrupt:
        # It has not begun to run.
        with suppress(OSError, AttributeError):
            sys.stderr.write("ettin: interrupted\n")
        raise SystemExit(INTERRUPTED) from None
    finally:
        # What is left is the end of the interpreter, which would tell of an exception it ignores.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
