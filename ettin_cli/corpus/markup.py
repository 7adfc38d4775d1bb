"""A document that is collected line by line, for readers of markup with headings."""

from __future__ import annotations

from typing import Any

from ettin_cli.corpus.front_matter import SEARCHED, as_text
from ettin_cli.records import Document, Heading


class Lines:
    """Collects the lines of a text in the order of the file, with headings and metadata."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.numbers: list[int] = []
        self.headings: list[Heading] = []
        self.metadata: dict[str, Any] = {}
        self.title = ""

    def add(self, text: str, number: int) -> None:
        """Add a line of the source file with its 1-based number."""
        self.texts.append(text)
        self.numbers.append(number)

    def heading(self, level: int, text: str, number: int) -> None:
        """Add a heading; the first is the title if there is no other."""
        self.headings.append(Heading(len(self.texts), level, text))
        self.add(text, number)

    def describe(self, name: str, value: str, number: int) -> None:
        """Add what the document says about itself, searchable if it describes the content."""
        if name.lower() == "title":
            self.title = self.title or value
        self.metadata[name] = value
        self.add(f"{name}: {as_text(value)}" if name.lower() in SEARCHED and value else "", number)

    def document(self, doc_id: str) -> Document:
        """Return the document."""
        first = next((heading.text for heading in self.headings), "")
        return Document(
            doc_id,
            "\n".join(self.texts),
            title=self.title or first,
            metadata=self.metadata,
            lines=self.numbers,
            headings=self.headings,
        )
