"""What an output format says of itself: its name, its suffixes and how answers are written.

A format is a `TextWriter` where answers can be written one after another, a `BinaryWriter` where
the file is made of all of them. Each stands in a module of its own or beside its near relations,
and in a line of `registry.py`; another package adds one through an entry point of the group
`ettin.writers`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from ettin_cli.records import Answer

RUN_NAME = "ettin"


@dataclass(frozen=True, slots=True)
class Layout:
    """How answers are to be written.

    Args:
        many: Whether there may be more answers than one.
        text: Whether hits carry their text.
        tag: The name of a run.
    """

    many: bool
    text: bool = True
    tag: str = RUN_NAME


class Writer(ABC):
    """An output format.

    Attributes:
        name: What `-f` takes.
        suffixes: Of its files, in lower case, by which `-o` chooses it: (".csv",).
        is_run: Whether its answers are runs: a tag, and documents by nothing but their ids.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    is_run = False


class TextWriter(Writer):
    """A format that answers are written in one after another, so that it can be resumed."""

    def begin(self, layout: Layout) -> bytes:
        """Return what comes before the first answer."""
        return b""

    @abstractmethod
    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return an answer's bytes; `first` tells that no others come before it."""

    def end(self, layout: Layout) -> bytes:
        """Return what comes after the last answer."""
        return b""


class BinaryWriter(Writer):
    """A format whose file is made of all rows at the end, and which no terminal shows.

    What is written meanwhile, and resumed, are the rows as JSON lines.
    """

    @abstractmethod
    def write(self, rows: Iterable[dict[str, Any]], file: BinaryIO, layout: Layout) -> None:
        """Write rows of `COLUMNS`, one a hit, as they come."""


class DocumentWriter(TextWriter):
    """A format that holds a value of any shape, such as a whole measurement."""

    @abstractmethod
    def document(self, value: object) -> bytes:
        """Return a JSON value's bytes."""


class RowWriter(TextWriter):
    """A format that holds rows of any columns, such as those of a measurement.

    Attributes:
        nested: Whether a cell may be an object or a list.
        for_people: Whether cells are texts as a table shows them, numbers rounded.
    """

    nested = False
    for_people = False

    @abstractmethod
    def rows(
        self, names: Sequence[str], rows: Iterable[Sequence[Any]], left: Collection[str] = ()
    ) -> bytes:
        """Return rows under the names of their columns; those in `left` are words, not numbers."""
