"""An evaluation in the terminal: one row per system, and a verdict in words."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import cast

from ettin_cli.console.console import GAP, UNWRAPPED, Console
from ettin_cli.evaluation import (
    NAMES,
    Evaluation,
    Suite,
    dispensable,
    shown_rows,
    shown_suite,
    suite_document,
    suite_rows,
    summary,
    system_rows,
)
from ettin_cli.files.writers import (
    AUTO,
    JSONL,
    TABLE,
    DocumentWriter,
    RowWriter,
    formats,
    holds_measurement,
    writer_of,
)

EVAL_FORMATS = formats(holds_measurement)


def show_evaluation(console: Console, evaluation: Evaluation, format: str) -> None:
    """Write the rows of an evaluation to stdout, and notes and verdicts to stderr.

    Args:
        format: One of EVAL_FORMATS; `auto` is a table on a terminal and JSONL in a pipe.
    """
    format = _chosen(format)
    left_out = []
    if format == TABLE:
        left_out = _show_table(console, evaluation)
    else:
        writer = writer_of(format)
        if isinstance(writer, DocumentWriter):
            _show(console, writer.document(summary(evaluation)))
            return
        _show(console, _rows(evaluation, cast(RowWriter, writer)))
    # Notes on what the numbers leave out are printed even with --quiet.
    for note in evaluation.notes:
        console.notice(note)
    for line in [*left_out, *evaluation.verdicts]:
        console.summary(line)


def show_suite(console: Console, suite: Suite, format: str) -> None:
    """Write the rows of several evaluations to stdout, and their notes to stderr.

    Args:
        format: As in `show_evaluation`.
    """
    format = _chosen(format)
    if format == TABLE:
        headers, cells = shown_suite(suite)
        console.rows(headers, cells, right=headers[1:])
    else:
        writer = writer_of(format)
        if isinstance(writer, DocumentWriter):
            _show(console, writer.document(suite_document(suite)))
            return
        _show(console, _suite_rows(suite, cast(RowWriter, writer)))
    notes = [note for one in suite.evaluations.values() for note in one.notes]
    for note in dict.fromkeys([*notes, *suite.remarks]):
        console.notice(note)


def _chosen(format: str) -> str:
    if format != AUTO:
        return format
    return TABLE if sys.stdout.isatty() else JSONL.name


def _suite_rows(suite: Suite, writer: RowWriter) -> bytes:
    if writer.for_people:
        headers, cells = shown_suite(suite)
        return writer.rows(headers, cells, left=headers[:1])
    rows = suite_rows(suite)
    return writer.rows(list(rows[0]), (list(row.values()) for row in rows))


def _show_table(console: Console, evaluation: Evaluation) -> list[str]:
    """Write the table without the columns that do not fit, and return a message about them."""
    headers, rows = shown_rows(evaluation)
    width = console.terminal(piped_width=UNWRAPPED).width
    left_out = []
    for name in dispensable(evaluation):
        if name in headers and _width([headers, *rows]) > width:
            at = headers.index(name)
            headers, rows = _without(headers, at), [_without(row, at) for row in rows]
            left_out.append(name)
    console.rows(headers, rows, right=[name for name in headers if name not in NAMES])
    if not left_out:
        return []
    named = ", ".join(left_out)
    return [f"not shown at {width} characters: {named}; -f json and -f csv have every column"]


def _width(cells: Sequence[Sequence[str]]) -> int:
    from rich.cells import cell_len

    columns = list(zip(*cells, strict=True))
    return sum(max(map(cell_len, column)) for column in columns) + GAP * (len(columns) - 1)


def _without(cells: Sequence[str], at: int) -> list[str]:
    return [*cells[:at], *cells[at + 1 :]]


def _rows(evaluation: Evaluation, writer: RowWriter) -> bytes:
    if writer.for_people:
        headers, cells = shown_rows(evaluation)
        return writer.rows(headers, cells, left=NAMES)
    rows = system_rows(evaluation)
    return writer.rows(list(rows[0]), (list(row.values()) for row in rows))


def _show(console: Console, content: bytes) -> None:
    console.line(content.decode("utf-8", "surrogatepass").removesuffix("\n"))
