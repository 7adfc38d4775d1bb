"""The file of a document, to keep: never shown by the browser as a page of the server."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ettin_cli.serving.problems import ProblemError

if TYPE_CHECKING:
    from starlette.responses import Response

CHUNK = 256 * 1024
HEADERS = {
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def original_response(path: Path, sources: Sequence[Path]) -> Response:
    """Return a file as an attachment.

    Args:
        path: As it is in the index.
        sources: What was indexed; the file must still be in one of them.

    Raises:
        ProblemError: The file is gone, is no longer there, or is not a regular file.
    """
    from starlette.responses import StreamingResponse

    descriptor = _opened(path, sources)
    size = os.fstat(descriptor).st_size
    headers = {
        **HEADERS,
        "content-length": str(size),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(path.name, safe='')}",
    }
    content = _content(descriptor, size)
    return StreamingResponse(content, 200, headers, "application/octet-stream")


def _opened(path: Path, sources: Sequence[Path]) -> int:
    """Return a descriptor of a file that is within a source once all links are followed."""
    # Not to wait for the other end of a pipe, and not to follow a link that is put there now.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        real = path.resolve(strict=True)
        if not any(real.is_relative_to(source.resolve()) for source in sources):
            raise ProblemError(403, "the file is no longer in what was indexed")
        descriptor = os.open(real, flags | getattr(os, "O_BINARY", 0))
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "a loop of links"
        raise ProblemError(404, f"the file cannot be read: {reason}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ProblemError(403, "it is not a regular file")
    return descriptor


def _content(descriptor: int, size: int) -> Iterator[bytes]:
    """Yield as much of a file as was announced."""
    with os.fdopen(descriptor, "rb") as file:
        while size > 0 and (piece := file.read(min(CHUNK, size))):
            size -= len(piece)
            yield piece
