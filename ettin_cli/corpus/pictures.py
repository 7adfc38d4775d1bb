"""Pictures -> a document of the text that is recognised in them."""

from __future__ import annotations

from pathlib import Path, PurePath

from ettin_cli.corpus.ocr import OCR_COMMAND, Ocr, ocr_installed
from ettin_cli.corpus.pdf import document_of_pages, pages_with
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.corpus.scans import recognized_text
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif")


def unread_picture(path: Path, doc_id: str) -> Document:
    """Refuse a picture, whose text is not to be recognised.

    Raises:
        UnreadableError: Always.
    """
    raise UnreadableError("a picture, which only OCR can read")


def picture_document(path: Path, doc_id: str, ocr: Ocr) -> Document:
    """Return the recognised text of a picture, with the page of each line if it has pages.

    Raises:
        UnreadableError: It is damaged or too large, or the extra `ocr` is not installed.
    """
    if not ocr_installed():
        ocr.missed = True
        raise UnreadableError(f"needs rapidocr; {OCR_COMMAND}")
    found = ocr.recognizer.read(path)
    if found.total == 1 and found.faults:
        raise UnreadableError(found.faults[0].removeprefix("page 1 "))
    pages = [recognized_text(found.texts.get(number, "")) for number in range(1, found.total + 1)]
    empty = [number for number, page in enumerate(pages, 1) if not page.strip()]
    some = 0 < len(empty) < len(pages)
    return document_of_pages(
        doc_id,
        "",
        pages,
        [pages_with(empty, len(pages), "no recognisable text")] if some else [],
        faults=found.faults,
        metadata={"ocr": f"{len(pages) - len(empty):,} of {len(pages):,} pages recognised"},
    )


def is_picture(name: str) -> bool:
    """Return whether a file of this name is a picture.

    >>> is_picture("scans/A.JPG"), is_picture("a.svg")
    (True, False)
    """
    return PurePath(name.lower()).suffix in PICTURE_SUFFIXES


PICTURE = DocumentReader(
    name="picture", suffixes=PICTURE_SUFFIXES, read=unread_picture, read_scans=picture_document
)
