"""PDF -> a document, read in a separate process that can be killed."""

from __future__ import annotations

import atexit
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import IO, Any, cast

from ettin_cli.corpus.pdf_running import without_running_lines
from ettin_cli.corpus.pdfium import LINE_HYPHEN, TOO_LONG
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document
from ettin_cli.settings import MAX_PAGES, MAX_PDF_MEMORY, MAX_PDF_SECONDS, MAX_TEXT_BYTES, MIB
from ettin_cli.storage import UnreadableError

# First parts that keep their hyphen in English compounds.
PREFIXES = frozenset("all ex half high ill long low non quasi self semi short so well".split())
SHOWN_PAGES = 5
_WORD = re.compile(r"\w+(?:-\w+)*")
_HYPHENATED = re.compile(rf"(\w+){LINE_HYPHEN}(\w+)")


def pdf_document(path: Path, doc_id: str) -> Document:
    """Return a PDF's text layer, with the page of each line.

    Raises:
        UnreadableError: It is damaged, needs a password, has no text layer, or exceeds the limits
            of text, time or memory.
    """
    title, found, repaired = _process.read(path)
    pages = [page or "" for page in found]
    if pages and not any(page.strip() for page in pages):
        raise UnreadableError("no text layer (a scan?)")
    notices = ["is damaged; some of it may be missing"] if repaired else []
    lost = [number for number, page in enumerate(found, 1) if page is None]
    empty = [n for n, page in enumerate(found, 1) if page is not None and not page.strip()]
    for numbers, what in ((lost, "damage and cannot be read"), (empty, "no text layer")):
        if numbers:
            notices.append(_pages_with(numbers, len(pages), what))
    joined = without_running_lines(joined_words(pages))
    lines = [(line, number) for number, page in enumerate(joined, 1) for line in page.split("\n")]
    return Document(
        doc_id,
        "\n".join(line for line, _ in lines),
        title=title.strip(),
        pages=[number for _, number in lines],
        notices=notices,
    )


def joined_words(pages: Sequence[str]) -> list[str]:
    r"""Return pages with the words joined that were hyphenated at the end of a line.

    A hyphen that belongs to the word is kept: if the document has the word with a hyphen elsewhere,
    before a digit or a capital, or after a single letter or a prefix such as "well". It is dropped
    if the document has the word without a hyphen elsewhere.

    >>> joined_words(["a light\x02house", "a well\x02known rule", "Jean\x02Paul, 1914\x0218"])
    ['a lighthouse', 'a well-known rule', 'Jean-Paul, 1914-18']
    """
    if not any(LINE_HYPHEN in page for page in pages):
        return list(pages)
    known = {word.casefold() for page in pages for word in _WORD.findall(page)}

    def join(match: re.Match[str]) -> str:
        first, second = match.groups()
        hyphenated, plain = f"{first}-{second}", f"{first}{second}"
        if hyphenated.casefold() in known:
            return hyphenated
        if plain.casefold() in known:
            return plain
        # A word is not broken after one letter.
        compound = len(first) == 1 or first.casefold() in PREFIXES
        compound |= not (first[-1] + second[0]).isalpha()
        return hyphenated if compound or second[0].isupper() else plain

    return [_HYPHENATED.sub(join, page).replace(LINE_HYPHEN, "-") for page in pages]


def _pages_with(pages: Sequence[int], total: int, what: str) -> str:
    """Return the remark that some pages have something, such as no text layer.

    >>> _pages_with([2], 3, "no text"), _pages_with([1, 2, 3, 5, 6, 8, 9, 10], 12, "no text")
    ('page 2 of 3 has no text', 'pages 1, 2, 3, 5, 6, ... (8 of 12) have no text')
    """
    if len(pages) == 1:
        return f"page {pages[0]} of {total} has {what}"
    shown = ", ".join(map(str, pages[:SHOWN_PAGES])) + ", ..." * (len(pages) > SHOWN_PAGES)
    return f"pages {shown} ({len(pages)} of {total}) have {what}"


def close_pdfs() -> None:
    """Stop the PDF process; the next PDF starts a new one."""
    _process.close()


class PdfProcess:
    """A process that reads PDFs one after another; started for the first, restarted if it dies.

    Threads take turns.

    Args:
        command: The command to run; by default Python with `pdfium.py`.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        # Without -P, Python would import modules from the working folder, which is untrusted.
        usual = [sys.executable, "-P", "-m", "ettin_cli.corpus.pdfium", str(MAX_PDF_MEMORY)]
        self.command = command or usual
        self.process: subprocess.Popen[bytes] | None = None
        self.lock = Lock()

    def read(self, path: Path) -> tuple[str, list[str | None], bool]:
        """Return a PDF's title, the text of each page, and whether the PDF was repaired.

        A page that cannot be read has `None` for its text.

        Raises:
            UnreadableError: It cannot be read within the limits.
        """
        request = {
            "path": str(path),
            "seconds": MAX_PDF_SECONDS,
            "pages": MAX_PAGES,
            "characters": MAX_TEXT_BYTES,
        }
        with self.lock:
            try:
                end, pages = self._answer(json.dumps(request).encode() + b"\n")
            except BaseException:
                # The process may be in the middle of an answer.
                self._end()
                raise
        if "reason" in end:
            raise UnreadableError(end["reason"])
        return end["title"], pages, end["repaired"]

    def close(self) -> None:
        """Stop the process, if there is one, after any PDF that is being read."""
        with self.lock:
            self._end()

    def _end(self) -> None:
        atexit.unregister(self._end)
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()

    def disown(self) -> None:
        """Leave the process to the parent that this process was forked from.

        The shared pipes are closed without flushing what another thread may have been writing.
        """
        self.lock = Lock()
        process, self.process = self.process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                cast(io.BufferedReader, pipe).raw.close()
            # The parent waits for it.
            process.returncode = 0

    def _answer(self, request: bytes) -> tuple[dict[str, Any], list[str | None]]:
        process = self._running()
        pages: list[str | None] = []
        try:
            cast(IO[bytes], process.stdin).write(request)
            cast(IO[bytes], process.stdin).flush()
        except OSError as error:
            raise UnreadableError(_death(process.wait())) from error
        for line in iter(cast(IO[bytes], process.stdout).readline, b""):
            if not line.endswith(b"\n"):
                break
            answer = json.loads(line)
            if isinstance(answer, dict):
                return answer, pages
            pages.append(answer)
        raise UnreadableError(_death(process.wait()))

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is not None and self.process.poll() is not None:
            self._end()
        if self.process is None:
            path = os.pathsep.join(filter(None, sys.path))
            try:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": path},
                )
            except OSError as error:
                raise UnreadableError(f"cannot start the PDF process: {error.strerror}") from error
            atexit.register(self._end)
        return self.process


def _death(code: int) -> str:
    if code == TOO_LONG:
        return f"takes longer than {MAX_PDF_SECONDS:g} s to read"
    return f"takes more than {MAX_PDF_MEMORY // MIB:,} MiB of memory to read, or crashes PDFium"


_process = PdfProcess()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.disown)


PDF = DocumentReader(name="PDF", suffixes=(".pdf",), read=pdf_document)
