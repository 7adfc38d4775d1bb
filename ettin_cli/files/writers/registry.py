"""The output formats; adding one takes a module and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.files.writers.delimited import CSV, TSV
from ettin_cli.files.writers.json import JSON, JSONL
from ettin_cli.files.writers.markdown import MARKDOWN
from ettin_cli.files.writers.parquet import PARQUET
from ettin_cli.files.writers.paths import PATHS
from ettin_cli.files.writers.plugin_writers import (
    plugin_for,
    plugin_formats,
    plugin_notices,
    plugin_writer,
)
from ettin_cli.files.writers.trec import TREC
from ettin_cli.files.writers.writer import (
    RUN_NAME,
    BinaryWriter,
    DocumentWriter,
    Layout,
    RowWriter,
    TextWriter,
    Writer,
)
from ettin_cli.records import Answer

WRITERS: tuple[TextWriter | BinaryWriter, ...] = (
    JSON,
    JSONL,
    CSV,
    TSV,
    PARQUET,
    TREC,
    MARKDOWN,
    PATHS,
)
AUTO, TABLE = "auto", "table"
# Shown on the console only, never written to files.
SHOWN = (AUTO, TABLE)
_BY_NAME = {writer.name: writer for writer in WRITERS}
_BY_SUFFIX = {suffix: writer for writer in WRITERS for suffix in writer.suffixes}


def formats(fit: Callable[[Writer], bool] = lambda writer: True) -> tuple[str, ...]:
    """Return the values of `-f` without plugins: matching formats, and those of the console."""
    return (*SHOWN, *(writer.name for writer in WRITERS if fit(writer)))


def holds_measurement(writer: Writer) -> bool:
    """Return whether a format can hold the rows of `ettin eval`."""
    return isinstance(writer, (DocumentWriter, RowWriter))


def holds_races(writer: Writer) -> bool:
    """Return whether a format can hold the rows of `ettin bench`, which contain objects."""
    return isinstance(writer, DocumentWriter) or (isinstance(writer, RowWriter) and writer.nested)


def find_writer(format: str) -> TextWriter | BinaryWriter | None:
    """Return the built-in or plugin writer of a format; None if unknown or console-only.

    Raises:
        PluginError: The plugin cannot be loaded, or two plugins declare the format.
    """
    return None if format in SHOWN else _BY_NAME.get(format) or plugin_writer(format)


def writer_of(format: str) -> TextWriter | BinaryWriter:
    """Return the writer of a format.

    Raises:
        InvalidArgumentError: The format is unknown.
        PluginError: See `find_writer`.
    """
    writer = find_writer(format)
    if writer is None:
        raise InvalidArgumentError(
            f"unknown format {format!r}",
            argument="format",
            value=format,
            choices=(*formats(), *plugin_formats()),
        )
    return writer


def format_for(output: Path | None, wanted: str) -> str:
    """Return the requested format, else that of the output's suffix, else `auto`.

    Raises:
        InvalidArgumentError: The format is unknown, or none has this suffix.
        PluginError: See `find_writer`.
    """
    if wanted not in SHOWN:
        writer_of(wanted)
    if wanted != AUTO or output is None or str(output) == "-":
        return wanted
    suffix = output.suffix.lower()
    writer = _BY_SUFFIX.get(suffix) or plugin_for(suffix)
    if writer is None:
        raise InvalidArgumentError(
            f"no format has the suffix of {output}", argument="output", choices=tuple(_BY_SUFFIX)
        )
    return writer.name


def is_run(format: str) -> bool:
    """Return whether answers in this format are runs."""
    writer = find_writer(format)
    return writer is not None and writer.is_run


def ignored_plugins() -> list[str]:
    """Return a notice for each plugin that is not used because its format is built in."""
    return plugin_notices([*SHOWN, *_BY_NAME])


def write_answers(
    answers: Iterable[Answer],
    format: str,
    file: BinaryIO,
    *,
    many: bool,
    text: bool = True,
    tag: str = RUN_NAME,
) -> None:
    """Write answers as they arrive.

    Args:
        format: Any format except `auto` and `table`.
        many: Whether there may be more than one answer.
        text: Whether hits include their text.
        tag: The run tag.
    """
    writer, layout = writer_of(format), Layout(many, text, tag)
    if isinstance(writer, BinaryWriter):
        rows = (row for answer in answers for row in answer.rows(text=text))
        writer.write(rows, file, layout)
        return
    file.write(writer.begin(layout))
    for number, answer in enumerate(answers):
        file.write(writer.answer(answer, layout, first=number == 0))
        file.flush()
    file.write(writer.end(layout))
