"""EPUB -> a document, and limits for unpacking."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from ettin_cli.corpus.content import decode
from ettin_cli.corpus.html import html_document
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.errors import first_line
from ettin_cli.records import Document
from ettin_cli.settings import MAX_MARKUP_BYTES, MAX_UNPACKED_BYTES, MIB
from ettin_cli.storage import UnreadableError, opened

# Data that grows more than this when unpacked is not an image, whatever its name.
GROWTH = 4
MARKUP = (".xml", ".rels")
# Signature of the container in which Microsoft Office stores encrypted documents.
OLE_MARK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Exceptions of zipfile and the parsers for damaged data.
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


def epub_document(path: Path, doc_id: str) -> Document:
    """Return a book's chapters in reading order.

    Raises:
        UnreadableError: It is damaged or exceeds the limits when unpacked.
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
    """Check that the total size of the parts to be read is bounded, counting repetitions."""
    if sum(book.getinfo(name).file_size for name in names) > MAX_MARKUP_BYTES:
        raise UnreadableError(f"more than {MAX_MARKUP_BYTES // MIB} MiB of markup when unpacked")


def require_small_markup(path: Path) -> None:
    """Check that the XML parts of a package have a bounded size.

    Raises:
        UnreadableError: They are too large.
    """
    with zipfile.ZipFile(path) as archive:
        markup = sum(
            entry.file_size
            for entry in archive.infolist()
            if entry.filename.lower().endswith(MARKUP)
            or entry.file_size > GROWTH * entry.compress_size
        )
    if markup > MAX_MARKUP_BYTES:
        raise UnreadableError(f"more than {MAX_MARKUP_BYTES // MIB} MiB of markup when unpacked")


def _first(tree: ElementTree.Element, name: str) -> ElementTree.Element:
    element = tree.find(f".//{{*}}{name}")
    if element is None:
        raise KeyError(f"no {name}")
    return element


@contextmanager
def package(path: Path, kind: str) -> Iterator[None]:
    """Convert any failure while unpacking into the reason why a file cannot be read.

    Raises:
        UnreadableError: It is damaged or exceeds the limits when unpacked.
    """
    with opened(path) as file:
        encrypted = file.read(len(OLE_MARK)) == OLE_MARK
    if encrypted:
        raise UnreadableError(f"needs a password, or is older than {kind}")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise UnreadableError(f"more than {MAX_UNPACKED_BYTES // MIB:,} MiB when unpacked")
        yield
    except DAMAGES as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise UnreadableError(f"not a valid {kind}: {reason}") from error


EPUB = DocumentReader(name="EPUB", suffixes=(".epub",), read=epub_document)
