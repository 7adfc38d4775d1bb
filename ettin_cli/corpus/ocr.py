"""Text recognition in pictures and scanned pages: whether it is there, its process, its results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ettin_cli.corpus.child import FAILED, TOO_LONG
from ettin_cli.corpus.recognized_pages import RecognizedPages, content_key
from ettin_cli.corpus.separate import ProcessDiedError, SeparateProcess, python_command
from ettin_cli.errors import InvalidArgumentError, MissingExtraError
from ettin_cli.platforms import quoted
from ettin_cli.records import no_progress
from ettin_cli.settings import AUTO, MAX_OCR_MEMORY, MAX_OCR_SECONDS, MIB
from ettin_cli.storage import UnreadableError

ALWAYS, NEVER = "always", "never"
MODES = (AUTO, ALWAYS, NEVER)
OCR_COMMAND = f"pip install {quoted('ettin-cli[ocr]')}"
OCR_HINT = f"to recognise it: {OCR_COMMAND}"
# The reason for a file that is read again once text can be recognised.
NEEDS_OCR = "with pages that need OCR"
# More threads are hardly faster, and each takes memory.
MOST_THREADS = 8
# A file is given up after so many pages in a row whose recognition took too much.
MOST_DEATHS = 3


def ocr_installed() -> bool:
    """Return whether text can be recognised: whether the extra `ocr` is installed."""
    return find_spec("rapidocr") is not None


def require_ocr() -> None:
    """Check that text can be recognised.

    Raises:
        MissingExtraError: The extra `ocr` is not installed.
    """
    if not ocr_installed():
        raise MissingExtraError("text recognition needs rapidocr", package="ettin-cli[ocr]")


def require_ocr_mode(mode: str) -> None:
    """Check the name of a mode of text recognition.

    Raises:
        InvalidArgumentError: It is unknown.
    """
    if mode not in MODES:
        raise InvalidArgumentError(
            f"{mode!r} is not one of {', '.join(MODES)}",
            argument="ocr",
            value=mode,
            choices=MODES,
        )


@dataclass(slots=True)
class Recognized:
    """What was recognised in a file: its number of pages, texts by page, and faults."""

    total: int = 0
    texts: dict[int, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Recognizer:
    """Recognises text in a separate process that can be killed, and counts the pages.

    Args:
        threads: Number of threads.
        kept: The pages recognised by an interrupted run; None: none are kept.
    """

    def __init__(self, threads: int = 1, kept: RecognizedPages | None = None) -> None:
        command = python_command(
            "ettin_cli.corpus.recognizing", MAX_OCR_MEMORY, min(threads, MOST_THREADS)
        )
        self.process = SeparateProcess(command, "the OCR process")
        self.kept = kept
        self.files = self.pages = 0
        self._paced, self._seconds = 0, 0.0
        # Called after each page, to refresh what is shown of `note`.
        self.advance: Callable[[int], None] = no_progress
        self._current = ""

    def note(self) -> str:
        """Return what is being recognised, and the pace; empty if nothing is."""
        if not self._current:
            return ""
        return f"{self._current}, {60 * self._paced / max(self._seconds, 1e-3):.1f} pages/min"

    def read(
        self, path: Path, wanted: Sequence[int] | None = None, sparse: Sequence[int] = ()
    ) -> Recognized:
        """Return the text of the wanted pages of a PDF or picture, by default of all.

        A page that takes too much time or memory is a fault, and the next ones are read.

        Args:
            sparse: Pages that are read only if they are mostly pictures.

        Raises:
            UnreadableError: The file cannot be opened.
        """
        key = content_key(path)
        found = Recognized(texts=self._known(key, wanted))
        if wanted is None and 0 in found.texts:
            wanted = range(1, int(found.texts.pop(0)) + 1)
        left = None if wanted is None else [one for one in wanted if one not in found.texts]
        found.total = len(wanted or ())
        deaths = 0
        try:
            while left is None or left:
                before = len(left or ())
                request = {"path": str(path), "pages": left, "sparse": list(sparse)}
                left, reason = self._try(path, key, request, found)
                if reason and left:
                    deaths = deaths + 1 if len(left) == before else 1
                    found.faults.append(f"page {left.pop(0)} {reason}")
                    if left and deaths == MOST_DEATHS:
                        found.faults.append(f"pages from {left[0]} on were given up")
                        break
                elif reason and not found.total:
                    raise UnreadableError(reason)
        finally:
            self._current = ""
        self.files += 1
        self.pages += len(found.texts)
        return found

    def _try(
        self, path: Path, key: str, request: dict[str, Any], found: Recognized
    ) -> tuple[list[int], str]:
        """Recognise pages; return those that are left if the process died, and why it did."""
        began, todo = time.monotonic(), list(request["pages"] or ())
        request["seconds"] = MAX_OCR_SECONDS
        failure = ""
        with closing(self.process.answers(request)) as answers:
            try:
                for answer in answers:
                    if isinstance(answer, dict):
                        failure = str(answer.get("reason", ""))
                    elif isinstance(answer, int):
                        todo = todo or list(range(1, answer + 1))
                        found.total = max(found.total, len(todo))
                        self._keep(key, 0, str(answer))
                    else:
                        number, text, fault = answer
                        todo.remove(number)
                        if text is None:
                            continue
                        self._add(key, number, text, fault, found)
                        now = time.monotonic()
                        self._seconds, began = self._seconds + now - began, now
                        self._paced += 1
                        done = found.total - len(todo)
                        of = f"page {done:,} of {found.total:,} of " if found.total > 1 else ""
                        self._current = f"OCR of {of}{path.name}"
                        self.advance(0)
            except ProcessDiedError as error:
                return todo, _death(error.code)
        if failure:
            raise UnreadableError(failure)
        return [], ""

    def _add(self, key: str, number: int, text: str, fault: str, found: Recognized) -> None:
        if fault:
            found.faults.append(f"page {number} {fault}")
            return
        found.texts[number] = text
        self._keep(key, number, text)

    def _known(self, key: str, wanted: Sequence[int] | None) -> dict[int, str]:
        if self.kept is None:
            return {}
        return self.kept.pages(key, wanted)

    def _keep(self, key: str, number: int, text: str) -> None:
        if self.kept is not None:
            self.kept.add(key, number, text)

    def close(self) -> None:
        """Stop the process, if there is one; the next page starts a new one."""
        self.process.close()


@dataclass(slots=True)
class Ocr:
    """How a file is read: the mode, and what recognises its text.

    `missed` is set if the file has pages that only recognition could read.
    """

    mode: str
    recognizer: Recognizer
    missed: bool = False


def _death(code: int) -> str:
    if code == TOO_LONG:
        return f"takes longer than {MAX_OCR_SECONDS:g} s to recognise"
    if code == FAILED:
        return "fails in text recognition"
    return f"takes more than {MAX_OCR_MEMORY // MIB:,} MiB of memory to recognise, or crashes"
