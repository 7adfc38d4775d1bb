"""A file of any known format -> documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

from ettin_cli.corpus.content import Decoding, decoding
from ettin_cli.corpus.reader import CollectionReader, Rejected, Row, TableReader
from ettin_cli.corpus.records import Fields, NoTextFieldError, RecordError, record_document
from ettin_cli.corpus.registry import reader_of
from ettin_cli.corpus.sources import SourceFile
from ettin_cli.corpus.tables import JSONL, jsonl
from ettin_cli.records import Document, Rejection
from ettin_cli.storage import STREAM, UnreadableError, record_lines

EMPTY = "empty"
PROBED_ROWS = 100


def read_file(
    file: SourceFile,
    fields: Fields,
    reject: Callable[[Rejection], None],
    skip: Callable[[str], None],
    *,
    blank: bool = False,
) -> Iterator[Document]:
    """Yield a file's documents; unreadable content is reported, not raised.

    Args:
        fields: The names of a record's id and text fields.
        reject: Called with every invalid record or file.
        skip: Called with the reason why a file found in a folder has nothing to index.
        blank: Whether to yield documents without text too.
    """
    reader = JSONL if file.path is None else reader_of(file.name)
    shown = str(file.path or STREAM)
    if isinstance(reader, TableReader):
        yield from _records(file, reader, fields, reject, skip, blank=blank)
        return
    if file.path is None or reader is None:
        reject(Rejection(shown, "unknown format"))
        return
    if isinstance(reader, CollectionReader):
        yield from _collection(file, reader, fields, reject, skip, blank=blank)
        return
    try:
        with decoding(fields.encoding) as state:
            document = _as_noted(reader.read(file.path, file.name), state)
    except UnreadableError as error:
        reject(Rejection(shown, str(error)))
        return
    if blank or document.text.strip() or (reader.title_suffices and document.title):
        yield document
    elif file.in_folder:
        skip(EMPTY)
    else:
        reject(Rejection(shown, EMPTY))


def _collection(
    file: SourceFile,
    reader: CollectionReader,
    fields: Fields,
    reject: Callable[[Rejection], None],
    skip: Callable[[str], None],
    *,
    blank: bool,
) -> Iterator[Document]:
    """Yield the documents of a file that has many of them; those without text are left out."""
    if file.path is None:
        return
    shown, found = str(file.path), False
    documents = reader.read(file.path, file.name)
    while True:
        try:
            with decoding(fields.encoding) as state:
                document = next(documents, None)
        except UnreadableError as error:
            reject(Rejection(shown, str(error)))
            return
        if document is None:
            break
        if isinstance(document, Rejected):
            found = True
            reject(Rejection(shown, document.reason, document.line))
        elif blank or document.text.strip() or document.title:
            found = True
            yield _as_noted(document, state)
    if not found:
        skip(EMPTY) if file.in_folder else reject(Rejection(shown, EMPTY))


def _as_noted(document: Document, state: Decoding) -> Document:
    """Return a document with the lines of its file, and what was noted about its text."""
    lines = document.lines
    if state.line_of and len(lines) > 1:
        # Lines beyond the last, of the end of a text, are in the last line of the file.
        last = len(state.line_of)
        lines = [state.line_of[min(line, last) - 1] for line in lines]
    return replace(document, lines=lines, notices=[*document.notices, *state.notices])


def _records(
    file: SourceFile,
    reader: TableReader,
    fields: Fields,
    reject: Callable[[Rejection], None],
    skip: Callable[[str], None],
    *,
    blank: bool,
) -> Iterator[Document]:
    rows = _rows(file, reader, fields.columns)
    shown = str(file.path or STREAM)
    with decoding(fields.encoding):
        # The encoding is that of the first rows.
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


def _rows(file: SourceFile, reader: TableReader, columns: Sequence[str]) -> Iterator[Row]:
    """Yield a table's rows, and finally the reason if the rest cannot be read."""
    try:
        if file.path is not None:
            yield from reader.table(file.path, columns)
        elif file.stream is None:
            raise UnreadableError("the stream was already read")
        else:
            yield from jsonl(record_lines(file.stream.file))
    except UnreadableError as error:
        yield RecordError(str(error)), None, 0


def _unfit(rows: Sequence[Row], fields: Fields, in_folder: bool) -> Rejection | None:
    """Return why a table that begins with these rows has no documents, and where; else None.

    If its first records all lack a text, the rest is not read.
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
    """Return the union of the records' fields, with an object for a field that has one anywhere."""
    every: dict[str, object] = {}
    for record in records:
        values = record if isinstance(record, dict) else dict.fromkeys(record)
        for name, value in values.items():
            if name not in every or isinstance(value, dict):
                every[name] = value
    return every


def _names(record: object, in_folder: bool) -> Iterable[str] | None:
    """Return the names of a record's fields; None if unknown."""
    if isinstance(record, RecordError):
        return record.names or None
    if isinstance(record, dict):
        return record
    # JSON found in a folder may be anything; a file given by name is meant as records.
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
