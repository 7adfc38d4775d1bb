"""Readers of other packages: found by suffix, imported on demand, their output checked.

The name of an entry point of the group `ettin.readers` is a suffix without its dot; its object is
a `DocumentReader` or a `TableReader`. Such readers do not get compressed files (.gz, .zst). If a
reader fails, the file is rejected like any other unreadable file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePath

from ettin_cli.corpus.reader import DocumentReader, Reader, Row, TableReader
from ettin_cli.corpus.records import RecordError
from ettin_cli.errors import EttinError, first_line
from ettin_cli.records import Document
from ettin_cli.runtime import Plugin, installed_plugins, interruption, plugin_named
from ettin_cli.storage import UnreadableError

GROUP, WHAT = "ettin.readers", "the reader of .{} files"


def plugin_suffixes() -> frozenset[str]:
    """Return the suffixes that plugins declare, with their dots."""
    return frozenset(f".{name}" for name in installed_plugins(GROUP, WHAT))


def plugin_readers(suffix: str) -> tuple[Plugin, ...]:
    """Return the plugins that declare a suffix."""
    return installed_plugins(GROUP, WHAT).get(suffix.removeprefix("."), ())


def plugin_reader(name: str) -> Reader | None:
    """Return the plugin that reads files of this name; None if there is none.

    Raises:
        PluginError: It cannot be loaded, or several packages declare one.
    """
    plugin = plugin_named(GROUP, WHAT, PurePath(name.lower()).suffix.removeprefix("."))
    return None if plugin is None else _loaded(plugin)


@cache
def _loaded(plugin: Plugin) -> Reader:
    reader = plugin.load()
    if isinstance(reader, DocumentReader):
        return replace(reader, read=_Documents(reader, plugin.package))
    if not isinstance(reader, TableReader):
        kind = type(reader).__name__
        raise plugin.unfit(f"is a {kind}, not a DocumentReader or a TableReader")
    return replace(reader, rows=_Rows(reader, plugin.package), named_rows=None, count=None)


class _Documents:
    """Reads a document with a plugin, or reports why the file is rejected."""

    def __init__(self, reader: DocumentReader, package: str) -> None:
        self.reader, self.package = reader, package

    def __call__(self, path: Path, doc_id: str) -> Document:
        with _failures(self.package):
            document = self.reader.read(path, doc_id)
            _check(document)
        return document


class _Rows:
    """Reads rows with a plugin, or reports why the file or a row is rejected."""

    def __init__(self, reader: TableReader, package: str) -> None:
        self.reader, self.package = reader, package

    def __call__(self, path: Path) -> Iterator[Row]:
        with _failures(self.package):
            for record, line, number in self.reader.rows(path):
                yield _json_or_error(record), line, number


@contextmanager
def _failures(package: str) -> Iterator[None]:
    """Convert any exception of a plugin into a rejection reason."""
    try:
        yield
    except (EttinError, UnreadableError):
        raise
    except Exception as error:
        if interruption.struck():
            raise
        interruption.show(error)
        reason = f"{package} fails: {type(error).__name__}: {first_line(error)}"
        raise UnreadableError(reason) from error


def _check(document: Document) -> None:
    """Check that a document from a plugin can be indexed and stored.

    Raises:
        TypeError: It is not a Document, or has values that are not JSON.
        ValueError: The number of its lines or pages differs from that of the text.
    """
    import orjson

    if not isinstance(document, Document):
        raise TypeError(f"{type(document).__name__} returned instead of a Document")
    for text in (document.doc_id, document.text, document.title):
        if not isinstance(text, str):
            raise TypeError(f"{type(text).__name__} in a Document instead of str")
    orjson.dumps([document.doc_id, document.text, document.title, dict(document.metadata)])
    count = document.text.count("\n") + 1
    for name, numbers in (("lines", document.lines), ("pages", document.pages)):
        if len(numbers) not in (0, 1, count):
            raise ValueError(f"{len(numbers)} {name} of a text of {count}")


def _json_or_error(record: object) -> object | RecordError:
    import orjson

    if isinstance(record, RecordError):
        return record
    try:
        orjson.dumps(record)
    except TypeError as error:
        return RecordError(f"not JSON: {first_line(error)}")
    return record
