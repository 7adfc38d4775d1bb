"""Documents, their passages, and inputs that could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

DocumentKind = Literal["prose", "markdown", "rst", "code"]


Metadata = Mapping[str, Any]


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
    """

    doc_id: str
    text: str
    title: str = ""
    metadata: Metadata = field(default_factory=dict)
    kind: DocumentKind = "prose"
    lines: Sequence[int] = ()
    pages: Sequence[int] = ()
    notices: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: the unit that is embedded, retrieved and scored.

    `start_line`, `end_line` and `page` are 1-based positions in the source file, None if the
    format has none. `path` is the source file; None for records from standard input.
    """

    doc_id: str
    text: str
    title: str = ""
    path: str | None = None
    start_line: int | None = None
    end_line: int | None = None
    page: int | None = None
    metadata: Metadata = field(default_factory=dict)

    @property
    def content(self) -> str:
        """The input of a model: the title, unless the text starts with it, then the text."""
        if not self.title or self.text.lstrip("#= \n").startswith(self.title):
            return self.text
        return f"{self.title} {self.text}"


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
