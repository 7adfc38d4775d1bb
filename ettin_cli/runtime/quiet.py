"""Whether torch's libraries keep their progress bars and remarks to themselves.

That is a setting of the whole process, so it is left to the one whose process it is: `ettin`
asks for it when it starts, and a program that uses this package may or may not.
"""

from __future__ import annotations


class _Asked:
    """Whether anybody has."""

    yet = False


def quieten() -> None:
    """Keep the libraries' own progress bars and remarks off the terminal from now on.

    Takes effect when a model is next loaded by torch, since the libraries take long to import.
    """
    _Asked.yet = True


def is_quiet() -> bool:
    """Return whether somebody has asked for it."""
    return _Asked.yet
