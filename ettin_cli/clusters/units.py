"""A unit of work: a fixed range of the input, whose output is one file named by its content."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from ettin_cli.errors import EttinError
from ettin_cli.records import Reporter

# How often a unit may be begun without an end before it is given up.
MOST_STARTS = 3

# Does a unit: writes its output and its rejects, and returns counts of what it did.
Work = Callable[[Any, BinaryIO, BinaryIO], Mapping[str, int]]


class Range(Protocol):
    """A range of the input that can be pickled."""

    @property
    def rows(self) -> int:
        """Its number of rows; 0 if unknown."""
        ...

    @property
    def identity(self) -> str:
        """What determines its rows."""
        ...


@dataclass(frozen=True, slots=True)
class Unit:
    """A range of the input that is done at once.

    Args:
        number: Its number, from 0.
        digest: A hash of all that determines its output, in 16 hex digits.
        range: How its rows are read.
    """

    number: int
    digest: str
    range: Any

    @property
    def name(self) -> str:
        """The name of its output without suffix."""
        return f"part-{self.number:06d}-{self.digest}"

    def __str__(self) -> str:
        rows = self.range.rows
        return f"unit {self.number:,}" + (f" of {rows:,} rows" if rows else "")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a unit.

    Args:
        unit: Its number.
        counts: Counts of what was done, by name.
        notices: Messages for the user.
        given_up: Whether it was begun too often without an end, and is left out.
        error: Why all work has to end.
        trace: The traceback of an unexpected error.
    """

    unit: int
    counts: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    given_up: bool = False
    error: EttinError | None = None
    trace: str = ""


class Job(Protocol):
    """The work on all units; small, picklable, and loaded once by each worker."""

    def load(self, reporter: Reporter) -> tuple[Work, Mapping[str, str]]:
        """Load what the work needs.

        Returns:
            The work, and what else its results may depend on, by name: the versions of libraries
            and the kind of processor, which must be equal for all units.

        Raises:
            EttinError: It cannot be loaded here, or differs from what the driver chose.
        """
        ...


def units_of(ranges: Iterable[Range], recipe: str) -> Iterator[Unit]:
    """Yield the units of an input.

    Args:
        recipe: A hash of everything but the input that determines the output.
    """
    import xxhash

    for number, one in enumerate(ranges):
        digest = xxhash.xxh3_64_hexdigest(f"{recipe} {one.identity}".encode())
        yield Unit(number, digest, one)
