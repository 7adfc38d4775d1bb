"""PDF and EPUB -> documents, and what unpacking a file takes."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from ettin_cli.corpus.content import decode
from ettin_cli.corpus.html import html_document
from ettin_cli.records import Document
from ettin_cli.settings import (
    MAX_MARKUP_BYTES,
    MAX_PAGES,
    MAX_TEXT_BYTES,
    MAX_UNPACKED_BYTES,
    MIB,
)
from ettin_cli.storage import UnreadableError, opened

# What grows that much in unpacking is no picture, whatever its name says.
GROWTH = 4
MARKUP = (".xml", ".rels")
# What Microsoft Office wraps an encrypted document in.
OLE_MARK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# What zipfile and the parsers raise, depending on which bytes are damaged.
DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    AttributeError,
    LookupError,
    SyntaxError,
    TypeError,
    ValueError,
)


def pdf_document(path: Path, doc_id: str) -> Document:
    """Return a PDF's text layer, each line with its page.

    Raises:
        UnreadableError: It is damaged, needs a password, has no text layer, or too much of one.
    """
    import pypdfium2

    try:
        with opened(path) as file, pypdfium2.PdfDocument(file) as pdf:
            title = pdf.get_metadata_value("Title")
            pages = _pages(pdf)
    except pypdfium2.PdfiumError as error:
        # PDFium repeats its last error where it does not know the reason.
        locked = "password" in str(error).lower() and b"/Encrypt" in path.read_bytes()
        reason = "needs a password" if locked else f"not a whole PDF: {error}"
        raise UnreadableError(reason) from error
    if pages and not any(page.strip() for page in pages):
        raise UnreadableError("no text layer (a scan?)")
    lines = [(line, number) for number, page in enumerate(pages, 1) for line in page.split("\n")]
    text = "\n".join(line for line, _ in lines)
    return Document(doc_id, text, title=title.strip(), pages=[number for _, number in lines])


def _pages(pdf: Any) -> list[str]:
    """Return the text of each page; many pages may share one that is long."""
    if len(pdf) > MAX_PAGES:
        raise UnreadableError(f"{len(pdf):,} pages, more than {MAX_PAGES:,}")
    pages, characters = [], 0
    for page in pdf:
        pages.append(_page_text(page))
        characters += len(pages[-1])
        if characters > MAX_TEXT_BYTES:
            raise UnreadableError(f"more than {MAX_TEXT_BYTES // MIB} MiB of text")
    return pages


def _page_text(page: Any) -> str:
    text: str = page.get_textpage().get_text_bounded()
    # pdfium marks a word that it took apart at a line end by U+FFFE.
    joined = text.replace("\ufffe\r\n", "").replace("\ufffe", "-").replace("\r\n", "\n")
    return joined.replace("\0", "")


def epub_document(path: Path, doc_id: str) -> Document:
    """Return a book's chapters in reading order.

    Raises:
        UnreadableError: It is damaged or unpacks to more than it may.
    """
    with package(path, "EPUB"), zipfile.ZipFile(path) as book:
        _require_small(book, ["META-INF/container.xml"])
        title, names = _spine(book)
        _require_small(book, names)
        chapters = [html_document(decode(book.read(name)), doc_id) for name in names]
    texts = [chapter.text for chapter in chapters if chapter.text.strip()]
    return Document(doc_id, "\n\n".join(texts), title=title)


def _spine(book: zipfile.ZipFile) -> tuple[str, list[str]]:
    container = ElementTree.fromstring(book.read("META-INF/container.xml"))
    package_name = _first(container, "rootfile").attrib["full-path"]
    _require_small(book, [package_name])
    package = ElementTree.fromstring(book.read(package_name))
    title = package.findtext(".//{*}title") or ""
    hrefs = {item.attrib["id"]: item.attrib["href"] for item in package.iterfind(".//{*}item")}
    folder = posixpath.dirname(package_name)
    chapters = [hrefs[item.attrib["idref"]] for item in package.iterfind(".//{*}itemref")]
    return title.strip(), [posixpath.normpath(posixpath.join(folder, unquote(c))) for c in chapters]


def _require_small(book: zipfile.ZipFile, names: Sequence[str]) -> None:
    """Make sure that what is to be read, as often as it is, has a bounded size."""
    if sum(book.getinfo(name).file_size for name in names) > MAX_MARKUP_BYTES:
        raise UnreadableError(f"unpacks to more than {MAX_MARKUP_BYTES // MIB} MiB of markup")


def require_small_markup(path: Path) -> None:
    """Make sure that the parts of a package that are trees of elements have a bounded size.

    Raises:
        UnreadableError: They do not.
    """
    with zipfile.ZipFile(path) as archive:
        markup = sum(
            entry.file_size
            for entry in archive.infolist()
            if entry.filename.lower().endswith(MARKUP)
            or entry.file_size > GROWTH * entry.compress_size
        )
    if markup > MAX_MARKUP_BYTES:
        raise UnreadableError(f"unpacks to more than {MAX_MARKUP_BYTES // MIB} MiB of markup")


def _first(tree: ElementTree.Element, name: str) -> ElementTree.Element:
    found = tree.find(f".//{{*}}{name}")
    if found is None:
        raise KeyError(f"no {name}")
    return found


@contextmanager
def package(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever goes wrong in unpacking a file into the reason why it cannot be read.

    Raises:
        UnreadableError: It is damaged, or unpacks to more than it may.
    """
    with opened(path) as file:
        encrypted = file.read(len(OLE_MARK)) == OLE_MARK
    if encrypted:
        raise UnreadableError(f"needs a password, or is older than {kind}")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise UnreadableError(f"unpacks to more than {MAX_UNPACKED_BYTES // MIB:,} MiB")
        yield
    except DAMAGES as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnreadableError(f"not a whole {kind}: {reason}") from error
