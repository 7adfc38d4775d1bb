"""What differs between operating systems: paths, files in use, pipes, and commands to show."""

from __future__ import annotations

import errno
import glob
import io
import os
import re
import shlex
import stat
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

# Read when they are needed, so that tests can simulate another system.
WINDOWS = os.name == "nt"
MACOS = sys.platform == "darwin"

# Windows refuses to touch a file that a virus scanner or an indexer has open; they take moments.
PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
_PLAIN = re.compile(r"[\w.:\\/+=-]+")
_LONGEST_PATH = 1024


def persist(action: Callable[[], Result]) -> Result:
    """Do something with a file; on Windows try again for a second while another program uses it.

    Raises:
        OSError: As the action does.
    """
    for pause in PAUSES_S if WINDOWS else ():
        try:
            return action()
        except PermissionError:
            time.sleep(pause)
    return action()


def is_file(path: Path) -> bool:
    """Return whether a path is a file, or a link to one.

    Raises:
        OSError: It cannot be told.
    """
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder, or a link to one.

    Raises:
        OSError: It cannot be told.
    """
    return stat.S_ISDIR(_mode(path))


def exists(path: Path) -> bool:
    """Return whether there is something at a path.

    Raises:
        OSError: It cannot be told.
    """
    return bool(_mode(path))


def _mode(path: Path) -> int:
    # From Python 3.14 on, methods such as `Path.exists` say no where one may not look.
    try:
        return path.stat().st_mode
    except OSError as error:
        # On Windows: an empty drive, a name that is not allowed, and a link that leads nowhere.
        absent = getattr(error, "winerror", None) in (21, 123, 1921)
        if absent or error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return 0
        raise
    except ValueError:
        return 0


def move(draft: Path, target: Path) -> None:
    """Move a file over another one, atomically.

    Raises:
        OSError: The system refuses it.
    """
    persist(lambda: draft.replace(target))


class PipeWriter(io.RawIOBase):
    """A pipe whose reader has gone raises BrokenPipeError on Windows too.

    Windows says that the argument of a write is invalid.

    Args:
        descriptor: Of the pipe; it is not closed.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        """Return whether it can be written to."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the pipe."""
        return self._descriptor

    def write(self, content: Any) -> int:
        """Write some bytes, and return how many.

        Raises:
            BrokenPipeError: The reader has gone.
        """
        try:
            return os.write(self._descriptor, content)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
            raise


def piped(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return a stream; on Windows a pipe is one that raises BrokenPipeError."""
    # Python that was told not to buffer has no buffer here either.
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if not WINDOWS or not isinstance(raw, io.FileIO):
        return stream
    if not stat.S_ISFIFO(os.fstat(raw.fileno()).st_mode):
        return stream
    writer: Any = PipeWriter(raw.fileno())
    return io.TextIOWrapper(
        writer if raw is stream.buffer else io.BufferedWriter(writer),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def relative(path: str | os.PathLike[str]) -> str:
    """Return a path relative to the working folder; unchanged if it is on another drive."""
    with suppress(ValueError):
        return os.path.relpath(path)
    return os.fspath(path)


def composed(name: str) -> str:
    r"""Return a name in the form that is the same on every system: composed Unicode (NFC).

    Names copied from macOS may be decomposed.

    >>> composed("Cafe\u0301.md") == "Caf\u00e9.md"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def on_disk(path: Path) -> Path:
    """Return a path as the file system has it: its names may be composed differently there.

    A path that does not exist, or that cannot be looked at, stays as it is.
    """
    if str(path).isascii() or os.path.lexists(path):
        return path
    parent = on_disk(path.parent)
    names = (path.name, *(unicodedata.normalize(form, path.name) for form in ("NFC", "NFD")))
    return next((parent / name for name in names if os.path.lexists(parent / name)), path)


def true_case(path: Path) -> Path:
    """Return a resolved path with the letters of its names as they are on the disk.

    On Windows and Linux a resolved path has them already. What does not exist stays as it is.
    """
    if not MACOS:
        return path
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return true_case(path.parent) / path.name if path.name else path
    except OSError:
        return path
    with suppress(OSError):
        try:
            found = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(_LONGEST_PATH))  # type: ignore[attr-defined]
        finally:
            os.close(descriptor)
        return Path(os.fsdecode(found.rstrip(b"\0")))
    return path


def is_junction(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a junction: Windows' other kind of link to a folder."""
    if not WINDOWS:
        return False
    if sys.version_info >= (3, 12):
        return entry.is_junction()
    tag = getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0)
    return bool(tag == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", 0xA0000003))


def expanded(names: Iterable[str]) -> Iterator[str]:
    """Yield names with `~` and globs expanded on Windows, where shells leave that to programs.

    A name that exists is itself; a glob without a match is kept.
    """
    for name in names:
        if not WINDOWS:
            yield name
            continue
        place = os.path.expanduser(name)  # noqa: PTH111
        if not glob.has_magic(place) or os.path.lexists(place):
            yield place
        else:
            yield from sorted(glob.glob(place, recursive=True)) or [name]  # noqa: PTH207


def path_glob(pattern: str) -> str:
    """Return a glob of paths as it was typed; on Windows names may be separated by backslashes."""
    return pattern.replace("\\", "/") if WINDOWS else pattern


def quoted(word: str) -> str:
    r"""Return a word of a command as it is typed in the usual shell of this system.

    On Windows that is one which both PowerShell and cmd.exe read, unless it has a `$` or a
    backtick: then only PowerShell does.
    """
    if not WINDOWS:
        return shlex.quote(word)
    if _PLAIN.fullmatch(word):
        return word
    if "$" in word or "`" in word:
        return "'" + word.replace("'", "''") + "'"
    # A backslash before the closing quote would escape it.
    ended = word + "\\" * (len(word) - len(word.rstrip("\\")))
    return '"' + ended.replace('"', '""') + '"'


def command_line(words: Iterable[str]) -> str:
    """Return a command as it is typed in the usual shell of this system."""
    return " ".join(map(quoted, words))


def split_command(text: str) -> list[str]:
    r"""Return the words of a command in an environment variable, such as EDITOR.

    On Windows a backslash is part of a path, and an unquoted path may have spaces.
    """
    if not WINDOWS:
        return shlex.split(text)
    if os.path.isfile(text):  # noqa: PTH113
        return [text]
    return [word.strip('"') for word in shlex.split(text, posix=False)]
