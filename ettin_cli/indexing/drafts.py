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

from ettin_cli.index import FileEntry, Index, IntactParts, Manifest, Passages, PassageWriter, Shared

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
        lost: set[tuple[int, str]] = set()
        for number, shard in enumerate(shards):
            entries = _entries(shard)
            for entry in entries:
                self.parts.setdefault((entry.source, entry.name), []).append((number, entry))
                if shard is None or shard.passages is None:
                    lost.add((entry.source, entry.name))
            if not entries:
                # A file at the border of what is lost may have had a part there.
                lost |= {_key(one) for one in self._beside(number)}
        self.files = [
            _joined([entry for _, entry in parts])
            for key, parts in self.parts.items()
            if key not in lost
        ]

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

    def first_ids(self) -> Mapping[str, int]:
        """Return the id of the first document of each shard but the first, with its number."""
        found = {}
        for number, shard in enumerate(self.shards):
            if number and shard is not None and shard.passages is not None and len(shard.passages):
                found[shard.passages.column("doc_id", [0])[0]] = number
        return found


def _entries(shard: Index | IntactParts | None) -> Sequence[FileEntry]:
    if shard is None or (isinstance(shard, IntactParts) and not shard.knows_files):
        return []
    return list(shard.files)


def _key(entry: FileEntry) -> tuple[int, str]:
    return entry.source, entry.name


def _joined(parts: Sequence[FileEntry]) -> FileEntry:
    """Return the entry of a file whose documents are in several shards."""
    return replace(
        parts[0],
        passages=sum(part.passages for part in parts),
        documents=sum(part.documents for part in parts),
        truncated=sum(part.truncated for part in parts),
        rejections=tuple(one for part in parts for one in part.rejections),
    )


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
        number = len(self.entries)
        self.entries.append(replace(entry, first=self.rows, passages=len(table)))
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
        starts = _starts(passages)
        wanted = (round(self.rows * number / parts) for number in range(1, parts))
        ends = [*starts[1:], self.rows]
        cuts = sorted({0, self.rows, *(ends[bisect_left(ends, row)] for row in wanted)})
        drafts = []
        for number, (begin, end) in enumerate(pairwise(cuts)):
            draft = Draft(self.path.with_stem(f"{self.path.stem}-{number}"), self.old)
            self._cut(draft, passages.table, starts, begin, end)
            drafts.append(draft)
        self.path.unlink()
        return drafts

    def _cut(
        self, draft: Draft, table: pa.Table, starts: Sequence[int], begin: int, end: int
    ) -> None:
        """Add the rows from `begin` to `end` to a new draft, and complete it."""
        for entry in self.entries:
            last = entry.first + entry.passages
            first, after = max(entry.first, begin), min(last, end)
            begins_here = begin <= entry.first < end or entry.first == end == self.rows
            if first >= after and not (begins_here and not entry.passages):
                continue
            documents = bisect_left(starts, after) - bisect_left(starts, first)
            truncated = self._truncated(first, after)
            if begins_here:
                # Of passages that were not read by this run only the number in the file is known.
                truncated += entry.truncated - self._truncated(entry.first, last)
            part = replace(entry, documents=documents, truncated=truncated)
            if not begins_here:
                part = replace(part, rejections=())
            if not entry.passages:
                part = entry
            draft.copy(part, table.slice(first, max(0, after - first)), same=True)
        draft.truncated = [row - begin for row in self.truncated if begin <= row < end]
        draft.close()

    def _truncated(self, begin: int, end: int) -> int:
        return bisect_left(self.truncated, end) - bisect_left(self.truncated, begin)


def _timeless(entry: FileEntry) -> FileEntry:
    return replace(entry, mtime_ns=0)


def _starts(passages: Passages) -> list[int]:
    """Return the first row of each document."""
    starts, last, row = [], None, 0
    for (block,) in passages.blocks("doc_id"):
        for doc_id in block.to_pylist():
            if doc_id != last:
                starts.append(row)
                last = doc_id
            row += 1
    return starts


class Drafts:
    """Takes the passages of files into drafts, in the order of the whole index.

    Args:
        folder: Where passages are written.
        old: The shards that are updated; None: all files go into one draft.
    """

    def __init__(self, folder: Path, old: OldShards | None) -> None:
        self.folder, self.old = folder, old
        self.first_ids = old.first_ids() if old else {}
        self.drafts = [Draft(folder / "0.arrow", 0 if old else None)]
        self._first = self._documents = self._truncated = 0
        # The parts of the file being read that are in earlier drafts.
        self._parts: list[tuple[Draft, FileEntry]] = []

    @property
    def current(self) -> Draft:
        """The draft that passages are added to."""
        return self.drafts[-1]

    def _move_to(self, shard: int) -> None:
        """Begin the draft that continues a later shard."""
        if shard > (self.current.old or 0):
            self.drafts.append(Draft(self.folder / f"{len(self.drafts)}.arrow", shard))

    def begin(self) -> None:
        """Begin a file that is read."""
        self._parts = []
        self._begin_part()

    def _begin_part(self) -> None:
        self._first, self._documents, self._truncated = self.current.rows, 0, 0

    def add(self, doc_id: str, passages: Iterable[Cut]) -> None:
        """Take a document of the file that was begun."""
        shard = self.first_ids.get(doc_id, 0)
        if shard > (self.current.old or 0):
            self._end_part()
            self._move_to(shard)
            self._begin_part()
        self._truncated += self.current.add(passages)
        self._documents += 1

    def _end_part(self) -> None:
        """Remember the part of a file that ends in this draft; its entry follows with the file."""
        part = FileEntry(
            *(0, "", "", 0, 0, ""),
            first=self._first,
            passages=self.current.rows - self._first,
            documents=self._documents,
            truncated=self._truncated,
        )
        if part.passages:
            self.current.entries.append(part)
            self._parts.append((self.current, part))

    def end(self, entry: FileEntry) -> None:
        """End the file that was begun."""
        self._end_part()
        if not self._parts:
            nothing = replace(entry, first=self.current.rows, documents=self._documents)
            self.current.entries.append(nothing)
        for number, (draft, part) in enumerate(self._parts):
            whole = entry if number == 0 else replace(entry, rejections=())
            complete = replace(
                whole,
                first=part.first,
                passages=part.passages,
                documents=part.documents,
                truncated=part.truncated,
            )
            # A file is the last of each draft that it continues beyond.
            draft.entries[-1] = complete

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
