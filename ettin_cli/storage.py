"""Whole files on disk: atomic writes that reach the disk, and checksums."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BLOCK = 1 << 20


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut; not every system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's content survive a power cut."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path to write beside `target`, renamed over it when the block ends well.

    When the block fails, what was written is removed and `target` stays as it was. A file that
    is replaced keeps its permissions; a new one gets what the process's umask leaves.
    """
    target = Path(os.path.realpath(target))
    handle, name = tempfile.mkstemp(
        prefix=f".{target.name[:80]}.", suffix=".tmp", dir=target.parent
    )
    os.close(handle)
    draft = Path(name)
    try:
        draft.chmod(mode_for(target))
        yield draft
        sync_file(draft)
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def mode_for(target: Path) -> int:
    """Return the permissions of a file that is to be replaced, or those a new one gets."""
    with suppress(FileNotFoundError):
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def checksum(path: Path) -> str:
    """Return the XXH3 128-bit hash of a file's content, in hex."""
    import xxhash

    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex, as model hubs publish it."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_size(folder: Path) -> int:
    """Return the bytes that the files below a folder hold."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
