"""The main content of a saved page: its text without navigation and boilerplate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

from ettin_cli.corpus.child import FAILED, TOO_LONG
from ettin_cli.corpus.html import html_document
from ettin_cli.corpus.separate import ProcessDiedError, SeparateProcess, python_command, share
from ettin_cli.errors import MissingExtraError
from ettin_cli.records import Document
from ettin_cli.settings import MAX_PAGE_MEMORY, MAX_PAGE_SECONDS, MIB

# Finding the main content of larger pages may take too long.
MAX_PAGE = 4 << 20
SHINGLE = 4
# A line of so many words with a punctuation mark is a sentence, which stays wherever it is.
SENTENCE = 10
# The letters of scripts without spaces between words count as words.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_MARK = re.compile(r"[.!?:;,\u2026\u061f\u060c\u0964\u3001\u3002\uff01\uff0c\uff1a\uff1f]")


def require_main_content() -> None:
    """Check that the main content of pages can be found.

    Raises:
        MissingExtraError: The extra `formats` is not installed.
    """
    if not (find_spec("trafilatura") and find_spec("lxml_html_clean")):
        raise MissingExtraError(
            "finding the main content of pages needs trafilatura", package="ettin-cli[formats]"
        )


def main_document(text: str, doc_id: str) -> tuple[Document, int]:
    """Return a page's document with the lines of its main content, and how many were left out.

    Sentences stay outside of it too, and a line between two lines that stay. A page without main
    content, or of more than 4 MiB, keeps all of its lines. So does one in which it cannot be found
    within the limits of time and memory, with a notice.
    """
    document = html_document(text, doc_id)
    try:
        main = _process.main_text(text) if len(text) <= MAX_PAGE else ""
    except ProcessDiedError as error:
        return replace(document, notices=[*document.notices, _death(error.code)]), 0
    if not main.strip():
        return document, 0
    shingles, short = _shingles(main)
    lines = document.text.split("\n")
    wanted = _with_gaps(lines, [_is_wanted(line, shingles, short) for line in lines])
    kept = [
        at
        for at, line in enumerate(lines)
        # A blank line stays between two lines that stay.
        if wanted[at] and (line or (at > 0 and lines[at - 1] and wanted[at - 1]))
    ]
    if not any(lines[at] for at in kept):
        return document, 0
    while not lines[kept[-1]]:
        kept.pop()
    left_out = sum(not one for one in wanted)
    numbers = [document.lines[at] for at in kept]
    main_lines = "\n".join(lines[at] for at in kept)
    new = {at: line for line, at in enumerate(kept)}
    headings = [replace(one, line=new[one.line]) for one in document.headings if one.line in new]
    return replace(document, text=main_lines, lines=numbers, headings=headings), left_out


def _is_wanted(line: str, shingles: set[tuple[str, ...]], short: set[tuple[str, ...]]) -> bool:
    words = _WORD.findall(line.lower())
    sentence = len(words) >= SENTENCE and _MARK.search(line)
    return bool(not line or sentence or _is_in(words, shingles, short))


def _with_gaps(lines: list[str], wanted: list[bool]) -> list[bool]:
    """Return which lines are wanted, with each single line between two that are."""
    full = [at for at, line in enumerate(lines) if line]
    filled = list(wanted)
    for before, at, after in zip(full, full[1:], full[2:], strict=False):
        filled[at] = wanted[at] or (wanted[before] and wanted[after])
    return filled


class MainContentProcess(SeparateProcess):
    """A process that finds the main content of pages, one after another.

    Args:
        command: The command to run; by default Python with `extraction.py`.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        usual = python_command("ettin_cli.corpus.extraction", MAX_PAGE_MEMORY)
        super().__init__(command or usual, "the process that finds main content")

    def main_text(self, page: str) -> str:
        """Return the text of a page's main content; empty if it has none.

        Raises:
            ProcessDiedError: It cannot be found within the limits.
        """
        (answer,) = self.ask({"page": page, "seconds": MAX_PAGE_SECONDS})
        text: str = answer["text"]
        return text


def _death(code: int) -> str:
    limits = {TOO_LONG: f" within {MAX_PAGE_SECONDS:g} s", FAILED: ""}
    where = limits.get(code, f" within {MAX_PAGE_MEMORY // MIB:,} MiB of memory")
    return f"all of the page is kept: its main content is not found{where}"


_process = MainContentProcess()
share(_process)


def _shingles(text: str) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """Return all runs of four words of a text, and all of its lines of fewer words."""
    words = _WORD.findall(text.lower())
    short = {tuple(_WORD.findall(line.lower())) for line in re.split(r"[\n|]", text)}
    return {tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)}, short


def _is_in(words: list[str], shingles: set[tuple[str, ...]], short: set[tuple[str, ...]]) -> bool:
    """Return whether at least half of a line is in the main content."""
    if len(words) < SHINGLE:
        return not words or tuple(words) in short
    runs = [tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)]
    return tuple(words) in short or 2 * sum(run in shingles for run in runs) >= len(runs)
