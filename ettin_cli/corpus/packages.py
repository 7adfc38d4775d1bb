"""PDF and EPUB -> documents, and what unpacking a file takes."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from ettin_cli.corpus.content import decode
from ettin_cli.corpus.html import html_document
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError, opened

MAX_UNPACKED_BYTES = 1 << 30
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
        UnreadableError: It is damaged, needs a password, or has no text layer.
    """
    import pypdfium2

    try:
        with opened(path) as file, pypdfium2.PdfDocument(file) as pdf:
            title = pdf.get_metadata_value("Title")
            pages = [_page_text(page) for page in pdf]
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


def _page_text(page: Any) -> str:
    text: str = page.get_textpage().get_text_bounded()
    # pdfium marks a word that it took apart at a line end by U+FFFE.
    joined = text.replace("\ufffe\r\n", "").replace("\ufffe", "-").replace("\r\n", "\n")
    return joined.replace("\0", "")


def epub_document(path: Path, doc_id: str) -> Document:
    """Return a book's chapters in reading order.

    Raises:
        UnreadableError: It is damaged or unpacks to more than 1 GiB.
    """
    with package(path, "EPUB"), zipfile.ZipFile(path) as book:
        title, names = _spine(book)
        chapters = [html_document(decode(book.read(name)), doc_id) for name in names]
    texts = [chapter.text for chapter in chapters if chapter.text.strip()]
    return Document(doc_id, "\n\n".join(texts), title=title)


def _spine(book: zipfile.ZipFile) -> tuple[str, list[str]]:
    container = ElementTree.fromstring(book.read("META-INF/container.xml"))
    package_name = _first(container, "rootfile").attrib["full-path"]
    package = ElementTree.fromstring(book.read(package_name))
    title = package.findtext(".//{*}title") or ""
    hrefs = {item.attrib["id"]: item.attrib["href"] for item in package.iterfind(".//{*}item")}
    folder = posixpath.dirname(package_name)
    chapters = [hrefs[item.attrib["idref"]] for item in package.iterfind(".//{*}itemref")]
    return title.strip(), [posixpath.normpath(posixpath.join(folder, unquote(c))) for c in chapters]


def _first(tree: ElementTree.Element, name: str) -> ElementTree.Element:
    found = tree.find(f".//{{*}}{name}")
    if found is None:
        raise KeyError(f"no {name}")
    return found


@contextmanager
def package(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever goes wrong in unpacking a file into the reason why it cannot be read.

    Raises:
        UnreadableError: It is damaged, or unpacks to more than 1 GiB.
    """
    with opened(path) as file:
        encrypted = file.read(len(OLE_MARK)) == OLE_MARK
    if encrypted:
        raise UnreadableError(f"needs a password, or is older than {kind}")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise UnreadableError("unpacks to more than 1 GiB")
        yield
    except DAMAGES as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnreadableError(f"not a whole {kind}: {reason}") from error
