"""Map the files of an index into memory, without a file descriptor for each.

NumPy and Python keep a descriptor for as long as a file is mapped; Arrow closes it.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import EttinError
from ettin_cli.index.manifest import damaged

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def unreadable(path: Path, error: OSError) -> EttinError:
    """Return the error for a file of an index that the system does not read.

    Only a missing file is damage: another one may be intact.
    """
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return damaged(path, "is missing")
    # Arrow's own message is much longer than the reason.
    reason = os.strerror(error.errno) if error.errno else str(error)
    return EttinError(f"cannot read {path}: {reason}", code="cannot-read", path=path)


def mapped_file(path: Path) -> pa.Buffer:
    """Map a file into memory without reading it.

    Raises:
        IndexDamagedError: It is missing.
        EttinError: It cannot be read.
    """
    import pyarrow as pa

    try:
        return pa.memory_map(str(path)).read_buffer()
    except OSError as error:
        raise unreadable(path, error) from error


def integers(column: pa.Array) -> NDArray[Any]:
    """Return a column of integers as an array over the same memory.

    Its own `to_numpy` takes time to import pandas, if that is installed.
    """
    import numpy as np

    array: NDArray[Any] = np.from_dlpack(column)
    return array


class _Mapping:
    """The base of a mapped array: memory whose pages can be released without loss.

    Args:
        content: That of a mapped file.
    """

    def __init__(self, content: pa.Buffer) -> None:
        self._content = content
        self.__array_interface__ = {
            "version": 3,
            "data": (content.address, True),
            "shape": (content.size,),
            "typestr": "|u1",
        }

    def advise(self, advice: int) -> None:
        """Tell the system how the pages are used: one of `mmap.MADV_*`."""
        import ctypes

        address, size = self._content.address, self._content.size
        ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), advice)


def mapped_numbers(
    path: Path, kind: np.dtype[Any], offset: int = 0, count: int = -1
) -> NDArray[Any]:
    """Return numbers mapped from a file of a generation.

    Args:
        count: How many; -1: all that follow the offset.

    Raises:
        IndexDamagedError: The file is missing, or has another size than they need.
        EttinError: It cannot be read.
    """
    import numpy as np

    content = mapped_file(path) if count else None
    if content is None or not content.size:
        if count > 0:
            raise damaged(path)
        return np.empty(0, kind)
    try:
        return np.frombuffer(np.asarray(_Mapping(content)), kind, count, offset)
    except ValueError as error:
        raise damaged(path) from error


def release(vectors: NDArray[Any]) -> None:
    """Release the memory taken by the pages of mapped arrays; written data is kept.

    The system reclaims the pages when it needs memory, but until then they count as used by us.
    """
    if not hasattr(mmap, "MADV_DONTNEED"):
        return
    for part in getattr(vectors, "parts", (vectors,)):
        base = _base(part)
        if isinstance(base, mmap.mmap):
            base.madvise(mmap.MADV_DONTNEED)
        elif isinstance(base, _Mapping):
            base.advise(mmap.MADV_DONTNEED)


def read_in_parts(numbers: NDArray[Any]) -> None:
    """Have only those pages of a mapped array read from disk that are used, and none ahead."""
    base = _base(numbers)
    if hasattr(mmap, "MADV_RANDOM") and isinstance(base, _Mapping):
        base.advise(mmap.MADV_RANDOM)


def _base(numbers: Any) -> Any:
    """Return what holds the memory of an array."""
    import numpy as np

    while isinstance(numbers, np.ndarray):
        numbers = numbers.base
    return numbers
