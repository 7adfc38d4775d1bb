"""A file of any known format -> documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path, PurePosixPath

from ettin_cli.corpus.content import BINARY_CONTENT, NO_ENCODING, Decoding, decoding, resumed
from ettin_cli.corpus.machine_text import MINIFIED, is_minified, without_machine_text
from ettin_cli.corpus.ocr import Ocr
from ettin_cli.corpus.paths import field_of
from ettin_cli.corpus.pictures import is_picture
from ettin_cli.corpus.reader import CollectionReader, DocumentReader, Rejected, Row, TableReader
from ettin_cli.corpus.records import (
    Fields,
    NoTextFieldError,
    RecordError,
    ShortRowError,
    record_document,
    text_of_value,
)
from ettin_cli.corpus.registry import COMPRESSED, reader_of
from ettin_cli.corpus.shapes import records_within
from ettin_cli.corpus.sources import BINARY, SourceFile
from ettin_cli.corpus.tables import JSONL, jsonl
from ettin_cli.corpus.texts import PROSE
from ettin_cli.records import Document, Rejection
from ettin_cli.storage import STREAM, UnreadableError, record_lines

EMPTY = "empty"
NO_TEXT_IN_PICTURE = "pictures without text"
BOILERPLATE = "line of boilerplate"
PROBED_ROWS = 100
# Faults of one file that are reported one by one.
MAX_FAULTS = 100


def read_file(
    file: SourceFile,
    fields: Fields,
    reject: Callable[[Rejection], None],
    skip: Callable[[str], None],
    *,
    blank: bool = False,
    leave_out: Callable[[Mapping[str, int]], None] | None = None,
    all_text: bool = False,
    main_content: bool = False,
    ocr: Ocr | None = None,
) -> Iterator[Document]:
    """Yield a file's documents; unreadable content is reported, not raised.

    Args:
        fields: The names of a record's id and text fields.
        reject: Called with every invalid record or file.
        skip: Called with the reason why a file found in a folder has nothing to index.
        blank: Whether to yield documents without text too.
        leave_out: Called with the content for machines that is left out of a document, counted by
            kind. None: nothing is left out.
        all_text: Whether to keep content for machines.
        main_content: Whether to leave out the boilerplate of pages.
        ocr: How text is recognised in pictures; None: it is not.
    """
    sift = leave_out is not None and not all_text
    boilerplate = leave_out if main_content else None
    documents = _documents(
        file, fields, reject, skip, blank=blank, sift=sift, boilerplate=boilerplate, ocr=ocr
    )
    for document in documents:
        if leave_out is None or all_text:
            yield document
            continue
        sifted, left_out = without_machine_text(document)
        if left_out:
            leave_out(left_out)
        if blank or sifted.text.strip() or not document.text.strip():
            yield sifted


def _documents(
    file: SourceFile,
    fields: Fields,
    reject: Callable[[Rejection], None],
    skip: Callable[[str], None],
    *,
    blank: bool,
    sift: bool,
    boilerplate: Callable[[Mapping[str, int]], None] | None,
    ocr: Ocr | None,
) -> Iterator[Document]:
    reader = JSONL if file.path is None else PROSE if file.as_text else reader_of(file.name)
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
        document = _read(file.path, file.name, reader, fields, boilerplate, ocr)
    except UnreadableError as error:
        if file.in_folder and not PurePosixPath(file.name).suffix and _is_no_text(error):
            skip(BINARY)
        else:
            reject(Rejection(shown, str(error)))
        return
    for fault in _listed_faults(document.faults):
        reject(Rejection(shown, fault))
    if sift and file.in_folder and is_minified(file.name, document.text):
        skip(MINIFIED)
    elif blank or document.text.strip() or (reader.title_suffices and document.title):
        yield _named(document, file.name)
    elif file.in_folder:
        skip(NO_TEXT_IN_PICTURE if is_picture(file.name) else EMPTY)
    else:
        reject(Rejection(shown, EMPTY))


def _listed_faults(faults: Sequence[str]) -> list[str]:
    """Return the first faults of a file, and how many more it has."""
    listed, more = list(faults[:MAX_FAULTS]), len(faults) - MAX_FAULTS
    if more > 0:
        listed.append(f"{more:,} more of its parts are missing or cannot be read")
    return listed


def _read(
    path: Path,
    name: str,
    reader: DocumentReader,
    fields: Fields,
    boilerplate: Callable[[Mapping[str, int]], None] | None,
    ocr: Ocr | None,
) -> Document:
    """Return the document of a file.

    Raises:
        UnreadableError: It holds none.
    """
    with decoding(fields.encoding) as state:
        if boilerplate and reader.read_main:
            document, lines = reader.read_main(path, name)
            boilerplate({BOILERPLATE: lines})
        elif ocr and reader.read_scans:
            document = reader.read_scans(path, name, ocr)
        else:
            document = reader.read(path, name)
    return _as_noted(document, state)


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
            yield _named(_as_noted(document, state), file.name)
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


def _is_no_text(error: UnreadableError) -> bool:
    return str(error) in (BINARY_CONTENT, NO_ENCODING)


def _named(document: Document, name: str) -> Document:
    """Return a document with the words of its path, and its file's name as title if it has none.

    Args:
        name: Its path below the source.
    """
    path = PurePosixPath(name)
    while path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    file_name = path.name if document.kind == "code" else path.stem
    names = " ".join([*path.parts[:-1], *([path.stem] if document.title else [])])
    return replace(document, title=document.title or file_name, names=names)


def _records(
    file: SourceFile,
    reader: TableReader,
    fields: Fields,
    reject: Callable[[Rejection], None],
    skip: Callable[[str], None],
    *,
    blank: bool,
) -> Iterator[Document]:
    rows = records_within(_rows(file, reader, fields.columns), fields)
    shown = str(file.path or STREAM)
    with decoding(fields.encoding) as state:
        first = list(islice(rows, PROBED_ROWS))
    unfit = _unfit(first, fields, file.in_folder)
    if unfit and file.in_folder:
        skip(EMPTY if unfit.reason == EMPTY else "table without a text field")
        return
    if unfit:
        reject(replace(unfit, path=shown))
        return
    last: Document | None = None
    for record, line, number in chain(first, _in_state(rows, state)):
        try:
            document = _of_row(file, record, fields, line, number, blank=blank)
        except RecordError as error:
            place = f"{error} (record {number})" if number and not line else str(error)
            reject(Rejection(shown, place, line, error.missing))
            continue
        if last is not None:
            yield last
        # All invalid bytes are counted only at the end.
        last = document if state.replaced else None
        if last is None:
            yield document
    if last is not None:
        yield replace(last, notices=state.notices)


def _in_state(rows: Iterator[Row], state: Decoding) -> Iterator[Row]:
    """Yield rows, decoded in the state of the first of them."""
    while True:
        with resumed(state):
            row = next(rows, None)
        if row is None:
            return
        yield row


def _of_row(
    file: SourceFile,
    record: object,
    fields: Fields,
    line: int | None,
    number: int,
    *,
    blank: bool,
) -> Document:
    """Return the document of a row; a row without its last cells may still have its text.

    Raises:
        RecordError: The row is broken, or is not a document.
    """
    if isinstance(record, ShortRowError):
        try:
            return _record(file, record.record, fields, line, number, blank=blank)
        except NoTextFieldError:
            raise record from None
    if isinstance(record, RecordError):
        raise record
    return _record(file, record, fields, line, number, blank=blank)


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
    if len(rows) == PROBED_ROWS and all(isinstance(row, RecordError) for row, _, _ in rows):
        reason, line, _ = rows[0]
        return Rejection("", f"{reason}; none of the first {PROBED_ROWS} records can be read", line)
    known = [
        (names, line)
        for record, line, _ in rows
        if (names := _names(record, in_folder)) is not None
    ]
    try:
        field = fields.text_of(_every_field(names for names, _ in known))
    except NoTextFieldError as error:
        return Rejection("", str(error), known[0][1], error.missing) if known else None
    if in_folder and not any(_may_be_text(row, field, len(rows)) for row in rows):
        return Rejection("", f'"{field}" is not a string')
    return None


def _may_be_text(row: Row, field: str, rows: int) -> bool:
    """Return whether a record found in a folder may have a text; other JSON has settings there."""
    record, line, _ = row
    if not isinstance(record, dict):
        return isinstance(record, RecordError)
    try:
        value = field_of(record, field)
    except (KeyError, AttributeError, TypeError):
        return False
    text = text_of_value(value)
    # A list of names or globs in a single object is not prose.
    alone = rows == 1 and line is None and isinstance(value, list)
    return bool(text and (not alone or any(" " in one.strip() for one in text.split("\n"))))


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
