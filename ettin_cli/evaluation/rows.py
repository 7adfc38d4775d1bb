"""A measurement -> one row a system, as every format shows it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ettin_cli.evaluation.results import Comparison, Evaluation, Measured

DIGITS = 4


def system_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a row a system, the baseline first; what does not apply to it is None."""
    pairs = zip(
        [evaluation.baseline, *evaluation.systems], [None, *evaluation.comparisons], strict=True
    )
    rows = [_row(one, found, evaluation.metrics) for one, found in pairs]
    if len(evaluation.retrievers) == 1:
        rows = [{**row, "retriever": evaluation.retrievers[0]} for row in rows]
    return rows


def _row(
    measured: Measured, comparison: Comparison | None, metrics: Sequence[str]
) -> dict[str, Any]:
    system = measured.system
    low, high = comparison.interval if comparison else (None, None)
    return {
        "retriever": system.retriever,
        "reranker": system.reranker,
        "candidates": system.candidates,
        "blend": system.blend,
        **{metric: measured.mean(metric) for metric in metrics},
        "gain": comparison.gain if comparison else None,
        "gain_low": low,
        "gain_high": high,
        "p": comparison.p if comparison else None,
        "better": comparison.better if comparison else None,
        "worse": comparison.worse if comparison else None,
        "same": comparison.same if comparison else None,
        "seconds_per_query": measured.seconds,
    }


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return a whole measurement in the shape of `-f json`."""
    return {
        "name": evaluation.name,
        "queries": len(evaluation.queries),
        "metric": evaluation.metrics[0],
        "systems": system_rows(evaluation),
        "verdicts": list(evaluation.verdicts),
        "notes": list(evaluation.notes),
    }


def shown_rows(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Return the headers and cells of the table for people."""
    metrics = list(evaluation.metrics)
    compared = bool(evaluation.comparisons)
    several = len(evaluation.retrievers) > 1
    headers = [*(["retriever"] if several else []), "reranker", "candidates", "blend", *metrics]
    headers += ["gain", "interval", "p", "better", "worse"] if compared else []
    headers += ["s/query"] if evaluation.baseline.seconds is not None else []
    return headers, [_cells(row, metrics, headers) for row in system_rows(evaluation)]


def _cells(row: dict[str, Any], metrics: Sequence[str], headers: Sequence[str]) -> list[str]:
    cells = {
        "retriever": row["retriever"] or "",
        "reranker": row["reranker"],
        "candidates": _shown(row["candidates"], "d"),
        "blend": _shown(row["blend"] or None, "g"),
        **{metric: _shown(row[metric], f".{DIGITS}f") for metric in metrics},
        "gain": _shown(row["gain"], f"+.{DIGITS}f"),
        "interval": _interval(row["gain_low"], row["gain_high"]),
        "p": _shown(row["p"], ".3f"),
        "better": _shown(row["better"], "d"),
        "worse": _shown(row["worse"], "d"),
        "s/query": _shown(row["seconds_per_query"], ".3f"),
    }
    return [cells[header] for header in headers]


def _shown(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:+.3f} {high:+.3f}"
