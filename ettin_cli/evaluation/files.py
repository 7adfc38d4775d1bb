"""A measurement -> the files of a folder: values by query, runs, and the report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ettin_cli.evaluation.report import ReliabilityPlot, report_html
from ettin_cli.evaluation.results import Evaluation, Measured
from ettin_cli.export import RUN_NAME, decreasing, output_errors, output_file

VALUES = "queries.parquet"
REPORT = "report.html"
RUNS = "runs"
_UNSAFE = re.compile(r"[^\w.=-]+")


def write_evaluation(
    folder: Path, evaluation: Evaluation, calibrations: Sequence[ReliabilityPlot]
) -> None:
    """Write queries.parquet, runs/*.trec and report.html, each whole or not at all.

    Raises:
        OutputError: One cannot be written.
    """
    with output_errors(folder):
        (folder / RUNS).mkdir(parents=True, exist_ok=True)
    with output_file(folder / VALUES) as file:
        _write_values(evaluation, file)
    for name, measured in _named([evaluation.baseline, *evaluation.systems]).items():
        with output_file(folder / RUNS / f"{name}.trec") as file:
            file.writelines(_run_lines(measured))
    with output_file(folder / REPORT) as file:
        file.write(report_html(evaluation, calibrations).encode("utf-8", "backslashreplace"))


def file_name(measured: Measured) -> str:
    """Return a system's name as a file's: "32m, 50 candidates" is 32m-50-candidates."""
    return _UNSAFE.sub("-", str(measured.system)).strip("-.") or "run"


def _named(systems: Sequence[Measured]) -> dict[str, Measured]:
    """Return systems by the names of their files; equal names get a number."""
    named: dict[str, Measured] = {}
    for measured in systems:
        name, number = file_name(measured), 2
        while name in named:
            name, number = f"{file_name(measured)}-{number}", number + 1
        named[name] = measured
    return named


def _run_lines(measured: Measured) -> Iterator[bytes]:
    for query_id, ranking in measured.run.items():
        scores = decreasing(score for _, score in ranking)
        for rank, ((doc_id, _), score) in enumerate(zip(ranking, scores, strict=True), start=1):
            line = f"{query_id} Q0 {doc_id} {rank} {score:.9g} {RUN_NAME}\n"
            yield line.encode("utf-8", "surrogatepass")


def _write_values(evaluation: Evaluation, file: Any) -> None:
    """Write a row a system and query."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("query_id", pa.string()),
            ("reranker", pa.string()),
            ("candidates", pa.int32()),
            ("blend", pa.float64()),
            *((metric, pa.float64()) for metric in evaluation.metrics),
        ]
    )
    rows = [
        {
            "query_id": query_id,
            "reranker": measured.system.reranker,
            "candidates": measured.system.candidates,
            "blend": measured.system.blend,
            **{metric: measured.values[metric][query_id] for metric in evaluation.metrics},
        }
        for measured in [evaluation.baseline, *evaluation.systems]
        for query_id in evaluation.queries
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema), file, compression="zstd")
