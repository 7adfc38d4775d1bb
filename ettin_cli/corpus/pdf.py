"""PDF -> a document, read in a separate process that can be killed."""

from __future__ import annotations

import atexit
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import IO, cast

from ettin_cli.corpus.pdfium import TOO_LONG
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document
from ettin_cli.settings import MAX_PAGES, MAX_PDF_MEMORY, MAX_PDF_SECONDS, MAX_TEXT_BYTES, MIB
from ettin_cli.storage import UnreadableError


def pdf_document(path: Path, doc_id: str) -> Document:
    """Return a PDF's text layer, with the page of each line.

    Raises:
        UnreadableError: It is damaged, needs a password, has no text layer, or exceeds the limits
            of text, time or memory.
    """
    title, pages = _process.read(path)
    if pages and not any(page.strip() for page in pages):
        raise UnreadableError("no text layer (a scan?)")
    lines = [(line, number) for number, page in enumerate(pages, 1) for line in page.split("\n")]
    text = "\n".join(line for line, _ in lines)
    return Document(doc_id, text, title=title.strip(), pages=[number for _, number in lines])


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

    def read(self, path: Path) -> tuple[str, list[str]]:
        """Return a PDF's title and the text of each page.

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
        return end["title"], pages

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

    def _answer(self, request: bytes) -> tuple[dict[str, str], list[str]]:
        process = self._running()
        pages: list[str] = []
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
