"""Answers -> the bytes of a format; one module a format. Knows records, and no terminal.

A package that adds a format needs `TextWriter` or `BinaryWriter` and `Layout`; `answer_json`,
`answer_rows` and `COLUMNS` are the shapes that the formats here share.
"""

from ettin_cli.files.writers.delimited import CSV
from ettin_cli.files.writers.json import HIT_LINES, JSONL
from ettin_cli.files.writers.paths import place
from ettin_cli.files.writers.registry import (
    AUTO,
    TABLE,
    WRITERS,
    find_writer,
    format_for,
    formats,
    holds_measurement,
    holds_races,
    is_run,
    passed_over,
    write_answers,
    writer_of,
)
from ettin_cli.files.writers.shapes import COLUMNS, answer_json, answer_rows
from ettin_cli.files.writers.trec import best_scores, decreasing, trec_lines, trec_ranking
from ettin_cli.files.writers.writer import (
    RUN_NAME,
    BinaryWriter,
    DocumentWriter,
    Layout,
    RowWriter,
    TextWriter,
    Writer,
)

__all__ = [
    "AUTO",
    "COLUMNS",
    "CSV",
    "HIT_LINES",
    "JSONL",
    "RUN_NAME",
    "TABLE",
    "WRITERS",
    "BinaryWriter",
    "DocumentWriter",
    "Layout",
    "RowWriter",
    "TextWriter",
    "Writer",
    "answer_json",
    "answer_rows",
    "best_scores",
    "decreasing",
    "find_writer",
    "format_for",
    "formats",
    "holds_measurement",
    "holds_races",
    "is_run",
    "passed_over",
    "place",
    "trec_lines",
    "trec_ranking",
    "write_answers",
    "writer_of",
]
