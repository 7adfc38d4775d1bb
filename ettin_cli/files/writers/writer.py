"""The interface of an output format: its name, its suffixes and how answers are written.

A format is a `TextWriter` if answers can be written one after another, or a `BinaryWriter` if the
file is made from all of them at the end. Formats are registered in `registry.py`; other packages
add them through entry points of the group `ettin.writers`.
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
    """How answers are written.

    Args:
        many: Whether there may be more than one answer.
        text: Whether hits include their text.
        tag: The run tag.
    """

    many: bool
    text: bool = True
    tag: str = RUN_NAME


class Writer(ABC):
    """An output format.

    Attributes:
        name: The value of `-f`.
        suffixes: Lower-case file suffixes by which `-o` selects it, such as (".csv",).
        is_run: Whether it writes runs: a tag, and documents by id only.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    is_run = False


class TextWriter(Writer):
    """A format that is written one answer after another, so that it can be resumed."""

    def begin(self, layout: Layout) -> bytes:
        """Return what comes before the first answer."""
        return b""

    @abstractmethod
    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return the bytes of an answer; `first` is true for the first one."""

    def end(self, layout: Layout) -> bytes:
        """Return what comes after the last answer."""
        return b""


class BinaryWriter(Writer):
    """A format whose file is made from all rows at the end, and which is not shown on a terminal.

    Until then, the rows are written (and resumed) as JSON lines.
    """

    @abstractmethod
    def write(self, rows: Iterable[dict[str, Any]], file: BinaryIO, layout: Layout) -> None:
        """Write rows of `COLUMNS`, one per hit, as they arrive."""


class DocumentWriter(TextWriter):
    """A format that holds a value of any shape, such as a complete evaluation."""

    @abstractmethod
    def document(self, value: object) -> bytes:
        """Return the bytes of a JSON value."""


class RowWriter(TextWriter):
    """A format that holds rows of any columns, such as those of an evaluation.

    Attributes:
        nested: Whether a cell may be an object or a list.
        for_people: Whether cells are formatted as in a table, with rounded numbers.
    """

    nested = False
    for_people = False

    @abstractmethod
    def rows(
        self, names: Sequence[str], rows: Iterable[Sequence[Any]], left: Collection[str] = ()
    ) -> bytes:
        """Return rows under column names; columns in `left` are left-aligned text."""
