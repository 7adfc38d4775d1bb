"""Where the daemon of a user is found, and what it must have in common with a command."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

from ettin_cli import __version__

if TYPE_CHECKING:
    import socket

COMMANDS_SOCKET, MODELS_SOCKET = "commands.sock", "models.sock"
# Variables that Python or a library reads once, when it starts: a process that has started
# cannot adopt those of another.
READ_AT_START = (
    *("PYTHON", "LC_", "LANG", "LD_", "DYLD_", "GLIBC_", "MALLOC_", "TZ", "ONEDNN_", "DNNL_"),
    *("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "BLIS_", "NPY_", "ARROW_", "FAISS_", "ORT_"),
    *("OV_", "OPENVINO_", "TORCH", "PYTORCH", "CUDA_", "NVIDIA_", "NCCL_", "CUBLAS_"),
)
# Set by this package itself.
OURS = {"ORT_DISABLE_TELEMETRY"}


class _Process:
    """Whether this process runs a command in the daemon."""

    in_daemon = False


def in_daemon() -> bool:
    """Return whether this process runs a command that was handed to the daemon."""
    return _Process.in_daemon


def enter_daemon() -> None:
    """Note that this process runs a command that was handed to the daemon."""
    _Process.in_daemon = True


def has_daemons() -> bool:
    """Return whether a daemon can run on this system: it needs Unix sockets and fork."""
    import socket

    return hasattr(socket, "AF_UNIX") and hasattr(os, "fork")


def runtime_folder() -> str:
    """Return the folder of the daemon: in XDG_RUNTIME_DIR, else in the folder for temporary files.

    It may not exist.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        return f"{runtime}/ettin"
    temporary = os.environ.get("TMPDIR", "")
    folder = temporary if temporary.startswith("/") else "/tmp"
    return f"{folder.rstrip('/')}/ettin-{os.geteuid()}"


def unsafe(folder: str) -> str:
    """Return why other users could act through a folder; empty if they cannot.

    Raises:
        OSError: There is no such folder.
    """
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        return "it is not a folder"
    if found.st_uid != os.geteuid():
        return "it belongs to another user"
    if found.st_mode & 0o077:
        return f"its permissions are {found.st_mode & 0o777:04o}, not 0700"
    return ""


def make_private(folder: str) -> None:
    """Make a folder of its owner alone, unless it exists.

    Raises:
        OSError: It cannot be made.
    """
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)  # noqa: PTH102


def connected(name: str, timeout: float) -> socket.socket | None:
    """Return a connection to a socket of the daemon; None if nothing listens there."""
    import socket

    if not has_daemons():
        return None
    folder = runtime_folder()
    path = f"{folder}/{name}"
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not unsafe(folder):
            connection.settimeout(timeout)
            connection.connect(path)
            return connection
    except (OSError, ValueError):
        # Also a path that is too long.
        pass
    connection.close()
    return None


def listens() -> bool:
    """Return whether a daemon may be listening: there is a socket."""
    return hasattr(os, "fork") and os.path.exists(f"{runtime_folder()}/{COMMANDS_SOCKET}")  # noqa: PTH110


def identity() -> list[Any]:
    """Return what must be equal for one process to do the work of another, as JSON values."""
    flags = sys.flags
    return [
        __version__,
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))),  # noqa: PTH100, PTH120
        sys.version,
        sys.prefix,
        [flags.optimize, flags.utf8_mode, flags.dev_mode, flags.isolated],
        # Of `python -u`.
        isinstance(sys.stdout, TextIOWrapper) and sys.stdout.write_through,
        sorted(sys.warnoptions),
        sorted(sys._xoptions),
        _mounts(),
        sorted(
            [name, value]
            for name, value in os.environ.items()
            if name.startswith(READ_AT_START) and name not in OURS
        ),
    ]


def difference(daemon: Any, command: Any) -> str:
    """Return why the work of a command cannot be done by a daemon, from their identities, or ""."""
    if daemon == command:
        return ""
    try:
        *started, known = daemon
        *here, wanted = command
        if started == here:
            differing = {name for one in (known, wanted) for name, _ in one}
            there, own = dict(known), dict(wanted)
            names = [name for name in sorted(differing) if there.get(name) != own.get(name)]
            return f"it was started with another value of {', '.join(names)}"
    except (TypeError, ValueError):
        # Of a version that reports something else.
        pass
    return "it is of another version or installation"


def _mounts() -> str:
    """Return the name of the file systems that this process sees, where there are several."""
    try:
        return os.readlink("/proc/self/ns/mnt")  # noqa: PTH115
    except OSError:
        return ""
