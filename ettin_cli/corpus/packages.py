"""DOCX, EPUB, email and PDF -> documents, through the libraries that know them."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from ettin_cli.corpus.content import decode
from ettin_cli.corpus.html import html_document
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError, opened

MAX_UNPACKED_BYTES = 1 << 30


def pdf_document(path: Path, doc_id: str) -> Document:
    """Return a PDF's text layer, each line with its page.

    Raises:
        UnreadableError: It is damaged, needs a password, or has no text layer.
    """
    import pypdfium2

    try:
        with pypdfium2.PdfDocument(path) as pdf:
            title = pdf.get_metadata_value("Title")
            pages = [_page_text(page) for page in pdf]
    except pypdfium2.PdfiumError as error:
        password = "password" in str(error).lower()
        reason = "needs a password" if password else f"not a whole PDF: {error}"
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


def docx_document(path: Path, doc_id: str) -> Document:
    """Return a DOCX file's paragraphs and tables, in their order, headings marked as in Markdown.

    Raises:
        UnreadableError: It is damaged or unpacks to more than 1 GiB.
    """
    import docx

    _check_zip(path)
    try:
        file = docx.Document(str(path))
        blocks = list(_docx_blocks(file))
        title = (file.core_properties.title or "").strip()
    except (KeyError, ValueError, AttributeError, SyntaxError, zipfile.BadZipFile) as error:
        raise UnreadableError(f"not a whole DOCX: {error}") from error
    except Exception as error:
        if type(error).__module__.startswith("docx"):
            raise UnreadableError(f"not a whole DOCX: {error}") from error
        raise
    heading = next((text.lstrip("# ") for text in blocks if text.startswith("#")), "")
    return Document(doc_id, "\n\n".join(blocks), title=title or heading, kind="markdown")


def _docx_blocks(file: Any) -> Iterator[str]:
    from docx.table import Table

    for block in file.iter_inner_content():
        if isinstance(block, Table):
            rows = (" | ".join(cell.text.strip() for cell in row.cells) for row in block.rows)
            text = "\n".join(rows)
        else:
            style = block.style.name if block.style is not None else ""
            text = block.text.strip()
            if text and (style == "Title" or style.startswith("Heading")):
                level = style.removeprefix("Heading").strip()
                text = "#" * (int(level) if level.isdigit() else 1) + " " + text
        if text.strip():
            yield text


def epub_document(path: Path, doc_id: str) -> Document:
    """Return a book's chapters in reading order.

    Raises:
        UnreadableError: It is damaged or unpacks to more than 1 GiB.
    """
    _check_zip(path)
    try:
        with zipfile.ZipFile(path) as book:
            title, names = _spine(book)
            chapters = [html_document(decode(book.read(name)), doc_id) for name in names]
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError) as error:
        raise UnreadableError(f"not a whole EPUB: {error}") from error
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


def _check_zip(path: Path) -> None:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as package:
            unpacked = sum(entry.file_size for entry in package.infolist())
    except zipfile.BadZipFile as error:
        raise UnreadableError(f"damaged or cut short: {error}") from error
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from error
    if unpacked > MAX_UNPACKED_BYTES:
        raise UnreadableError("unpacks to more than 1 GiB")


def email_document(path: Path, doc_id: str) -> Document:
    """Return a message's text, its subject as the title; sender and date are metadata."""
    with opened(path) as file:
        message = BytesParser(policy=policy.default).parse(file)
    body = message.get_body(("plain", "html")) if isinstance(message, EmailMessage) else None
    text = _body_text(body, doc_id) if body is not None else ""
    headers = {name: str(message[name]) for name in ("from", "to", "date") if message[name]}
    return Document(doc_id, text, title=str(message["subject"] or "").strip(), metadata=headers)


def _body_text(body: Any, doc_id: str) -> str:
    try:
        content: str = body.get_content()
    except (LookupError, UnicodeDecodeError) as error:
        raise UnreadableError(f"its text cannot be decoded: {error}") from error
    if body.get_content_type() == "text/html":
        return html_document(content, doc_id).text
    return content.replace("\r\n", "\n").strip("\n")
