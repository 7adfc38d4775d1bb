"""What a format of the corpus says of itself: its name, its suffixes and how it is read.

A format is a `DocumentReader` where a file is one document, a `TableReader` where it is many
records. Each stands in a module of its own or beside its near relations, and in a line of
`registry.py`; another package adds one through an entry point of the group `ettin.readers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ettin_cli.corpus.records import RecordError
from ettin_cli.records import Document

# A plugin's reader raises it for a file that holds no document.
from ettin_cli.storage import UnreadableError as UnreadableError

# A record or the reason why it is none, its line in the file (None where the format has no
# lines), and its number, from 1.
Row = tuple[object | RecordError, int | None, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReader:
    """A format whose files are one document each.

    Args:
        name: What people call it, as in "PDF".
        suffixes: Of its files, in lower case: (".pdf",). Those of another package are the names
            of its entry points instead.
        read: Returns the document in a file of this path, under this doc_id; raises
            `UnreadableError` with the reason where there is none.
        file_names: Whole names of such files, in lower case, whatever their suffix.
        compressed: Whether `read` also takes files with .gz or .zst behind the suffix.
        title_suffices: Whether a title without a text is a document.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    read: Callable[[Path, str], Document]
    file_names: frozenset[str] = frozenset()
    compressed: bool = False
    title_suffices: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReader:
    """A format whose files are many records each.

    Args:
        name: What people call it, as in "Parquet".
        suffixes: As of a `DocumentReader`.
        rows: Yields the rows of a file as they are read, those that are broken as a
            `RecordError`; raises `UnreadableError` where the rest cannot be read.
        named_rows: Yields those of a file that lacks the names of its columns, by these names;
            None where the format cannot lack them.
        lines: Whether rows have lines in the file.
        count: Returns how many rows a file has, where that is cheap to know; 0 if it is not known.
        compressed: As of a `DocumentReader`.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    rows: Callable[[Path], Iterator[Row]]
    named_rows: Callable[[Path, Sequence[str]], Iterator[Row]] | None = None
    lines: bool = False
    count: Callable[[Path], int] | None = None
    compressed: bool = False

    def table(self, path: Path, columns: Sequence[str] = ()) -> Iterator[Row]:
        """Yield the rows of a file, where columns are given and can be by these names.

        Raises:
            UnreadableError: The file, or the rest of it, cannot be read.
        """
        if columns and self.named_rows:
            return self.named_rows(path, columns)
        return self.rows(path)


Reader = DocumentReader | TableReader
