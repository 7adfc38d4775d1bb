"""A file that is written a window at a time, can be gone on with, and is whole when it is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Generic, Self, TypeVar

from ettin_cli.errors import OutputError
from ettin_cli.files.output import output_errors
from ettin_cli.files.writers.json import HIT_LINES
from ettin_cli.files.writers.registry import writer_of
from ettin_cli.files.writers.writer import RUN_NAME, BinaryWriter, Layout
from ettin_cli.records import Answer, Rejection
from ettin_cli.storage import mode_for, replacing, sync_folder

PARTIAL, JOURNAL, DRAFT = ".partial", ".partial.json", ".partial.new"
REJECTS, PARTIAL_REJECTS = ".rejects.jsonl", ".rejects.jsonl.partial"
T = TypeVar("T")
# Reads what was written, and writes the output.
Made = Callable[[Path, BinaryIO], None]


@dataclass(frozen=True, slots=True)
class Mark:
    """How far an unfinished output is.

    Args:
        fingerprint: What the input and the options were.
        items: Items of the input that are done.
        answers: How many of them were answered.
        digest: Of those items, so that another input does not go on with them.
        bytes: Length of what is written of the output; `reject_bytes` likewise.
        finished: Nothing is left to do but to let the files appear under their names.
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
    """A file that is written a window at a time; what a run has written is not made again.

    Beside the target stand NAME.partial, NAME.partial.json, which tells how much of it is good,
    and for rows that could not be read NAME.rejects.jsonl. Every window reaches the disk before
    the mark says so; what a killed run wrote beyond its mark is cut off. A run that fails before
    its first window leaves nothing.

    Args:
        target: Where the output appears when it is complete.
        fingerprint: What must agree between the runs.
        resume: Go on where an unfinished run stopped, if there is one.
        begin: What the file begins with.

    Raises:
        OutputError: It cannot be written, another process writes it, an unfinished run is in
            the way, or the unfinished run was another.
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
        import filelock

        if not self.target.parent.is_dir():
            # The lock would make the folder, perhaps from a slip of the hand.
            raise OutputError(
                f"cannot write {self.target}: there is no such folder",
                code="folder-not-found",
                folder=self.target.parent,
            )
        self.lock = filelock.FileLock(_beside(self.target, ".partial.lock"))
        with output_errors(self.target):
            try:
                self.lock.acquire(timeout=0)
            except filelock.Timeout:
                raise OutputError(
                    f"another process is writing {self.target}",
                    code="output-busy",
                    path=self.target,
                ) from None
            try:
                self._begin()
            except BaseException:
                self._release()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self.mark.items and not self.finished:
            # There is nothing to go on with, and nothing that could be lost.
            for path in (self.partial, self.partial_rejects, self.journal):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        for file in self._files:
            # A full disk would fail once more here, and hide what was said of it.
            with suppress(OSError):
                file.close()
        with suppress(OSError):
            Path(self.lock.lock_file).unlink(missing_ok=True)
        self.lock.release()

    def _begin(self) -> None:
        if self.partial.exists() and not self._resume:
            raise OutputError(
                f"{self.partial} is left of an unfinished run",
                code="unfinished-output",
                partial=self.partial,
            )
        if self._resume and self.journal.exists():
            if self.partial.exists():
                self.mark = self._found()
            elif self._ended():
                # The run before was ended between its last two steps.
                self.mark = self._found()
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
        """Open a file to append to, cut at the length up to which it is good.

        Nobody else can open it, until it is whole.

        Raises:
            OutputError: It is shorter than that.
        """
        if not length:
            path.touch(mode=0o600)
        file = path.open("r+b")
        self._files.append(file)
        if file.seek(0, os.SEEK_END) < length:
            raise OutputError(f"{path} is cut short", code="resume-damaged", partial=self.partial)
        file.truncate(length)
        file.seek(length)
        return file

    def _ended(self) -> bool:
        """Say whether this very run was done, but for the last renaming."""
        try:
            return self._found().finished
        except OutputError:
            # Without its partial file there is nothing to go on with.
            return False

    def _found(self) -> Mark:
        import orjson

        try:
            mark = Mark(**orjson.loads(self.journal.read_bytes()))
        except (orjson.JSONDecodeError, TypeError) as error:
            raise OutputError(
                f"{self.journal} is damaged", code="resume-damaged", partial=self.partial
            ) from error
        if mark.fingerprint != self.mark.fingerprint:
            raise OutputError(
                f"{self.partial} was made from another input, model or options",
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
        """Write a window; when this returns it is on the disk, and marked as done.

        Args:
            answers: How many items were answered.
            end: Items of the input that are done with this window.
            digest: Of those items.
        """
        with output_errors(self.target):
            self.file.writelines(content)
            for rejection in rejections:
                self.reject_file.write(_reject(rejection))
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
        """Make the output appear under its name.

        Args:
            end: What the file ends with.
            made: Makes the output of what was written, where that is not the output itself.
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
                self.partial.replace(self.target)
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
            self.draft.replace(self.target)
        except BaseException:
            with suppress(OSError):
                self.draft.unlink(missing_ok=True)
            raise
        sync_folder(self.target.parent)

    def _tidy(self) -> None:
        """Remove what an unfinished run needs, and let the rejects appear if there are any."""
        if self.mark.rejects:
            # A run that was ended right after this has done it before.
            if self.partial_rejects.exists():
                self.partial_rejects.chmod(mode_for(self.rejects))
                self.partial_rejects.replace(self.rejects)
        else:
            self.partial_rejects.unlink(missing_ok=True)
            # Those of an earlier run would speak of another output.
            self.rejects.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)
        sync_folder(self.target.parent)


class ResumableOutput(ResumableFile):
    """Answers on their way into a file of a format.

    Args:
        format: Any but `auto` and `table`.
        text: Whether hits carry their text.
        tag: The name of a run.
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
        found = writer_of(format)
        self.format, self.layout = format, Layout(True, text, tag)
        self.binary = found if isinstance(found, BinaryWriter) else None
        self.lines = HIT_LINES if isinstance(found, BinaryWriter) else found
        super().__init__(target, fingerprint, resume=resume, begin=self.lines.begin(self.layout))

    def write(
        self, answers: Sequence[Answer], rejections: Sequence[Rejection], end: int, digest: str = ""
    ) -> None:
        """Write a window of answers, as `append` does its content."""
        numbered = enumerate(answers, start=self.mark.answers)
        content = (
            self.lines.answer(answer, self.layout, first=number == 0) for number, answer in numbered
        )
        self.append(content, len(answers), rejections, end, digest)

    def finish(self) -> None:
        """Make the output appear under its name."""
        binary = self.binary
        if binary is None:
            self.complete(self.lines.end(self.layout))
            return
        layout = self.layout
        self.complete(made=lambda partial, file: binary.write(_rows(partial), file, layout))


class Digested(Generic[T]):
    """Items of an input as they pass, with a digest of them, by which a run knows it again.

    Args:
        mark: How far an earlier run came, and the digest of what it had read by then.
    """

    def __init__(self, items: Iterable[T], mark: Mark) -> None:
        import xxhash

        self.items, self.mark, self.seen = items, mark, 0
        self.hash = xxhash.xxh3_128()

    def __iter__(self) -> Iterator[T]:
        for item in self.items:
            self.hash.update(repr(item).encode("utf-8", "surrogatepass"))
            self.seen += 1
            if self.seen == self.mark.items:
                self.check()
            yield item

    def digest(self) -> str:
        """Return the digest of the items so far."""
        return self.hash.hexdigest()

    def check(self) -> None:
        """Check that the input begins as that of the earlier run did.

        Raises:
            OutputError: It does not.
        """
        another = self.seen == self.mark.items and self.digest() != self.mark.digest
        if self.mark.items and (another or self.seen < self.mark.items):
            raise OutputError(
                "what is left of the unfinished run was made from another input",
                code="resume-mismatch",
                partial="OUTPUT.partial",
            )


def files_beside(target: Path) -> list[Path]:
    """Return the files that a run writes and removes beside its output."""
    real = Path(os.path.realpath(target))
    return [_beside(real, one) for one in (PARTIAL, JOURNAL, DRAFT, REJECTS, PARTIAL_REJECTS)]


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


def _synced(file: BinaryIO) -> int:
    """Make what was written reach the disk, and return where it ends."""
    file.flush()
    os.fsync(file.fileno())
    return file.tell()


def _reject(rejection: Rejection) -> bytes:
    shape = {"line": rejection.line, "reason": rejection.reason, "path": rejection.path}
    # A file's name need not be UTF-8, and JSON has to be.
    return _json({k: _printable(v) if isinstance(v, str) else v for k, v in shape.items()})


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _json(value: object) -> bytes:
    import orjson

    return orjson.dumps(value) + b"\n"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    import orjson

    with path.open("rb") as file:
        yield from map(orjson.loads, file)
