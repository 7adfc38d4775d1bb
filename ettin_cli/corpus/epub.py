"""EPUB -> a document: its chapters in reading order."""

from __future__ import annotations

import re
from dataclasses import replace
from html.entities import html5
from pathlib import Path
from typing import Any

from ettin_cli.corpus.content import decode
from ettin_cli.corpus.html import html_document
from ettin_cli.corpus.packages import DAMAGES, Package, joined, package, parse_xml
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.errors import first_line
from ettin_cli.records import Document, Heading
from ettin_cli.storage import UnreadableError

CONTAINER = "META-INF/container.xml"
XML_ENTITIES = frozenset([b"amp", b"lt", b"gt", b"quot", b"apos"])
_ENTITY = re.compile(rb"&(\w+);")
_PAGE = re.compile(r"\.x?html?$", re.IGNORECASE)


def epub_document(path: Path, doc_id: str) -> Document:
    """Return a book's chapters in reading order; missing or damaged ones are its faults.

    Raises:
        UnreadableError: It is damaged, exceeds the limits when unpacked, or no chapter of it can
            be read.
    """
    with package(path, "EPUB", whole=False) as book:
        title, names = _spine(book)
        read = [_chapter(book, name, doc_id) for name in names]
        chapters = [chapter for chapter in read if chapter.text.strip()]
        if book.faults and not chapters:
            raise LookupError(book.faults[0])
    headings: list[Heading] = []
    begin = 0
    for chapter in chapters:
        headings += [replace(one, line=begin + one.line) for one in chapter.headings]
        begin += chapter.text.count("\n") + 2
    text = "\n\n".join(chapter.text for chapter in chapters)
    return Document(doc_id, text, title=title, headings=headings, faults=book.faults)


def _chapter(book: Package, name: str, doc_id: str) -> Document:
    """Return a chapter; an empty one, with a fault, if it cannot be read."""
    try:
        return html_document(decode(book.read(name)), doc_id)
    except UnreadableError as error:
        if book.left < 0:
            raise
        book.faults.append(f"chapter {name} cannot be read: {error}")
    except DAMAGES as error:
        missing = book.find(name) is None
        reason = "is missing" if missing else f"cannot be read: {first_line(error)}"
        book.faults.append(f"chapter {name} {reason}")
    return Document(doc_id, "")


def _spine(book: Package) -> tuple[str, list[str]]:
    """Return the title and the names of the chapters in reading order."""
    name = _listing_name(book)
    listing = _lenient(book.read(name))
    title = " ".join((listing.findtext(".//{*}title") or "").split())
    folder = name.rpartition("/")[0]
    items = {item.get("id", ""): item for item in listing.iterfind(".//{*}item")}
    wanted = [item.get("idref", "") for item in listing.iterfind(".//{*}itemref")]
    ordered = dict.fromkeys(wanted)
    unknown = [one for one in ordered if one not in items]
    book.faults += [f'the reading order lists "{one}", which is not in the book' for one in unknown]
    chapters: list[str] = []
    first: dict[str, str] = {}
    for one in [one for one in wanted if one in items] or items:
        chapter = joined(folder, items[one].get("href", ""))
        text = one in ordered or _PAGE.search(chapter)
        # Items that differ in the fragment alone are one chapter.
        if text and not _is_picture(items[one]) and first.setdefault(chapter, one) == one:
            chapters.append(chapter)
    return title, chapters


def _listing_name(book: Package) -> str:
    """Return the name of the part that lists the others."""
    if book.find(CONTAINER):
        rootfile = _lenient(book.read(CONTAINER)).find(".//{*}rootfile")
        if rootfile is not None:
            return joined("", rootfile.get("full-path", ""))
    found = next((name for name in book.archive.namelist() if name.endswith(".opf")), None)
    if found is None:
        raise LookupError(f"no rootfile in {CONTAINER}")
    return found


def _is_picture(item: Any) -> bool:
    kind = item.get("media-type", "")
    return kind.startswith("image/") and "svg" not in kind


def _lenient(content: bytes) -> Any:
    """Return the root of XML that may have HTML's entities or be malformed."""
    content = _ENTITY.sub(_character, content)
    try:
        return parse_xml(content)
    except SyntaxError:
        return parse_xml(content, recover=True)


def _character(match: re.Match[bytes]) -> bytes:
    """Return the character reference of an entity of HTML."""
    name = match.group(1)
    text = None if name in XML_ENTITIES else html5.get(f"{name.decode('ascii', 'replace')};")
    return match.group() if text is None else text.encode("ascii", "xmlcharrefreplace")


EPUB = DocumentReader(name="EPUB", suffixes=(".epub",), read=epub_document)
