"""Files on disk: atomic and durable writes, reads of compressed files, checksums."""

import errno
import io
import os
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from ettin_cli import platforms
from ettin_cli.platforms import move
from ettin_cli.settings import MAX_RECORD_BYTES, MIB

BLOCK = 1 << 20
PACKED_BLOCK = 1 << 16


# The name of a stream in messages and in indexes.
STREAM = "-"


@dataclass(frozen=True, slots=True)
class Stream:
    """An open stream read in place of a file, such as standard input; it is not closed."""

    file: BinaryIO

    def __str__(self) -> str:
        return STREAM


class UnreadableError(Exception):
    """A file's content does not match its name; the message is the reason."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file; do not wait for a pipe or device that took its place.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    return io.BufferedReader(io.FileIO(path, "rb", opener=_regular))


def _regular(path: str, flags: int) -> int:
    # Opening a pipe would wait for its writer.
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    except PermissionError as error:
        # On Windows of a folder too.
        if Path(path).is_dir() and platforms.WINDOWS:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from error
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        raise OSError(errno.EINVAL, "not a regular file")
    return descriptor


@contextmanager
def opened(path: Path | Stream, *, pipes: bool = False) -> Iterator[BinaryIO]:
    """Open a file, decompressed if its name ends in .gz or .zst; a stream is returned as it is.

    Args:
        pipes: Also open files that are not regular, and wait for them.

    Raises:
        UnreadableError: It cannot be opened or read, or its compressed data ends early.
    """
    import zstandard

    try:
        if isinstance(path, Stream):
            yield path.file
            return
        with _decompressed(path.open("rb") if pipes else open_regular(path), path) as file:
            yield file
    except (EOFError, zlib.error, zstandard.ZstdError) as error:
        raise UnreadableError(f"compressed data is damaged or truncated: {error}") from error
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from error


@contextmanager
def _decompressed(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    suffix = path.suffix.lower()
    with file:
        if suffix == ".gz":
            import gzip

            with gzip.open(file) as unpacked:
                yield cast(BinaryIO, unpacked)
        elif suffix == ".zst":
            with io.BufferedReader(_Zstandard(file)) as read:
                yield read
        else:
            yield file


class _Zstandard(io.RawIOBase):
    """The content of a .zst file; unlike zstandard's own reader, it detects a premature end."""

    def __init__(self, file: BinaryIO) -> None:
        import zstandard

        self.file = file
        self.frames = zstandard.ZstdDecompressor()
        self.frame = self.frames.decompressobj()
        self.inside = False
        self.ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            if not self._unpack():
                return 0
        count = min(len(buffer), len(self.ready))
        buffer[:count], self.ready = self.ready[:count], self.ready[count:]
        return count

    def _unpack(self) -> bool:
        """Decompress another block; return False at the end of the file."""
        packed = self.frame.unused_data if self.frame.eof else b""
        packed = packed or self.file.read(PACKED_BLOCK)
        if not packed:
            if self.inside:
                raise EOFError("the last frame is incomplete")
            return False
        if self.frame.eof:
            self.frame = self.frames.decompressobj()
        self.ready = self.frame.decompress(packed)
        self.inside = not self.frame.eof
        return True


def record_lines(file: BinaryIO | io.TextIOWrapper) -> Iterator[Any]:
    """Yield the lines of a file, which may be bytes or text.

    Raises:
        UnreadableError: A line is longer than the limit; the rest of it is not read.
    """
    number = 0
    while line := file.readline(MAX_RECORD_BYTES + 1):
        number += 1
        if len(line) > MAX_RECORD_BYTES:
            limit = MAX_RECORD_BYTES // MIB
            raise UnreadableError(
                f"line {number:,} is longer than {limit} MiB; reading stopped there"
            )
        yield line


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, on systems that can."""
    if platforms.WINDOWS:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, and make them survive a power cut."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make a file's content survive a power cut."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to, renamed over it when the block succeeds.

    If the block fails, the written file is removed and `target` is unchanged. A replaced file
    keeps its permissions; a new one gets those allowed by the umask. Until then only the owner
    can open it.
    """
    target = Path(os.path.realpath(target))
    handle, name = tempfile.mkstemp(
        prefix=f".{target.name[:80]}.", suffix=".tmp", dir=target.parent
    )
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        sync_file(draft)
        draft.chmod(mode_for(target))
        move(draft, target)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner can open, and its missing parents."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o700, exist_ok=True)


def mode_for(target: Path) -> int:
    """Return the permissions of a file to be replaced, or those that a new file gets."""
    with suppress(FileNotFoundError):
        return target.stat().st_mode & 0o777
    return 0o666 & ~_umask()


def _umask() -> int:
    """Return the process's umask, without changing it if the system reports it."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    # For a moment, new files of other threads are private to their owner.
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def checksum(path: Path) -> str:
    """Return the XXH3 128-bit hash of a file's content, in hex."""
    import xxhash

    digest = xxhash.xxh3_128()
    with open_regular(path) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex, as model hubs publish it."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_size(folder: Path) -> int:
    """Return the total bytes of the files below a folder; files removed meanwhile count as 0."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(place, name).stat().st_size
    return total


def allocate(path: Path, size: int) -> None:
    """Write a new file of `size` zero bytes that can then be memory-mapped.

    A full disk raises an error here. Otherwise it would be a bus error later, when a page of the
    map cannot be stored.
    """
    with path.open("wb") as file:
        for begin in range(0, size, BLOCK):
            file.write(bytes(min(BLOCK, size - begin)))
