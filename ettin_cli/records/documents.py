"""Documents, their passages, and inputs that could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

DocumentKind = Literal["prose", "markdown", "rst", "code"]


Metadata = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a document.

    Args:
        line: Its 0-based line in the text.
        level: 1 for the outermost.
    """

    line: int
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    r"""A unit of the corpus, as returned by a reader.

    Args:
        doc_id: Unique within its source.
        text: The text to search; line breaks are "\n".
        title: Shown with a hit and embedded before the text; empty if there is none.
        metadata: All other fields of a record, as JSON values.
        kind: Determines the boundaries on which the text may be split.
        lines: For each line of `text`, its 1-based line in the source file. A single entry
            applies to all of the text, as in a table with one record per line. Empty if
            source lines are unknown, as in a PDF.
        pages: For each line of `text`, its 1-based page; empty if the format has no pages.
        notices: What a user should know about how it was read, such as invalid bytes.
        faults: What of the file is missing or damaged, one line each; the rest is in `text`.
        headings: In order; empty: those that the kind of the text shows.
        names: Words of its path, by which BM25 finds it.
    """

    doc_id: str
    text: str
    title: str = ""
    metadata: Metadata = field(default_factory=dict)
    kind: DocumentKind = "prose"
    lines: Sequence[int] = ()
    pages: Sequence[int] = ()
    notices: Sequence[str] = ()
    faults: Sequence[str] = ()
    headings: Sequence[Heading] = ()
    names: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: the unit that is embedded, retrieved and scored.

    `start_line`, `end_line` and `page` are 1-based positions in the source file, None if the
    format has none. `path` is the source file; None for records from standard input. `headings`
    are those above the passage, outermost first, without the title and those that it begins with.
    `names` are words of its path, given with the first passage of a document.
    """

    doc_id: str
    text: str
    title: str = ""
    path: str | None = None
    start_line: int | None = None
    end_line: int | None = None
    page: int | None = None
    metadata: Metadata = field(default_factory=dict)
    headings: tuple[str, ...] = ()
    names: str = ""

    @property
    def content(self) -> str:
        """The input of a model: the title, unless the text starts with it, headings and text."""
        above = self.headings
        if self.title and not self.text.lstrip("#= \n").startswith(self.title):
            above = (self.title, *above)
        return f"{' > '.join(above)} {self.text}" if above else self.text


@dataclass(frozen=True, slots=True)
class Rejection:
    """An input that could not be read: its location and the reason.

    Args:
        missing: The field that a record lacks under all usual names: query, documents or text.
    """

    path: str
    reason: str
    line: int | None = None
    missing: str | None = None

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.reason}"
