"""Source arguments -> the files to read, in the same order on every machine."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal

from ettin_cli.corpus.ignores import Ignores, ignored, ignores_of, outer_ignores
from ettin_cli.corpus.machine_text import machine_file
from ettin_cli.corpus.pictures import is_picture
from ettin_cli.corpus.registry import COMPRESSED, is_read, known_formats
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.platforms import composed, is_file, is_junction, true_case
from ettin_cli.records import Rejection
from ettin_cli.storage import STREAM, Stream, open_regular

if TYPE_CHECKING:
    import pathspec

BEIR_NAMES = tuple(f"corpus.jsonl{packed}" for packed in ("", *COMPRESSED))
PROBE_BYTES = 8192
# The suffix of source maps, and of other files that are not read.
MAP = ".map"
BINARY = "binary"
LINKED_FOLDER = "link to a folder"
SAME_NAME = "another file has the same name with its letters composed otherwise; rename one"


@dataclass(frozen=True, slots=True)
class Source:
    """A source of documents.

    Args:
        location: Absolute; None for a stream.
        stream: JSONL that can be read only once; None if it was read by an earlier run.
    """

    location: Path | None
    kind: Literal["folder", "file", "beir", "stream"]
    stream: Stream | None = None

    @property
    def name(self) -> str:
        """Return the name of the folder or file, as `SourceFile.name`; "-" for a stream."""
        return composed(self.location.name) if self.location else STREAM


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read.

    Args:
        path: Absolute; None for a stream.
        name: Its POSIX path below the source in composed Unicode, which is the doc_id of a
            document and the same on every system.
        in_folder: Whether it was found by walking a folder.
        stream: The input, if there is no path.
        as_text: Whether it is read as text, although its suffix is unknown.
    """

    path: Path | None
    name: str
    in_folder: bool
    stream: Stream | None = None
    as_text: bool = False


@dataclass(slots=True)
class Listing:
    """The files of a source by name, the number skipped by reason, and what could not be listed.

    `unknown` counts the text files of unknown formats by suffix, `binary` the other ones.
    """

    files: list[SourceFile] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    binary: Counter[str] = field(default_factory=Counter)
    rejections: list[Rejection] = field(default_factory=list)


def open_source(text: str | Stream) -> Source:
    """Return the source at a path, or for a stream of JSONL.

    Raises:
        CorpusError: It does not exist, or cannot be read as a source.
    """
    if isinstance(text, Stream):
        return Source(None, "stream", text)
    if not text:
        raise CorpusError("a source has an empty name", code="source-not-found", source=text)
    try:
        # Before Path.resolve, which raises RuntimeError for circular links.
        mode = Path(text).stat().st_mode
        location = located(text)
        if stat.S_ISDIR(mode):
            return Source(location, "beir" if _beir_corpus(location) else "folder")
    except OSError as error:
        raise CorpusError(
            f"cannot open {text}: {error.strerror}", code="source-not-found", source=text
        ) from error
    if not stat.S_ISREG(mode):
        raise CorpusError(
            f"{text} is neither a file nor a folder", code="source-not-found", source=text
        )
    if not is_read(location.name):
        raise CorpusError(
            f"{text} has an unknown format",
            code="unknown-format",
            path=text,
            formats=known_formats(),
        )
    return Source(location, "file")


def located(text: str) -> Path:
    """Return the absolute path of a source, whether or not it exists.

    Links are followed, unless only the link's name tells the format, as in the cache of the hub.
    """
    path = Path(text)
    location = true_case(path.resolve())
    if path.suffix and not location.suffix and path.is_symlink():
        return path.parent.resolve() / path.name
    return location


def list_files(
    source: Source,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    index: Path | None = None,
    *,
    all_text: bool = False,
    pictures: bool = False,
) -> Listing:
    """List the files of a source.

    In a folder, hidden, ignored and binary files and files of unknown formats are counted, not
    listed, unless a glob of `include` ends with their suffix: then they are read as text.

    Links to files are followed; links to folders are not, since they can form loops.

    Args:
        include: Globs as in .gitignore, relative to the source; if any, a file must match one.
        exclude: Globs of files to leave out.
        index: The absolute path of a folder to leave out: the index being built.
        all_text: Whether to list lock files, source maps and minified code too.
        pictures: Whether to list pictures.

    Raises:
        InvalidArgumentError: A glob is invalid.
    """
    listing = Listing()
    if source.location is None:
        listing.files.append(SourceFile(None, STREAM, in_folder=False, stream=source.stream))
    elif source.kind == "folder":
        walk = _Walk(source.location, listing, include, exclude, index)
        walk.all_text, walk.pictures = all_text, pictures
        walk.run()
    else:
        path = _beir_corpus(source.location) or source.location
        listing.files.append(SourceFile(path, composed(path.name), in_folder=False))
    return listing


def _beir_corpus(folder: Path) -> Path | None:
    return next((folder / name for name in BEIR_NAMES if is_file(folder / name)), None)


class _Walk:
    def __init__(
        self,
        root: Path,
        listing: Listing,
        include: Sequence[str],
        exclude: Sequence[str],
        index: Path | None,
    ) -> None:
        self.all_text = self.pictures = False
        self.root, self.listing, self.index = root, listing, index
        self.include = _globs(include) if include else None
        self.asked = [suffix for glob in include if (suffix := PurePath(glob.lower()).suffix)]
        self.exclude = _globs(exclude)
        self.folders: list[tuple[Path, list[Ignores]]] = []

    def run(self) -> None:
        self.folders.append((self.root, outer_ignores(self.root, self._reject)))
        while self.folders:
            self._folder(*self.folders.pop())
        self._keep_one_of_each_name()
        self.listing.rejections.sort(key=lambda rejection: rejection.path)

    def _keep_one_of_each_name(self) -> None:
        """Sort the files, and reject those whose names differ from another's in composition only.

        Other systems cannot have both, and their ids would be the same.
        """
        kept: dict[str, SourceFile] = {}
        for file in sorted(self.listing.files, key=_composed_first):
            assert file.path
            if kept.setdefault(file.name, file) is not file:
                self._reject(file.path, SAME_NAME)
        self.listing.files = list(kept.values())

    def _folder(self, folder: Path, ignores: list[Ignores]) -> None:
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            self._reject(folder, f"cannot be listed: {error.strerror}")
            return
        ignores = [*ignores, *ignores_of(folder, self._reject)]
        for entry in entries:
            self._entry(entry, ignores)

    def _entry(self, entry: os.DirEntry[str], ignores: list[Ignores]) -> None:
        path = Path(entry.path)
        is_folder = entry.is_dir(follow_symlinks=False)
        name = composed(path.relative_to(self.root).as_posix())
        reason = self._unfit(entry, name, is_folder, ignores)
        if reason:
            self.listing.skipped[reason] += 1
        elif not is_encodable(name):
            self._reject(path, "name is not UTF-8")
        elif is_folder:
            self.folders.append((path, ignores))
        else:
            as_text = not is_read(name)
            self.listing.files.append(SourceFile(path, name, in_folder=True, as_text=as_text))

    def _unfit(
        self, entry: os.DirEntry[str], name: str, is_folder: bool, ignores: list[Ignores]
    ) -> str | None:
        """Return why a file or folder is skipped, or None if it is not."""
        path = Path(entry.path)
        if entry.name.startswith(".") and not (is_folder and _is_maildir(path)):
            return "hidden"
        if path == self.index:
            return "the index itself"
        if ignored(path, is_folder, ignores):
            return "ignored by .gitignore"
        if is_folder:
            return LINKED_FOLDER if is_junction(entry) else None
        return self._unfit_file(entry, name)

    def _unfit_file(self, entry: os.DirEntry[str], name: str) -> str | None:
        if self.exclude.match_file(name) or (self.include and not self.include.match_file(name)):
            return "excluded"
        if reason := _no_file(entry):
            return reason
        reason = machine_file(name)
        if reason and not self.all_text:
            return reason
        suffix = PurePath(name.lower()).suffix
        known = is_read(name) and not (name.lower().endswith(MAP) and reason is None)
        known = known and (self.pictures or not is_picture(name))
        if (not known or not suffix) and _looks_binary(entry.path):
            self.listing.binary[suffix] += 1
            return BINARY
        if not known and suffix not in self.asked:
            self.listing.unknown[suffix] += 1
            return "not a document"
        return None

    def _reject(self, path: Path, reason: str) -> None:
        self.listing.rejections.append(Rejection(_printable(str(path)), reason))


def _composed_first(file: SourceFile) -> tuple[str, bool]:
    assert file.path
    return file.name, not file.path.as_posix().endswith(file.name)


def _globs(patterns: Sequence[str]) -> pathspec.GitIgnoreSpec:
    import pathspec

    for pattern in patterns:
        try:
            pathspec.GitIgnoreSpec.from_lines([pattern])
        except (ValueError, re.error) as error:
            raise InvalidArgumentError(
                f"{pattern!r} is not a glob", argument="glob", value=pattern
            ) from error
    return pathspec.GitIgnoreSpec.from_lines(map(composed, patterns))


def _is_maildir(folder: Path) -> bool:
    """Return whether a folder is one of a mailbox; those below an inbox begin with a dot."""
    return all((folder / name).is_dir() for name in ("cur", "new"))


def _no_file(entry: os.DirEntry[str]) -> str | None:
    """Return the kind of an entry that is neither a file nor a link to one, else None."""
    if entry.is_file(follow_symlinks=False):
        return None
    try:
        mode = entry.stat().st_mode
    except PermissionError:
        # Reading it will fail with the reason.
        return None
    except OSError:
        return "broken link"
    if stat.S_ISDIR(mode):
        return LINKED_FOLDER
    return None if stat.S_ISREG(mode) else "not a regular file"


def _looks_binary(path: str) -> bool:
    try:
        with open_regular(Path(path)) as file:
            return b"\0" in file.read(PROBE_BYTES)
    except OSError:
        return False


def is_encodable(name: str) -> bool:
    """Return whether a name is valid Unicode; on Linux it may be any bytes."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
