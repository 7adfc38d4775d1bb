"""A separate process that reads PDFs: if it hangs, crashes or runs out of memory, one file fails.

A request is a line of JSON on stdin. The answer is one line per page, each a JSON string, and then
an object with the title, or with the reason why the PDF cannot be read.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ettin_cli.settings import MIB
from ettin_cli.storage import UnreadableError, opened

# Exit code of this process when a PDF took too long.
TOO_LONG = 1


def serve(memory: int) -> None:
    """Answer requests until the input ends.

    Args:
        memory: Memory limit of the process in bytes.
    """
    # Ctrl-C is handled by the parent, which stops this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _bound(memory)
    with os.fdopen(os.dup(1), "wb") as out, Path(os.devnull).open("wb") as nowhere:
        # PDFium may print messages.
        os.dup2(nowhere.fileno(), 1)
        for line in sys.stdin.buffer:
            request = json.loads(line)
            faulthandler.dump_traceback_later(request["seconds"], exit=True, file=nowhere)
            for answer in _answers(Path(request["path"]), request["pages"], request["characters"]):
                out.write(json.dumps(answer).encode() + b"\n")
            out.flush()
            faulthandler.cancel_dump_traceback_later()


def _bound(memory: int) -> None:
    """Limit the memory of this process, if the system can, and disable core dumps."""
    try:
        import resource
    except ImportError:
        return
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def _answers(path: Path, pages: int, characters: int) -> Iterator[str | dict[str, str]]:
    import pypdfium2

    try:
        with opened(path) as file, pypdfium2.PdfDocument(file) as pdf:
            title = pdf.get_metadata_value("Title")
            yield from _pages(pdf, pages, characters)
            yield {"title": title}
    except pypdfium2.PdfiumError as error:
        # PDFium repeats its last error if it does not know the reason.
        locked = "password" in str(error).lower() and b"/Encrypt" in path.read_bytes()
        yield {"reason": "needs a password" if locked else f"not a valid PDF: {error}"}
    except UnreadableError as error:
        yield {"reason": str(error)}
    except (MemoryError, ValueError) as error:
        yield {"reason": f"not a valid PDF: {error or 'out of memory'}"}


def _pages(pdf: Any, most: int, characters: int) -> Iterator[str]:
    """Yield the text of each page; many pages may share one large content."""
    if len(pdf) > most:
        raise UnreadableError(f"{len(pdf):,} pages, more than {most:,}")
    left = characters
    for page in pdf:
        text = _page_text(page)
        left -= len(text)
        if left < 0:
            raise UnreadableError(f"more than {characters // MIB} MiB of text")
        yield text


def _page_text(page: Any) -> str:
    text: str = page.get_textpage().get_text_bounded()
    # pdfium marks a word hyphenated at a line end with U+FFFE.
    joined = text.replace("\ufffe\r\n", "").replace("\ufffe", "-").replace("\r\n", "\n")
    return joined.replace("\0", "")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
