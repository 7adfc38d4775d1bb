"""An evaluation -> files in a folder: values by query, runs, and the report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ettin_cli.evaluation.report.page import report_html
from ettin_cli.evaluation.report.reliability import ReliabilityPlot
from ettin_cli.evaluation.results import Evaluation, Measured, System
from ettin_cli.evaluation.rows import labels
from ettin_cli.files import output_errors, output_file
from ettin_cli.files.writers import CSV, RUN_NAME, decreasing, trec_lines

VALUES = "queries.parquet"
VALUES_CSV = "queries.csv"
REPORT = "report.html"
RUNS = "runs"
_UNSAFE = re.compile(r"[^\w.=-]+")


def write_evaluation(
    folder: Path, evaluation: Evaluation, calibrations: Sequence[ReliabilityPlot]
) -> None:
    """Write queries.parquet, queries.csv, runs/*.trec and report.html, each atomically.

    Raises:
        OutputError: A file cannot be written.
    """
    with output_errors(folder):
        (folder / RUNS).mkdir(parents=True, exist_ok=True)
    values = list(_values(evaluation))
    with output_file(folder / VALUES) as file:
        _write_parquet(values, evaluation.metrics, file)
    with output_file(folder / VALUES_CSV) as file:
        header = list(values[0]) if values else []
        file.write(CSV.rows(header, (list(row.values()) for row in values)))
    for name, measured in _named(evaluation).items():
        with output_file(folder / RUNS / f"{name}.trec") as file:
            for query_id, ranking in measured.run.items():
                scores = decreasing(score for _, score in ranking)
                exact = zip((doc_id for doc_id, _ in ranking), scores, strict=True)
                file.writelines(trec_lines(query_id, exact, RUN_NAME))
    with output_file(folder / REPORT) as file:
        file.write(report_html(evaluation, calibrations).encode("utf-8", "backslashreplace"))


def file_name(system: System) -> str:
    """Return a system's name as a file name: "32m, 50 candidates" is 32m-50-candidates."""
    return _UNSAFE.sub("-", str(system)).strip("-.") or "run"


def _named(evaluation: Evaluation) -> dict[str, Measured]:
    """Return systems by their file names; equal names get a number.

    A single retriever is not part of the names.
    """
    several = len(evaluation.retrievers) > 1
    named: dict[str, Measured] = {}
    for measured in evaluation.measured:
        system = measured.system if several else replace(measured.system, retriever=None)
        name, number = file_name(system), 2
        while name in named:
            name, number = f"{file_name(system)}-{number}", number + 1
        named[name] = measured
    return named


def _values(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """Yield a row per system and query."""
    for measured in evaluation.measured:
        named = labels(measured.system)
        for query_id in evaluation.queries:
            values = {metric: measured.values[metric][query_id] for metric in evaluation.metrics}
            yield {"query_id": query_id, **named, **values}


def _write_parquet(rows: Sequence[dict[str, Any]], metrics: Sequence[str], file: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    run = [("run", pa.string())] if rows and "run" in rows[0] else []
    schema = pa.schema(
        [
            ("query_id", pa.string()),
            *run,
            ("retriever", pa.string()),
            ("reranker", pa.string()),
            ("candidates", pa.int32()),
            ("blend", pa.float64()),
            *((metric, pa.float64()) for metric in metrics),
        ]
    )
    pq.write_table(pa.Table.from_pylist(list(rows), schema), file, compression="zstd")
