"""The formats that can be written: a new one is a module and a line here."""

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
    plugin_of,
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
from ettin_cli.records import Answer, answer_rows

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
# What the console makes of answers, which no file holds.
SHOWN = (AUTO, TABLE)
_BY_NAME = {writer.name: writer for writer in WRITERS}
_BY_SUFFIX = {suffix: writer for writer in WRITERS for suffix in writer.suffixes}


def formats(fit: Callable[[Writer], bool] = lambda writer: True) -> tuple[str, ...]:
    """Return what `-f` takes, but for plugins: the formats that fit, and those of the console."""
    return (*SHOWN, *(writer.name for writer in WRITERS if fit(writer)))


def holds_measurement(writer: Writer) -> bool:
    """Say whether a format can hold the rows of `ettin eval`."""
    return isinstance(writer, (DocumentWriter, RowWriter))


def holds_races(writer: Writer) -> bool:
    """Say whether a format can hold the rows of `ettin bench`, which hold objects."""
    return isinstance(writer, DocumentWriter) or (isinstance(writer, RowWriter) and writer.nested)


def find_writer(format: str) -> TextWriter | BinaryWriter | None:
    """Return what writes a format, of this package or of another; None: it is none, or shown.

    Raises:
        PluginError: What another package has for it cannot be loaded or chosen.
    """
    return None if format in SHOWN else _BY_NAME.get(format) or plugin_of(format)


def writer_of(format: str) -> TextWriter | BinaryWriter:
    """Return what writes a format.

    Raises:
        InvalidArgumentError: Nothing does.
        PluginError: As `find_writer`.
    """
    found = find_writer(format)
    if found is None:
        raise InvalidArgumentError(
            f"unknown format {format!r}",
            argument="format",
            value=format,
            choices=(*formats(), *plugin_formats()),
        )
    return found


def format_for(output: Path | None, wanted: str) -> str:
    """Return the format: as wanted, else by the output's suffix, else still `auto`.

    Raises:
        InvalidArgumentError: There is no such format, or none has this suffix.
        PluginError: As `find_writer`.
    """
    if wanted not in SHOWN:
        writer_of(wanted)
    if wanted != AUTO or output is None or str(output) == "-":
        return wanted
    suffix = output.suffix.lower()
    found = _BY_SUFFIX.get(suffix) or plugin_for(suffix)
    if found is None:
        raise InvalidArgumentError(
            f"no format has the suffix of {output}", argument="output", choices=tuple(_BY_SUFFIX)
        )
    return found.name


def is_run(format: str) -> bool:
    """Say whether answers of this format are runs."""
    found = find_writer(format)
    return found is not None and found.is_run


def passed_over() -> list[str]:
    """Return which plugins are not used, since their format is built in, a line each."""
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
    """Write answers as they come.

    Args:
        format: Any but `auto` and `table`.
        many: Whether there may be more answers than one.
        text: Whether hits carry their text.
        tag: The name of a run.
    """
    writer, layout = writer_of(format), Layout(many, text, tag)
    if isinstance(writer, BinaryWriter):
        rows = (row for answer in answers for row in answer_rows(answer, text=text))
        writer.write(rows, file, layout)
        return
    file.write(writer.begin(layout))
    for number, answer in enumerate(answers):
        file.write(writer.answer(answer, layout, first=number == 0))
        file.flush()
    file.write(writer.end(layout))
