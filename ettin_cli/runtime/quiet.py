"""Whether the progress bars and messages of torch's libraries are suppressed.

That is a setting of the process, so the program that owns it decides: the `ettin` command
suppresses them at startup, and a program that uses this package may or may not.
"""

from __future__ import annotations


class _Asked:
    """Whether suppression was requested."""

    yet = False


def quieten() -> None:
    """Suppress the libraries' own progress bars and messages from now on.

    Takes effect when torch next loads a model, since these libraries take long to import.
    """
    _Asked.yet = True


def is_quiet() -> bool:
    """Return whether suppression was requested."""
    return _Asked.yet
