"""Run `python -m ettin_cli` as `ettin`."""

import signal
import sys
from contextlib import suppress

from ettin_cli.errors import INTERRUPTED


def main() -> None:
    """Run `ettin` as the main program; Ctrl-C never shows a traceback."""
    try:
        from ettin_cli.client import handed_over

        code = handed_over()
        if code is not None:
            raise SystemExit(code)
        from ettin_cli.cli import main as run

        run()
    except KeyboardInterrupt:
        # Interrupted during the import.
        with suppress(OSError, AttributeError):
            sys.stderr.write("ettin: interrupted\n")
        raise SystemExit(INTERRUPTED) from None
    finally:
        # At exit the interpreter would report a KeyboardInterrupt that it ignores.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
