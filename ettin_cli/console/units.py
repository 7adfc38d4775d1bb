"""Formatting of counts, sizes, rates and times."""

import os

from ettin_cli import platforms

_BYTES = 1000


def making_folder(folder: str | os.PathLike[str]) -> str:
    """Return the command that makes a folder and its missing parents."""
    option = "" if platforms.WINDOWS else "-p "
    return f"mkdir {option}{platforms.quoted(os.fspath(folder))}"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun, in the singular or plural.

    >>> count(1, "hit"), count(1200, "hit"), count(2, "query", "queries")
    ('1 hit', '1,200 hits', '2 queries')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def size(number: float) -> str:
    """Return a number of bytes with three digits, in decimal units.

    >>> size(0), size(999), size(74_600), size(4_125_069_308)
    ('0 B', '999 B', '74.6 kB', '4.13 GB')
    """
    unit = "B"
    for larger in ("kB", "MB", "GB"):
        if number < _BYTES:
            break
        number, unit = number / _BYTES, larger
    decimals = 0 if unit == "B" or number >= 100 else 1 if number >= 10 else 2
    return f"{number:,.{decimals}f} {unit}"


def rate(number: float) -> str:
    """Return a rate per second, with one decimal below 10.

    >>> rate(0.72), rate(7517.3)
    ('0.7/s', '7,517/s')
    """
    return f"{number:,.1f}/s" if number < 10 else f"{number:,.0f}/s"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours.

    >>> duration(6.2), duration(200), duration(9000)
    ('6 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"
