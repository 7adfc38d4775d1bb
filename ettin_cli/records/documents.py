"""What is indexed: documents, their passages, and inputs that could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

DocumentKind = Literal["prose", "markdown", "rst", "code"]


Metadata = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    r"""A unit of the corpus, as a reader found it.

    Args:
        doc_id: Unique within its source.
        text: What is searched; line breaks are "\n".
        title: Shown with a hit and embedded before the text; empty if there is none.
        metadata: Every other field of a record, as JSON values.
        kind: Which boundaries the text may be cut on.
        lines: For each line of `text`, its 1-based line in the source file. One entry alone
            holds for the whole text, as in a table of one record a line; none means that
            lines of the source are not known, as in a PDF.
        pages: Likewise for each line of `text`, its 1-based page; empty if not paged.
    """

    doc_id: str
    text: str
    title: str = ""
    metadata: Metadata = field(default_factory=dict)
    kind: DocumentKind = "prose"
    lines: Sequence[int] = ()
    pages: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: what is embedded, retrieved and scored.

    `start_line`, `end_line` and `page` are 1-based places in the source file, None where the
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
        """What a model reads: the title, unless the text opens with it, then the text."""
        if not self.title or self.text.lstrip("#= \n").startswith(self.title):
            return self.text
        return f"{self.title} {self.text}"


@dataclass(frozen=True, slots=True)
class Rejection:
    """An input that could not be read, where it is and why.

    Args:
        missing: What a record lacks under all of its usual names: query, documents or text.
    """

    path: str
    reason: str
    line: int | None = None
    missing: str | None = None

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.reason}"
