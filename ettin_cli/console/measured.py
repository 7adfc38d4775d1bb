"""A measurement in the terminal: a row a system, and what it tells in words."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from ettin_cli.console.console import Console
from ettin_cli.evaluation.results import Evaluation
from ettin_cli.evaluation.rows import shown_rows, summary, system_rows
from ettin_cli.export import delimited_rows

FORMATS = ("auto", "table", "json", "jsonl", "csv", "tsv", "md")


def show_evaluation(console: Console, evaluation: Evaluation, format: str) -> None:
    """Write the rows of a measurement to stdout, and to stderr what is not in them.

    Args:
        format: One of FORMATS; `auto` is a table on a terminal and JSONL in a pipe.
    """
    if format == "auto":
        format = "table" if sys.stdout.isatty() else "jsonl"
    if format == "json":
        console.json(summary(evaluation))
        return
    if format == "table":
        headers, rows = shown_rows(evaluation)
        console.rows(headers, rows, right=" ".join(headers[1:]))
    else:
        for line in _lines(evaluation, format):
            console.line(line)
    for note in evaluation.notes:
        console.notice(note)
    for verdict in evaluation.verdicts:
        console.notice(verdict)


def _lines(evaluation: Evaluation, format: str) -> Iterable[str]:
    if format == "md":
        headers, cells = shown_rows(evaluation)
        ruler = ["---", *("---:" for _ in headers[1:])]
        return [f"| {' | '.join(row)} |" for row in [headers, ruler, *cells]]
    rows = system_rows(evaluation)
    if format == "jsonl":
        import orjson

        return [orjson.dumps(row).decode() for row in rows]
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    return [delimited_rows(table, format).decode("utf-8", "surrogatepass").removesuffix("\n")]
