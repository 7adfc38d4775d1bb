"""What the user names -> the files to read, in the same order on every machine."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from ettin_cli.corpus.suffixes import kind_of, known_formats
from ettin_cli.errors import CorpusError
from ettin_cli.records import Rejection

if TYPE_CHECKING:
    import pathspec

BEIR_NAMES = ("corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst")
PROBE_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Source:
    """A place where documents come from; `location` is absolute, None for standard input."""

    location: Path | None
    kind: Literal["folder", "file", "beir", "stdin"]

    @property
    def name(self) -> str:
        """Return the folder's or file's name; "-" for standard input."""
        return self.location.name if self.location else "-"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read.

    Args:
        path: Absolute; None for standard input.
        name: Its POSIX path below the source, which is the doc_id of a document.
        in_folder: Whether it was found by walking a folder.
    """

    path: Path | None
    name: str
    in_folder: bool


@dataclass(slots=True)
class Listing:
    """The files of a source by name, what was passed over by reason, what could not be listed."""

    files: list[SourceFile] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    rejections: list[Rejection] = field(default_factory=list)


def open_source(text: str) -> Source:
    """Return what a SOURCE argument names.

    Raises:
        CorpusError: It does not exist, or is nothing that can be read.
    """
    if text == "-":
        return Source(None, "stdin")
    location = Path(text).resolve()
    try:
        mode = location.stat().st_mode
    except OSError as error:
        raise CorpusError(
            f"cannot open {text}: {error.strerror}",
            hint="name a file, a folder, or - for JSONL on stdin",
        ) from error
    if stat.S_ISDIR(mode):
        return Source(location, "beir" if _beir_corpus(location) else "folder")
    if not stat.S_ISREG(mode):
        raise CorpusError(f"{text} is neither a file nor a folder", hint="pipe JSONL into `-`")
    if kind_of(location.name) is None:
        raise CorpusError(f"{text} is of no known format", hint=f"known are {known_formats()}")
    return Source(location, "file")


def list_files(source: Source, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Listing:
    """List the files of a source.

    In a folder, hidden, ignored and binary files and those of no known format are counted, not
    listed. Links to files are followed, links to folders are not, since they can loop.

    Args:
        include: Globs as in .gitignore, below the source; a file must fit one, if there are any.
        exclude: Globs of files to leave out.
    """
    listing = Listing()
    if source.location is None:
        listing.files.append(SourceFile(None, "-", in_folder=False))
    elif source.kind == "folder":
        _Walk(source.location, listing, include, exclude).run()
    else:
        path = _beir_corpus(source.location) or source.location
        listing.files.append(SourceFile(path, path.name, in_folder=False))
    return listing


def _beir_corpus(folder: Path) -> Path | None:
    return next((folder / name for name in BEIR_NAMES if (folder / name).is_file()), None)


class _Walk:
    def __init__(
        self, root: Path, listing: Listing, include: Sequence[str], exclude: Sequence[str]
    ) -> None:
        import pathspec

        self.root, self.listing = root, listing
        self.include = pathspec.GitIgnoreSpec.from_lines(include) if include else None
        self.exclude = pathspec.GitIgnoreSpec.from_lines(exclude)

    def run(self) -> None:
        self._folder(self.root, list(_outer_ignores(self.root)))
        self.listing.files.sort(key=lambda file: file.name)

    def _folder(self, folder: Path, ignores: list[tuple[Path, pathspec.GitIgnoreSpec]]) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            reason = f"cannot be listed: {error.strerror}"
            self.listing.rejections.append(Rejection(_printable(str(folder)), reason))
            return
        ignores = [*ignores, *_ignore_file(folder)]
        for entry in entries:
            self._entry(entry, ignores)

    def _entry(
        self, entry: os.DirEntry[str], ignores: list[tuple[Path, pathspec.GitIgnoreSpec]]
    ) -> None:
        path = Path(entry.path)
        is_folder = entry.is_dir(follow_symlinks=False)
        name = path.relative_to(self.root).as_posix()
        if not _is_printable(name):
            self.listing.rejections.append(Rejection(_printable(str(path)), "name is not UTF-8"))
        elif entry.name.startswith("."):
            self.listing.skipped["hidden"] += 1
        elif _ignored(path, is_folder, ignores):
            self.listing.skipped["ignored by .gitignore"] += 1
        elif is_folder:
            self._folder(path, ignores)
        elif reason := self._unfit(entry, name):
            self.listing.skipped[reason] += 1
        else:
            self.listing.files.append(SourceFile(path, name, in_folder=True))

    def _unfit(self, entry: os.DirEntry[str], name: str) -> str | None:
        """Say why a file is not listed, or None if it is."""
        if self.exclude.match_file(name) or (self.include and not self.include.match_file(name)):
            return "excluded"
        if not entry.is_file():
            return "link to a folder" if entry.is_dir() else "not a regular file"
        if kind_of(name) is None:
            return "binary" if _looks_binary(entry.path) else "not a document"
        return None


def _outer_ignores(root: Path) -> Iterator[tuple[Path, pathspec.GitIgnoreSpec]]:
    """Yield the ignore files above `root` that count in its git work tree, outermost first."""
    parents = list(root.parents)
    top = next((at for at, parent in enumerate(parents) if (parent / ".git").exists()), None)
    if top is None or (root / ".git").exists():
        return
    for parent in reversed(parents[: top + 1]):
        yield from _ignore_file(parent)


def _ignore_file(folder: Path) -> Iterator[tuple[Path, pathspec.GitIgnoreSpec]]:
    import pathspec

    try:
        text = (folder / ".gitignore").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    yield folder, pathspec.GitIgnoreSpec.from_lines(text.splitlines())


def _ignored(
    path: Path, is_folder: bool, ignores: list[tuple[Path, pathspec.GitIgnoreSpec]]
) -> bool:
    """Say whether the innermost ignore file with an opinion ignores this path."""
    for base, spec in reversed(ignores):
        name = PurePosixPath(path.relative_to(base)).as_posix() + ("/" if is_folder else "")
        verdict = spec.check_file(name).include
        if verdict is not None:
            return verdict
    return False


def _looks_binary(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return b"\0" in file.read(PROBE_BYTES)
    except OSError:
        return False


def _is_printable(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
