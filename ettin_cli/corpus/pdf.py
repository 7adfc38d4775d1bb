"""PDF -> a document, read in a separate process that can be killed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ettin_cli.corpus.child import FAILED, TOO_LONG
from ettin_cli.corpus.pdf_running import without_running_lines
from ettin_cli.corpus.pdfium import LINE_HYPHEN
from ettin_cli.corpus.separate import ProcessDiedError, SeparateProcess, python_command, share
from ettin_cli.records import Document, Metadata
from ettin_cli.settings import MAX_PAGES, MAX_PDF_MEMORY, MAX_PDF_SECONDS, MAX_TEXT_BYTES, MIB
from ettin_cli.storage import UnreadableError

# First parts that keep their hyphen in English compounds.
PREFIXES = frozenset("all ex half high ill long low non quasi self semi short so well".split())
SHOWN_PAGES = 5
NO_TEXT = "no text layer"
NO_TEXT_LAYER = f"{NO_TEXT} (a scan?)"
# What PDFium has for a character that a font does not name.
_UNKNOWN = re.compile("[\x01\x03-\x08\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufffd]")
_WORD = re.compile(r"\w+(?:-\w+)*")
_HYPHENATED = re.compile(rf"(\w+){LINE_HYPHEN}(\w+)")


@dataclass(frozen=True, slots=True)
class PdfText:
    """The text layer of a PDF.

    Args:
        pages: The text of each page.
        lost: The pages that cannot be read.
        notices: What is damaged.
    """

    title: str
    pages: list[str]
    lost: frozenset[int]
    notices: list[str]

    @property
    def empty(self) -> list[int]:
        """The pages without text, among those that can be read."""
        every = enumerate(self.pages, 1)
        return [number for number, page in every if not page.strip() and number not in self.lost]


def pdf_document(path: Path, doc_id: str) -> Document:
    """Return a PDF's text layer, with the page of each line.

    Raises:
        UnreadableError: It is damaged, needs a password, has no text layer, or exceeds the limits
            of text, time or memory.
    """
    text = read_pages(path)
    if text.pages and not any(page.strip() for page in text.pages):
        raise UnreadableError(NO_TEXT_LAYER)
    notices = list(text.notices)
    if text.empty:
        notices.append(pages_with(text.empty, len(text.pages), NO_TEXT))
    return document_of_pages(doc_id, text.title, text.pages, notices)


def read_pages(path: Path) -> PdfText:
    """Return the text layer of a PDF; a page of which no character is known has none.

    Raises:
        UnreadableError: As in `pdf_document`.
    """
    title, found, repaired = _process.read(path)
    lost = [number for number, page in enumerate(found, 1) if page is None]
    notices = ["is damaged; some of it may be missing"] if repaired else []
    if lost:
        notices.append(pages_with(lost, len(found), "damage and cannot be read"))
    pages = [page if page and _is_legible(page) else "" for page in found]
    if repaired and not any(page.strip() for page in pages):
        raise UnreadableError("not a valid PDF: it is damaged, and has no text layer")
    return PdfText(title, pages, frozenset(lost), notices)


def _is_legible(page: str) -> bool:
    """Return whether at most half of a page are characters that its fonts do not name."""
    return 2 * len(_UNKNOWN.findall(page)) <= sum(not one.isspace() for one in page)


def document_of_pages(
    doc_id: str,
    title: str,
    pages: Sequence[str],
    notices: Sequence[str] = (),
    *,
    faults: Sequence[str] = (),
    metadata: Metadata | None = None,
) -> Document:
    """Return the document of a file's pages; words hyphenated at the end of a line are joined."""
    joined = without_running_lines(joined_words(pages))
    lines = [(line, number) for number, page in enumerate(joined, 1) for line in page.split("\n")]
    return Document(
        doc_id,
        "\n".join(line for line, _ in lines),
        title=title.strip(),
        metadata=metadata or {},
        pages=[number for _, number in lines],
        notices=notices,
        faults=faults,
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


def pages_with(pages: Sequence[int], total: int, what: str) -> str:
    """Return the remark that some pages have something, such as no text layer.

    >>> pages_with([2], 3, "no text"), pages_with([1, 2, 3, 5, 6, 8, 9, 10], 12, "no text")
    ('page 2 of 3 has no text', 'pages 1, 2, 3, 5, 6, ... (8 of 12) have no text')
    """
    if len(pages) == 1:
        return f"page {pages[0]} of {total} has {what}"
    shown = ", ".join(map(str, pages[:SHOWN_PAGES])) + ", ..." * (len(pages) > SHOWN_PAGES)
    return f"pages {shown} ({len(pages)} of {total}) have {what}"


class PdfProcess(SeparateProcess):
    """A process that reads PDFs one after another; started for the first, restarted if it dies.

    Args:
        command: The command to run; by default Python with `pdfium.py`.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        usual = python_command("ettin_cli.corpus.pdfium", MAX_PDF_MEMORY)
        super().__init__(command or usual, "the PDF process")

    def read(self, path: Path) -> tuple[str, list[str | None], bool]:
        """Return a PDF's title, the text of each page, and whether the PDF was repaired.

        A page that cannot be read has None for its text.

        Raises:
            UnreadableError: It cannot be read within the limits.
        """
        request = {
            "path": str(path),
            "seconds": MAX_PDF_SECONDS,
            "pages": MAX_PAGES,
            "characters": MAX_TEXT_BYTES,
        }
        try:
            *pages, end = self.ask(request)
        except ProcessDiedError as error:
            raise UnreadableError(_death(error.code)) from error
        if "reason" in end:
            raise UnreadableError(end["reason"])
        return end["title"], pages, end["repaired"]


def _death(code: int) -> str:
    if code == TOO_LONG:
        return f"takes longer than {MAX_PDF_SECONDS:g} s to read"
    if code == FAILED:
        return "fails in the PDF reader"
    return f"takes more than {MAX_PDF_MEMORY // MIB:,} MiB of memory to read, or crashes PDFium"


_process = PdfProcess()
share(_process)
