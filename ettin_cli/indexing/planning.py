"""Compare sources with an index: which files are new, changed, unchanged or gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Protocol

from ettin_cli.corpus import (
    ALWAYS,
    BINARY,
    NEEDS_OCR,
    NEVER,
    NO_TEXT_LAYER,
    Listing,
    Source,
    SourceFile,
    is_encodable,
    is_picture,
    list_files,
    ocr_installed,
    open_source,
)
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.index import FileEntry, Manifest, RecordedSource, is_unchanged, portable
from ettin_cli.platforms import on_disk, true_case
from ettin_cli.records import Rejection
from ettin_cli.settings import AUTO
from ettin_cli.storage import STREAM, Stream


class Before(Protocol):
    """What a plan needs of an index: its manifest and its source files."""

    @property
    def manifest(self) -> Manifest:
        """The manifest."""
        ...

    @property
    def files(self) -> Iterable[FileEntry]:
        """The entries of the files that need not be read if they did not change."""
        ...


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to index.

    Args:
        same: Its old entry, if its content is unchanged.
        before: Its old entry, if it has one.
    """

    source: int
    file: SourceFile
    same: FileEntry | None
    before: FileEntry | None


@dataclass(slots=True)
class IndexPlan:
    """What a run has to do; files are in the order of their passages in the index."""

    files: list[PlannedFile] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    binary: Counter[str] = field(default_factory=Counter)
    rejections: list[Rejection] = field(default_factory=list)
    kept: list[FileEntry] = field(default_factory=list)

    @property
    def new(self) -> list[str]:
        """Names of the files not yet in the index."""
        return [planned.file.name for planned in self.files if planned.before is None]

    @property
    def changed(self) -> list[str]:
        """Names of the files whose content changed."""
        return [p.file.name for p in self.files if p.before and p.same is None]

    @property
    def unchanged(self) -> int:
        """The number of unchanged files."""
        return sum(planned.same is not None for planned in self.files)

    @property
    def up_to_date(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.new or self.changed or self.gone)


def record_source(text: str | Stream, folder: Path, template: RecordedSource) -> RecordedSource:
    """Return a source as the manifest records it, with the options of `template`.

    Raises:
        CorpusError: The source cannot be read, or its path is not UTF-8.
    """
    from dataclasses import replace

    source = open_source(text)
    location = portable(source.location, base_of(folder)) if source.location else STREAM
    if not is_encodable(location):
        raise CorpusError(
            f"cannot index {text}: its path is not UTF-8", code="path-not-utf8", path=text
        )
    return replace(template, location=location)


def base_of(folder: Path) -> Path:
    """Return the folder that relative locations in an index are relative to."""
    return _resolved(folder).parent


def _resolved(folder: Path) -> Path:
    return true_case(folder.resolve())


def make_plan(
    folder: Path,
    recorded: Sequence[RecordedSource],
    old: Before | None,
    *,
    stream: Stream | None = None,
    reread: bool = False,
) -> IndexPlan:
    """Return a plan from comparing each source file with its entry in the old generation.

    Args:
        reread: Whether unchanged files are read again too.

    Raises:
        CorpusError: A source no longer exists.
        InvalidArgumentError: Records of an earlier stream would have to be read again.
    """
    plan = IndexPlan()
    before = _entries(old)
    # The index may lie inside one of its sources.
    inside = _resolved(folder)
    for number, record in enumerate(recorded):
        if record.location == STREAM and stream is None and old is None:
            raise InvalidArgumentError(
                f"{folder} has records from standard input, which cannot be read again",
                code="stream-not-repeatable",
                folder=folder,
            )
        source = _opened(record, folder, stream)
        plan.sources.append(source)
        listing = list_files(
            source,
            record.include,
            record.exclude,
            inside,
            all_text=record.all_text,
            pictures=record.ocr != NEVER,
        )
        _leave_out_pictures(record, listing, before)
        plan.skipped.update(listing.skipped)
        plan.unknown.update(listing.unknown)
        plan.binary.update(listing.binary)
        plan.rejections += listing.rejections
        listing.files = [f for f in listing.files if not (f.path and inside in f.path.parents)]
        _compare(plan, number, record, listing, before, again=stream is not None, reread=reread)
    plan.gone = [entry.name for entry in before.values()]
    return plan


def out_of_date(folder: Path, index: Before) -> IndexPlan:
    """Return what changed since an index was built; files of a missing source count as gone."""
    there = [record for record in index.manifest.sources if is_there(record, folder)]
    return make_plan(folder, there, index)


def is_there(record: RecordedSource, folder: Path) -> bool:
    """Return whether a recorded source can still be opened."""
    try:
        _opened(record, folder)
    except CorpusError:
        return False
    return True


def _opened(record: RecordedSource, folder: Path, stream: Stream | None = None) -> Source:
    if record.location == STREAM:
        return Source(None, "stream", stream)
    location = on_disk(base_of(folder) / record.location)
    try:
        return open_source(str(location))
    except CorpusError as error:
        if not isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
            raise
        raise CorpusError(
            f"source {location} no longer exists",
            code="source-gone",
            folder=folder,
            source=location,
        ) from error


def _entries(old: Before | None) -> dict[tuple[RecordedSource, str], FileEntry]:
    if old is None:
        return {}
    sources = old.manifest.sources
    return {(sources[entry.source], entry.name): entry for entry in old.files}


def _compare(
    plan: IndexPlan,
    number: int,
    record: RecordedSource,
    listing: Listing,
    before: dict[tuple[RecordedSource, str], FileEntry],
    *,
    again: bool,
    reread: bool,
) -> None:
    """Plan the listed files and remove their entries from `before`; what remains is gone.

    Args:
        again: Whether there is a new stream to read.
        reread: Whether unchanged files are read again too.
    """
    for file in listing.files:
        entry = before.pop((record, file.name), None)
        same = None
        if entry is not None:
            fresh = not again
            if file.path is not None:
                fresh = _is_same(record, entry, file.path, reread=reread)
            same = entry if fresh else None
        plan.files.append(PlannedFile(number, file, same, entry))


def _leave_out_pictures(
    record: RecordedSource,
    listing: Listing,
    before: Mapping[tuple[RecordedSource, str], FileEntry],
) -> None:
    """Count the new pictures instead of listing them if their text cannot be recognised.

    Those in the index stay there until they change.
    """
    if record.ocr == ALWAYS or ocr_installed():
        return
    files, listing.files = listing.files, []
    for file in files:
        if file.in_folder and is_picture(file.name) and (record, file.name) not in before:
            listing.skipped[BINARY] += 1
            listing.binary[PurePath(file.name.lower()).suffix] += 1
        else:
            listing.files.append(file)


def _is_same(record: RecordedSource, entry: FileEntry, path: Path, *, reread: bool) -> bool:
    return not reread and is_unchanged(entry, path) and not _is_recognizable(record, entry)


def _is_recognizable(record: RecordedSource, entry: FileEntry) -> bool:
    """Return whether a file has pages that could not be recognised before, but can be now."""
    # Earlier versions have only the rejection.
    missed = any(rejection.reason == NO_TEXT_LAYER for rejection in entry.rejections)
    missed |= entry.skipped == NEEDS_OCR
    # Asked last, as it searches the folders of packages.
    return missed and record.ocr == AUTO and ocr_installed()
