"""A file of any known format -> its documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import cast

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.docx import docx_document
from ettin_cli.corpus.html import html_document
from ettin_cli.corpus.mail import email_document
from ettin_cli.corpus.packages import epub_document
from ettin_cli.corpus.pdf import pdf_document
from ettin_cli.corpus.records import Fields, NoTextFieldError, RecordError, record_document
from ettin_cli.corpus.sources import SourceFile
from ettin_cli.corpus.suffixes import TABLES, kind_of
from ettin_cli.corpus.tables import Row, jsonl, read_table
from ettin_cli.corpus.titles import markdown_title, rst_title, split_front_matter
from ettin_cli.records import Document, DocumentKind, Rejection
from ettin_cli.settings import MAX_MARKUP_BYTES
from ettin_cli.storage import STREAM, UnreadableError, record_lines

TABLE_KINDS = {suffix[1:] for suffix in TABLES} | {"jsonl"}
EMPTY = "empty"
PROBED_ROWS = 100
READERS: dict[str, Callable[[Path, str], Document]] = {
    "pdf": pdf_document,
    "docx": docx_document,
    "epub": epub_document,
    "eml": email_document,
}


def read_file(
    file: SourceFile,
    fields: Fields,
    reject: Callable[[Rejection], None],
    skip: Callable[[str], None],
    *,
    blank: bool = False,
) -> Iterator[Document]:
    """Yield a file's documents; what cannot be read is reported, not raised.

    Args:
        fields: The names of a record's id and text fields.
        reject: Told of every record or file that is broken.
        skip: Told why a file found in a folder holds nothing to index.
        blank: Whether documents without a text are yielded like the others.
    """
    kind = "jsonl" if file.path is None else kind_of(file.name)
    shown = str(file.path or STREAM)
    try:
        if kind in TABLE_KINDS:
            yield from _records(file, kind, fields, reject, skip, blank=blank)
            return
        document = _document(cast(Path, file.path), file.name, cast(str, kind))
    except UnreadableError as error:
        reject(Rejection(shown, str(error)))
        return
    if blank or document.text.strip() or (kind == "eml" and document.title):
        yield document
    elif file.in_folder:
        skip(EMPTY)
    else:
        reject(Rejection(shown, EMPTY))


def _document(path: Path, name: str, kind: str) -> Document:
    if kind in READERS:
        return READERS[kind](path, name)
    if kind == "html":
        return html_document(read_text(path, MAX_MARKUP_BYTES), name)
    text = read_text(path)
    return _text_document(text, name, cast(DocumentKind, kind))


def _text_document(text: str, name: str, kind: DocumentKind) -> Document:
    title, skipped = "", 0
    if kind == "markdown":
        skipped, title = split_front_matter(text)
        text = "\n".join(text.split("\n")[skipped:])
        title = title or markdown_title(text)
    elif kind == "rst":
        title = rst_title(text)
    lines = range(skipped + 1, skipped + text.count("\n") + 2)
    return Document(name, text, title=title, kind=kind, lines=lines)


def _records(
    file: SourceFile,
    kind: str,
    fields: Fields,
    reject: Callable[[Rejection], None],
    skip: Callable[[str], None],
    *,
    blank: bool,
) -> Iterator[Document]:
    rows = _rows(file, kind, fields.columns)
    shown = str(file.path or STREAM)
    first = list(islice(rows, PROBED_ROWS))
    unfit = _unfit(first, fields, file.in_folder)
    if unfit and file.in_folder:
        skip(EMPTY if unfit.reason == EMPTY else "table without a text field")
        return
    if unfit:
        reject(replace(unfit, path=shown))
        return
    for record, line, number in chain(first, rows):
        try:
            if isinstance(record, RecordError):
                raise record
            yield _record(file, record, fields, line, number, blank=blank)
        except RecordError as error:
            place = f"{error} (record {number})" if number and not line else str(error)
            reject(Rejection(shown, place, line, error.missing))


def _rows(file: SourceFile, kind: str, columns: Sequence[str]) -> Iterator[Row]:
    """Yield a table's rows, and at last why the rest cannot be read, if that is so."""
    try:
        if file.path is not None:
            yield from read_table(kind, file.path, columns)
        elif file.stream is None:
            raise UnreadableError("a stream that was read before")
        else:
            yield from jsonl(record_lines(file.stream.file))
    except UnreadableError as error:
        yield RecordError(str(error)), None, 0


def _unfit(rows: Sequence[Row], fields: Fields, in_folder: bool) -> Rejection | None:
    """Say why a table that begins with these rows holds no documents, and where; None if it may.

    One whose first records all lack a text is not read any further.
    """
    if not rows:
        return Rejection("", EMPTY)
    known = [
        (names, line)
        for record, line, _ in rows
        if (names := _names(record, in_folder)) is not None
    ]
    try:
        fields.text_of(_every_field(names for names, _ in known))
    except NoTextFieldError as error:
        return Rejection("", str(error), known[0][1], error.missing) if known else None
    return None


def _every_field(records: Iterable[Iterable[str]]) -> dict[str, object]:
    """Return the fields of all records together, with an object where one of them has one."""
    every: dict[str, object] = {}
    for record in records:
        values = record if isinstance(record, dict) else dict.fromkeys(record)
        for name, value in values.items():
            if name not in every or isinstance(value, dict):
                every[name] = value
    return every


def _names(record: object, in_folder: bool) -> Iterable[str] | None:
    """Return the names of a record's fields; None if they cannot be told."""
    if isinstance(record, RecordError):
        return record.names or None
    if isinstance(record, dict):
        return record
    # JSON that lies about in a folder may be anything; given by its name it is meant as records.
    return () if in_folder else None


def _record(
    file: SourceFile,
    record: object,
    fields: Fields,
    line: int | None,
    number: int,
    *,
    blank: bool,
) -> Document:
    lines = (line,) if line else ()
    base = file.name.rsplit("/", 1)[-1]
    document = record_document(record, fields, f"{base}:{line or number}", lines, blank=blank)
    if file.in_folder:
        return replace(document, doc_id=f"{file.name}#{document.doc_id}")
    return document
