"""The passages of an index in shards, before they are embedded: a draft for each shard.

An update keeps what a shard has: files that did not change stay in their shards, and a new file
joins the shard of the file before it. Drafts that are as their shards are need not be built.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.index import (
    FileEntry,
    Index,
    IntactParts,
    Manifest,
    Passages,
    PassageWriter,
    Shared,
    joined_entry,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from ettin_cli.indexing.reading import Cut

# Passages of a shard at most, but for one document.
MOST_PASSAGES = 1 << 23


class OldShards:
    """The shards of an index that an update can take rows from.

    Args:
        manifest: That of the index.
        shards: Each opened, or its intact parts, or None if nothing of it can be read.
        shared: What they were made with, except what is damaged.
    """

    def __init__(
        self,
        manifest: Manifest,
        shards: Sequence[Index | IntactParts | None],
        shared: Shared,
    ) -> None:
        self.manifest, self.shards, self.shared = manifest, shards, shared
        # The parts of each file, by the number of its source and its name: shards and entries.
        self.parts: dict[tuple[int, str], list[tuple[int, FileEntry]]] = {}
        # The shards of which every file must be read.
        self.unread: set[int] = set()
        lost: set[tuple[int, str]] = set()
        for number, shard in enumerate(shards):
            entries = _entries(shard)
            if not entries or shard is None or shard.passages is None:
                self.unread.add(number)
            for entry in entries:
                self.parts.setdefault((entry.source, entry.name), []).append((number, entry))
                if number in self.unread:
                    lost.add((entry.source, entry.name))
            if not entries:
                # A file at the border of what is lost may have had a part there.
                lost |= {_key(one) for one in self._beside(number)}
        self.lost_stream = self._keep_stream(lost)
        self.files = [
            joined_entry([entry for _, entry in parts])
            for key, parts in self.parts.items()
            if key not in lost
        ]

    def close(self) -> None:
        """Release the files of the shards that were opened."""
        for shard in self.shards:
            if isinstance(shard, Index):
                shard.close()

    def _keep_stream(self, lost: set[tuple[int, str]]) -> bool:
        """Keep the parts that can be read of a stream, as it cannot be read again.

        Returns:
            Whether it had other parts.
        """
        streams = [key for key in lost if not self.parts[key][0][1].path]
        for key in streams:
            kept = [part for part in self.parts[key] if part[0] not in self.unread]
            if kept:
                self.parts[key] = kept
                lost.remove(key)
        return bool(streams)

    @property
    def complete(self) -> bool:
        """Whether the rows and the files of every shard can be read."""
        return all(
            shard is not None
            and shard.passages is not None
            and (isinstance(shard, Index) or shard.knows_files)
            for shard in self.shards
        )

    def _beside(self, number: int) -> Iterable[FileEntry]:
        if number:
            yield from _entries(self.shards[number - 1])[-1:]
        if number + 1 < len(self.shards):
            yield from _entries(self.shards[number + 1])[:1]

    def rows(self, entry: FileEntry) -> Sequence[pa.Table] | None:
        """Return the rows of an unchanged file, a table for each shard that has a part of it."""
        tables = []
        for number, part in self.parts[_key(entry)]:
            shard = self.shards[number]
            assert shard is not None and shard.passages is not None
            tables.append(shard.passages.table.slice(part.first, part.passages))
        return tables

    def borders(self, entry: FileEntry | None) -> Mapping[str | None, int]:
        """Return the shards that a file was in, each by the id of the file's first document there.

        The first shard is that of None.
        """
        parts = self.parts.get(_key(entry), []) if entry else []
        found: dict[str | None, int] = {}
        for at, (number, part) in enumerate(parts):
            if at == 0:
                found[None] = number
                continue
            shard = self.shards[number]
            if shard is not None and shard.passages is not None:
                found[shard.passages.column("doc_id", [part.first])[0]] = number
        return found


def _entries(shard: Index | IntactParts | None) -> Sequence[FileEntry]:
    if shard is None or (isinstance(shard, IntactParts) and not shard.knows_files):
        return []
    return list(shard.files)


def _key(entry: FileEntry) -> tuple[int, str]:
    return entry.source, entry.name


@dataclass(slots=True)
class Draft:
    """The passages of a shard to be built.

    Args:
        path: Where they are written.
        old: The number of the shard that it continues; None: a new one.
    """

    path: Path
    old: int | None = None
    entries: list[FileEntry] = field(default_factory=list)
    rows: int = 0
    # Rows of passages beyond the embedder's limit, as far as they were read by this run.
    truncated: list[int] = field(default_factory=list)
    # Rows of the old shard, and the number of their file, until there is a reason to write them.
    kept: list[tuple[pa.Table, int]] = field(default_factory=list)
    writer: PassageWriter | None = None

    def add(self, passages: Iterable[Cut]) -> int:
        """Add a document to the last file; return its number of truncated passages."""
        writer, before = self.written(), len(self.truncated)
        for passage, truncated in passages:
            if truncated:
                self.truncated.append(self.rows)
            writer.add(passage, len(self.entries))
            self.rows = writer.rows
        return len(self.truncated) - before

    def copy(self, entry: FileEntry, table: pa.Table, *, same: bool) -> None:
        """Add a part of an unchanged file."""
        entry = replace(entry, first=self.rows, passages=len(table))
        if self.entries and _key(self.entries[-1]) == _key(entry):
            # The part before was in another shard.
            entry = joined_entry([self.entries.pop(), entry])
        number = len(self.entries)
        self.entries.append(entry)
        if self.writer is None and same:
            self.kept.append((table, number))
            self.rows += len(table)
        else:
            writer = self.written()
            writer.copy(table, number)
            self.rows = writer.rows

    def written(self) -> PassageWriter:
        """Return the file of the passages, with all that were kept so far."""
        if self.writer is None:
            self.writer = PassageWriter(self.path)
            for table, number in self.kept:
                self.writer.copy(table, number)
            self.kept.clear()
        return self.writer

    def is_as(self, entries: Sequence[FileEntry]) -> bool:
        """Return whether nothing but times of files differs from a shard of these files."""
        return self.writer is None and list(map(_timeless, self.entries)) == list(
            map(_timeless, entries)
        )

    def close(self) -> None:
        """Complete the file."""
        self.written().close()

    def split(self, parts: int) -> list[Draft]:
        """Cut a completed draft into parts of about equal size, between documents."""
        if parts < 2 or not self.rows:
            return [self]
        passages = Passages(self.path, self.rows)
        wanted = (round(self.rows * number / parts) for number in range(1, parts))
        cuts = sorted({0, self.rows, *(_border(passages, row) for row in wanted)})
        drafts = []
        for number, (begin, end) in enumerate(pairwise(cuts)):
            draft = Draft(self.path.with_stem(f"{self.path.stem}-{number}"), self.old)
            self._cut(draft, passages.table, begin, end)
            drafts.append(draft)
        # Windows does not remove files that are mapped.
        del passages
        self.path.unlink()
        return drafts

    def _cut(self, draft: Draft, table: pa.Table, begin: int, end: int) -> None:
        """Add the rows from `begin` to `end` to a new draft, and complete it."""
        for entry in self._entries_of(begin, end):
            last = entry.first + entry.passages
            first, after = max(entry.first, begin), min(last, end)
            part = entry
            if (first, after) != (entry.first, last):
                documents = _documents(table, first, after)
                truncated = _between(self.truncated, first, after)
                if first == entry.first:
                    # Documents without any text have no passage. Of passages that were not read by
                    # this run only the number in the file is known.
                    documents += entry.documents - _documents(table, first, last)
                    truncated += entry.truncated - _between(self.truncated, first, last)
                else:
                    part = replace(part, rejections=())
                part = replace(part, documents=documents, truncated=truncated)
            draft.copy(part, table.slice(first, after - first), same=True)
        draft.truncated = [row - begin for row in self.truncated if begin <= row < end]
        draft.close()

    def _entries_of(self, begin: int, end: int) -> Sequence[FileEntry]:
        """Return the files with rows in a range, and those without any that belong there."""
        first = bisect_left(self.entries, begin, key=_first_row)
        if first and _first_row(self.entries[first - 1]) + self.entries[first - 1].passages > begin:
            first -= 1
        after = bisect_left(self.entries, end, key=_first_row)
        return self.entries[first : len(self.entries) if end == self.rows else after]


def _first_row(entry: FileEntry) -> int:
    return entry.first


def _border(passages: Passages, row: int) -> int:
    """Return the first row from this one on that begins a document."""
    if row:
        before = passages.column("doc_id", [row - 1])
        while row < len(passages) and passages.column("doc_id", [row]) == before:
            row += 1
    return row


def _documents(table: pa.Table, begin: int, end: int) -> int:
    """Return how many documents some rows have."""
    count, last = 0, None
    for block in table.slice(begin, end - begin).column("doc_id").chunks:
        for doc_id in block.to_pylist():
            count += doc_id != last
            last = doc_id
    return count


def _between(rows: Sequence[int], begin: int, end: int) -> int:
    """Return how many of some ascending rows are in a range."""
    return bisect_left(rows, end) - bisect_left(rows, begin)


def _timeless(entry: FileEntry) -> FileEntry:
    return replace(entry, mtime_ns=0)


class Drafts:
    """Takes the passages of files into drafts, in the order of the whole index.

    Args:
        folder: Where passages are written.
        old: The shards that are updated; None: all files go into one draft.
    """

    def __init__(self, folder: Path, old: OldShards | None) -> None:
        self.folder, self.old = folder, old
        self.drafts = [Draft(folder / "0.arrow", 0 if old else None)]
        self._borders: Mapping[str | None, int] = {}
        self._first = self._documents = self._truncated = 0
        # The parts of the file being read, each in the draft with the same place in the list.
        self._parts: list[FileEntry] = []
        self._drafts: list[Draft] = []

    @property
    def current(self) -> Draft:
        """The draft that passages are added to."""
        return self.drafts[-1]

    def _move_to(self, shard: int) -> None:
        """Begin the draft that continues a later shard."""
        if shard > (self.current.old or 0):
            self.drafts.append(Draft(self.folder / f"{len(self.drafts)}.arrow", shard))

    def begin(self, before: FileEntry | None) -> None:
        """Begin a file that is read; `before` is its entry in the old shards, if any."""
        self._borders = self.old.borders(before) if self.old else {}
        self._parts, self._drafts = [], []
        self._move_to(self._borders.get(None, 0))
        if self.old and before is None and self._precedes_unread(self.old):
            self._move_to((self.current.old or 0) + 1)
        self._first, self._documents, self._truncated = self.current.rows, 0, 0

    def _precedes_unread(self, old: OldShards) -> bool:
        """Return whether the next file is probably of a shard of which all files are read."""
        shard = self.current.old or 0
        complete = len(self.current.entries) >= len(_entries(old.shards[shard]))
        return complete and shard + 1 in old.unread

    def add(self, doc_id: str, passages: Iterable[Cut]) -> None:
        """Take a document of the file that was begun."""
        shard = self._borders.get(doc_id, 0)
        if shard > (self.current.old or 0):
            if self.current.rows > self._first:
                self._end_part()
            self._move_to(shard)
            self._first = self.current.rows
        self._truncated += self.current.add(passages)
        self._documents += 1

    def _end_part(self) -> None:
        """Note the part of a file that ends in this draft; its entry follows with the file."""
        part = FileEntry(
            *(0, "", "", 0, 0, ""),
            first=self._first,
            passages=self.current.rows - self._first,
            documents=self._documents,
            truncated=self._truncated,
        )
        self.current.entries.append(part)
        self._parts.append(part)
        self._drafts.append(self.current)
        self._documents = self._truncated = 0

    def end(self, entry: FileEntry) -> None:
        """End the file that was begun."""
        self._end_part()
        for number, (draft, part) in enumerate(zip(self._drafts, self._parts, strict=True)):
            # A file is the last of each draft that it continues beyond.
            draft.entries[-1] = replace(
                entry,
                first=part.first,
                passages=part.passages,
                documents=part.documents,
                truncated=part.truncated,
                rejections=() if number else entry.rejections,
            )

    def copy(
        self, entry: FileEntry, before: FileEntry, tables: Sequence[pa.Table], *, same: bool
    ) -> None:
        """Take an unchanged file, each part into the draft that continues its shard."""
        assert self.old is not None
        parts = self.old.parts[_key(before)]
        for (shard, part), table in zip(parts, tables, strict=True):
            self._move_to(shard)
            present = replace(part, source=entry.source, mtime_ns=entry.mtime_ns)
            self.current.copy(present, table, same=same)
