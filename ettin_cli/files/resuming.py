"""A resumable output file: written in windows, moved into place only when complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Generic, Self, TypeVar

from ettin_cli.errors import OutputError
from ettin_cli.files.output import only_writer, output_errors
from ettin_cli.files.writers.json import HIT_LINES
from ettin_cli.files.writers.registry import writer_of
from ettin_cli.files.writers.writer import RUN_NAME, BinaryWriter, Layout
from ettin_cli.platforms import move
from ettin_cli.records import Answer, Rejection
from ettin_cli.storage import mode_for, replacing, sync_folder

PARTIAL, JOURNAL, DRAFT = ".partial", ".partial.json", ".partial.new"
REJECTS, PARTIAL_REJECTS = ".rejects.jsonl", ".rejects.jsonl.partial"
T = TypeVar("T")
# Converts the written file to the output.
Made = Callable[[Path, BinaryIO], None]


@dataclass(frozen=True, slots=True)
class Mark:
    """The progress of an unfinished output.

    Args:
        fingerprint: Identifies the input and the options.
        items: Input items that are done.
        answers: How many of them were answered.
        digest: Digest of those items, so that a run on another input cannot resume.
        bytes: Bytes of the output written so far; `reject_bytes` likewise for the rejects.
        finished: All content is written; only moving the files into place is left.
    """

    fingerprint: str
    items: int = 0
    digest: str = ""
    answers: int = 0
    bytes: int = 0
    rejects: int = 0
    reject_bytes: int = 0
    finished: bool = False


class ResumableFile:
    """A file written in windows; a resumed run keeps the windows already written.

    Beside the target are NAME.partial, NAME.partial.json, which records its valid length, and
    NAME.rejects.jsonl for unreadable rows. A window is synced to disk before the mark is updated;
    anything a killed run wrote beyond its mark is truncated. A run that fails before its first
    window leaves no files.

    Args:
        target: The path of the complete output.
        fingerprint: Must be equal in the interrupted and the resuming run.
        resume: Resume an unfinished run, if there is one.
        begin: The first bytes of the file.

    Raises:
        OutputError: The file cannot be written, another process is writing it, an unfinished run
            exists and `resume` is off, or the unfinished run had another fingerprint.
    """

    def __init__(self, target: Path, fingerprint: str, *, resume: bool, begin: bytes = b"") -> None:
        self.target = Path(os.path.realpath(target))
        self.begin = begin
        self.partial = _beside(self.target, PARTIAL)
        self.journal = _beside(self.target, JOURNAL)
        self.draft = _beside(self.target, DRAFT)
        self.rejects = _beside(self.target, REJECTS)
        self.partial_rejects = _beside(self.target, PARTIAL_REJECTS)
        self.mark = Mark(fingerprint)
        self.finished = False
        self._resume = resume
        self._files: list[BinaryIO] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(only_writer(self.target))
            with output_errors(self.target):
                try:
                    self._begin()
                except BaseException:
                    self._close()
                    raise
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.mark.items and not self.finished:
            # Nothing was written that a later run could resume.
            for path in (self.partial, self.partial_rejects, self.journal):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        self._close()
        self._stack.close()

    def _close(self) -> None:
        for file in self._files:
            # A full disk would fail again here and hide the first error.
            with suppress(OSError):
                file.close()

    def _begin(self) -> None:
        if self.partial.exists() and not self._resume:
            raise OutputError(
                f"{self.partial} is left over from an unfinished run",
                code="unfinished-output",
                partial=self.partial,
            )
        if self._resume and self.journal.exists():
            if self.partial.exists():
                self.mark = self._read_mark()
            elif self._ended():
                # The earlier run was killed between its last two steps.
                self.mark = self._read_mark()
                self._tidy()
                self.finished = True
                return
        if not self.mark.items:
            self.journal.unlink(missing_ok=True)
        self.file = self._opened(self.partial, self.mark.bytes)
        self.reject_file = self._opened(self.partial_rejects, self.mark.reject_bytes)
        if not self.mark.bytes:
            self.file.write(self.begin)

    def _opened(self, path: Path, length: int) -> BinaryIO:
        """Open a file for appending, truncated to its valid length.

        Only its owner can open it until it is complete.

        Raises:
            OutputError: The file is shorter than that.
        """
        if not length:
            path.touch(mode=0o600)
        file = path.open("r+b")
        self._files.append(file)
        if file.seek(0, os.SEEK_END) < length:
            raise OutputError(f"{path} is incomplete", code="resume-damaged", partial=self.partial)
        file.truncate(length)
        file.seek(length)
        return file

    def _ended(self) -> bool:
        """Return whether this run was complete except for the last rename."""
        try:
            return self._read_mark().finished
        except OutputError:
            # Without its partial file there is nothing to resume.
            return False

    def _read_mark(self) -> Mark:
        import orjson

        try:
            mark = Mark(**orjson.loads(self.journal.read_bytes()))
        except (orjson.JSONDecodeError, TypeError) as error:
            raise OutputError(
                f"{self.journal} is damaged", code="resume-damaged", partial=self.partial
            ) from error
        if mark.fingerprint != self.mark.fingerprint:
            raise OutputError(
                f"{self.partial} was made with a different input, model or options",
                code="resume-mismatch",
                partial=self.partial,
            )
        return mark

    def append(
        self,
        content: Iterable[bytes],
        answers: int,
        rejections: Sequence[Rejection],
        end: int,
        digest: str = "",
    ) -> None:
        """Write a window; on return it is synced to disk and marked as done.

        Args:
            answers: How many items were answered.
            end: Input items done after this window.
            digest: Digest of those items.
        """
        with output_errors(self.target):
            self.file.writelines(content)
            for rejection in rejections:
                self.reject_file.write(reject_line(rejection))
            self.mark = Mark(
                self.mark.fingerprint,
                items=end,
                digest=digest,
                answers=self.mark.answers + answers,
                bytes=_synced(self.file),
                rejects=self.mark.rejects + len(rejections),
                reject_bytes=_synced(self.reject_file),
            )
            self._note()

    def _note(self) -> None:
        with replacing(self.journal) as draft:
            draft.write_bytes(_json(asdict(self.mark)))

    def complete(self, end: bytes = b"", made: Made | None = None) -> None:
        """Complete the output and move it into place.

        Args:
            end: The last bytes of the file.
            made: Converts the written file to the output, if they differ.
        """
        with output_errors(self.target):
            self.file.write(end)
            _synced(self.file)
            self.file.close()
            self.reject_file.close()
            self.mark = replace(self.mark, finished=True)
            self._note()
            if made is None:
                self.partial.chmod(mode_for(self.target))
                move(self.partial, self.target)
            else:
                self._make(made)
                self.partial.unlink()
            self.finished = True
            self._tidy()

    def _make(self, made: Made) -> None:
        self.draft.touch(mode=0o600)
        try:
            with self.draft.open("wb") as file:
                made(self.partial, file)
                _synced(file)
            self.draft.chmod(mode_for(self.target))
            move(self.draft, self.target)
        except BaseException:
            with suppress(OSError):
                self.draft.unlink(missing_ok=True)
            raise
        sync_folder(self.target.parent)

    def _tidy(self) -> None:
        """Remove the files of an unfinished run, and move any rejects into place."""
        if self.mark.rejects:
            # Already moved if an earlier run was killed right after this.
            if self.partial_rejects.exists():
                self.partial_rejects.chmod(mode_for(self.rejects))
                move(self.partial_rejects, self.rejects)
        else:
            self.partial_rejects.unlink(missing_ok=True)
            # The rejects of an earlier run belong to another output.
            self.rejects.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)
        sync_folder(self.target.parent)


class ResumableOutput(ResumableFile):
    """A resumable file of answers in an output format.

    Args:
        format: Any format except `auto` and `table`.
        text: Whether hits include their text.
        tag: The run tag.
    """

    def __init__(
        self,
        target: Path,
        format: str,
        fingerprint: str,
        *,
        text: bool,
        resume: bool,
        tag: str = RUN_NAME,
    ) -> None:
        wanted = writer_of(format)
        self.format, self.layout = format, Layout(True, text, tag)
        self.binary = wanted if isinstance(wanted, BinaryWriter) else None
        self.lines = HIT_LINES if isinstance(wanted, BinaryWriter) else wanted
        super().__init__(target, fingerprint, resume=resume, begin=self.lines.begin(self.layout))

    def write(
        self, answers: Sequence[Answer], rejections: Sequence[Rejection], end: int, digest: str = ""
    ) -> None:
        """Write a window of answers; see `append`."""
        numbered = enumerate(answers, start=self.mark.answers)
        content = (
            self.lines.answer(answer, self.layout, first=number == 0) for number, answer in numbered
        )
        self.append(content, len(answers), rejections, end, digest)

    def finish(self) -> None:
        """Complete the output and move it into place."""
        binary = self.binary
        if binary is None:
            self.complete(self.lines.end(self.layout))
            return
        layout = self.layout
        self.complete(made=lambda partial, file: binary.write(json_rows(partial), file, layout))


class Digested(Generic[T]):
    """Passes input items through with a running digest, to check that a resumed run matches.

    Args:
        mark: The progress of the earlier run, with the digest of the items it had read.
    """

    def __init__(self, items: Iterable[T], mark: Mark) -> None:
        import xxhash

        self.items, self.mark, self.seen = items, mark, 0
        self.hash = xxhash.xxh3_128()
        # The digests of items whose number was not asked for yet.
        self.recent: dict[int, str] = {}

    def __iter__(self) -> Iterator[T]:
        for item in self.items:
            self.hash.update(repr(item).encode("utf-8", "surrogatepass"))
            self.seen += 1
            if self.seen == self.mark.items:
                self.check()
            if self.seen > self.mark.items:
                self.recent[self.seen] = self.digest()
            yield item

    def digest(self) -> str:
        """Return the digest of the items so far."""
        return self.hash.hexdigest()

    def digest_of(self, items: int) -> str:
        """Return the digest of the first items; not of fewer than were asked for before."""
        found = self.recent[items]
        self.recent = {seen: digest for seen, digest in self.recent.items() if seen >= items}
        return found

    def check(self) -> None:
        """Check that the input begins with the items of the earlier run.

        Raises:
            OutputError: The input differs.
        """
        another = self.seen == self.mark.items and self.digest() != self.mark.digest
        if self.mark.items and (another or self.seen < self.mark.items):
            raise OutputError(
                "the unfinished run had a different input",
                code="resume-mismatch",
                partial="OUTPUT.partial",
            )


def files_beside(target: Path) -> list[Path]:
    """Return the temporary files that a run keeps beside its output."""
    real = Path(os.path.realpath(target))
    return [_beside(real, suffix) for suffix in (PARTIAL, JOURNAL, DRAFT, REJECTS, PARTIAL_REJECTS)]


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


def _synced(file: BinaryIO) -> int:
    """Sync a file to disk and return its length."""
    file.flush()
    os.fsync(file.fileno())
    return file.tell()


def reject_line(rejection: Rejection) -> bytes:
    """Return the line of a rejected row in OUTPUT.rejects.jsonl."""
    shape = {"line": rejection.line, "reason": rejection.reason, "path": rejection.path}
    # File names need not be UTF-8, but JSON must be.
    return _json({k: _printable(v) if isinstance(v, str) else v for k, v in shape.items()})


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _json(value: object) -> bytes:
    import orjson

    return orjson.dumps(value) + b"\n"


def json_rows(path: Path) -> Iterator[Any]:
    """Yield the values of a file with one per line."""
    import orjson

    with path.open("rb") as file:
        yield from map(orjson.loads, file)
