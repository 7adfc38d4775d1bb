"""Where a shared server is found: its socket, and the paths that mean an index."""

from __future__ import annotations

import os
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from ettin_cli import __version__
from ettin_cli.client import make_private, runtime_folder, unsafe
from ettin_cli.errors import EttinError

# Variables on which the answers of a server may depend.
OWN = ("ETTIN_", "HF_", "HOME", "CUDA_", "OMP_", "ORT_", "ONEDNN_", "OPENVINO_")
NO_INDEX = "-"


def prefix_of(folder: Path | None) -> str:
    """Return the first part of the paths that mean an index, or none.

    >>> prefix_of(Path("/home/notes/.ettin"))
    '/L2hvbWUvbm90ZXMvLmV0dGlu'
    """
    return f"/{urlsafe_b64encode(os.fsencode(folder)).decode() if folder else NO_INDEX}"


def socket_path(reranker: str) -> Path:
    """Return the path of the socket of the server with a reranker, whether or not it runs.

    Beside it are a lock file with the number of its process, and its log.

    Servers of another version, installation or environment have other paths.

    Raises:
        EttinError: Others could act through the folder.
    """
    settings = sorted(
        item for item in os.environ.items() if item[0].startswith(OWN) and item[0] != "ETTIN_INDEX"
    )
    key = repr([__version__, __file__, sys.prefix, reranker, settings])
    return _folder() / f"mcp-{sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def _folder() -> Path:
    """Return the folder of the daemon, which only this user can open."""
    folder = runtime_folder()
    try:
        make_private(folder)
        reason = unsafe(folder)
    except OSError as error:
        raise EttinError(f"cannot make {folder}: {error.strerror}", path=folder) from error
    if reason:
        raise EttinError(f"{folder} is not safe to use: {reason}", path=folder)
    return Path(folder)


@contextmanager
def locked(place: Path) -> Iterator[bool]:
    """Hold the right to make a socket; False if another process holds it.

    The operating system ends the right of a process that has died.
    """
    import fcntl

    lock = os.open(place.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        # To tell whom it is; the number may be an old one.
        os.truncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        yield True
    finally:
        os.close(lock)
