"""PDFs whose pages are pictures: their text is recognised if the text layer lacks it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ettin_cli.corpus.ocr import ALWAYS, OCR_HINT, Ocr, ocr_installed
from ettin_cli.corpus.pdf import (
    NO_TEXT,
    NO_TEXT_LAYER,
    document_of_pages,
    pages_with,
    pdf_document,
    read_pages,
)
from ettin_cli.corpus.pdfium import LINE_HYPHEN
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError

# A page with fewer characters in its text layer may be a scan with a stamp.
SPARSE = 200
_LINE_END_HYPHEN = re.compile(r"(?<=\w)[-‐]\n(?=[^\W\d_])")


def scanned_pdf(path: Path, doc_id: str, ocr: Ocr) -> Document:
    """Return a PDF's document with the recognised text of scanned pages, or of all.

    Scanned pages are those without a text layer, and those with little of it that are mostly
    pictures. A page on which nothing is recognised keeps its text layer.

    Raises:
        UnreadableError: As `pdf_document`, or no page has text.
    """
    text = read_pages(path)
    title, pages, empty = text.title, text.pages, text.empty
    read = [number for number in range(1, len(pages) + 1) if number not in text.lost]
    sparse = [number for number in read if len(pages[number - 1]) < SPARSE]
    wanted = read if ocr.mode == ALWAYS else sparse
    if not (wanted if ocr_installed() else empty):
        return document_of_pages(doc_id, title, pages, text.notices)
    if not ocr_installed():
        ocr.missed = True
        if not any(page.strip() for page in pages):
            raise UnreadableError(f"{NO_TEXT_LAYER}; {OCR_HINT}")
        notice = f"{pages_with(empty, len(pages), NO_TEXT)}; {OCR_HINT}"
        return document_of_pages(doc_id, title, pages, [*text.notices, notice])
    texts, faults = _recognized(path, pages, wanted, empty, ocr)
    for number, found in texts.items():
        pages[number - 1] = found
    if not any(page.strip() for page in pages):
        raise UnreadableError("; ".join(["no text is recognised on any page", *faults]))
    notices = list(text.notices)
    if text.empty:
        notices.append(pages_with(text.empty, len(pages), "no recognisable text"))
    return document_of_pages(
        doc_id,
        title,
        pages,
        notices,
        faults=faults,
        metadata={"ocr": f"{len(texts):,} of {len(pages):,} pages recognised"} if texts else None,
    )


def _recognized(
    path: Path, pages: Sequence[str], wanted: Sequence[int], empty: Sequence[int], ocr: Ocr
) -> tuple[dict[int, str], Sequence[str]]:
    """Return the recognised texts that replace the text layer of pages, and the faults.

    A stamp or a page number on a scan is also in the recognised text.
    """
    always = ocr.mode == ALWAYS
    sparse = () if always else [number for number in wanted if number not in set(empty)]
    try:
        found = ocr.recognizer.read(path, wanted, sparse)
    except UnreadableError as error:
        return {}, [f"text recognition failed: {error}"]
    texts = {number: recognized_text(text) for number, text in found.texts.items() if text.strip()}
    if not always:
        texts = {one: text for one, text in texts.items() if len(text) > len(pages[one - 1])}
    return texts, found.faults


def recognized_text(text: str) -> str:
    r"""Return recognised text with the mark of a PDF for a hyphen at the end of a line.

    >>> recognized_text("a light-\nhouse, 1914-\n18")
    'a light\x02house, 1914-\n18'
    """
    return _LINE_END_HYPHEN.sub(LINE_HYPHEN, text)


PDF = DocumentReader(name="PDF", suffixes=(".pdf",), read=pdf_document, read_scans=scanned_pdf)
