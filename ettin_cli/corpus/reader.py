"""The description of a corpus format: its name, its suffixes and its reader.

A format is a `DocumentReader` if a file is one document, a `TableReader` if it has many records,
or a `CollectionReader` if it has many documents. Each is defined in its own module or with related
formats, and listed in `registry.py`. Other packages add formats through entry points of the group
`ettin.readers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.corpus.records import RecordError
from ettin_cli.records import Document

# Raised by a plugin's reader for a file without a document.
from ettin_cli.storage import UnreadableError as UnreadableError

if TYPE_CHECKING:
    from ettin_cli.corpus.ocr import Ocr

# A record or the reason why it is invalid; its line (None if the format has no lines); and its
# number, from 1.
Row = tuple[object | RecordError, int | None, int]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document of a file that cannot be read: the reason, and the line on which it begins."""

    reason: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReader:
    """A format with one document per file.

    Args:
        name: Its common name, such as "PDF".
        suffixes: File suffixes in lower case: (".pdf",). For plugins, the names of their entry
            points are used instead.
        read: Returns the document of the file at a path, with the given doc_id; raises
            `UnreadableError` with the reason if there is none.
        file_names: Complete file names in lower case, regardless of suffix.
        compressed: Whether `read` also accepts files with an additional .gz or .zst suffix.
        title_suffices: Whether a title without text is a document.
        read_main: Returns the document without boilerplate, and the number of lines left out;
            None if the format has none.
        read_scans: Returns the document with the text recognised in its pictures; None if it is
            not looked for.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    read: Callable[[Path, str], Document]
    file_names: frozenset[str] = frozenset()
    compressed: bool = False
    title_suffices: bool = False
    read_main: Callable[[Path, str], tuple[Document, int]] | None = None
    read_scans: Callable[[Path, str, Ocr], Document] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReader:
    """A format with many records per file.

    Args:
        name: Its common name, such as "Parquet".
        suffixes: As in `DocumentReader`.
        rows: Yields the rows of a file as they are read, and a `RecordError` for each invalid
            one; raises `UnreadableError` if the rest cannot be read.
        named_rows: Yields the rows of a file without column names, by the given names; None if
            files of the format always have names.
        lines: Whether rows have line numbers.
        count: Returns the number of rows of a file if that is cheap; 0 if unknown.
        compressed: As in `DocumentReader`.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    rows: Callable[[Path], Iterator[Row]]
    named_rows: Callable[[Path, Sequence[str]], Iterator[Row]] | None = None
    lines: bool = False
    count: Callable[[Path], int] | None = None
    compressed: bool = False

    def table(self, path: Path, columns: Sequence[str] = ()) -> Iterator[Row]:
        """Yield the rows of a file, by the given column names if the format supports them.

        Raises:
            UnreadableError: The file, or the rest of it, cannot be read.
        """
        if columns and self.named_rows:
            return self.named_rows(path, columns)
        return self.rows(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionReader:
    """A format with many documents per file that are not records, such as messages.

    Args:
        name: Its common name, such as "mbox".
        suffixes: As in `DocumentReader`.
        read: Yields the documents of the file at a path with the given name, each with a doc_id
            that begins with the name, or a `Rejected` for one that cannot be read; raises
            `UnreadableError` if the rest cannot be read.
        file_names: As in `DocumentReader`.
        compressed: As in `DocumentReader`.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    read: Callable[[Path, str], Iterator[Document | Rejected]]
    file_names: frozenset[str] = frozenset()
    compressed: bool = False


Reader = DocumentReader | TableReader | CollectionReader
