"""An evaluation -> a row per system, as in every format. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ettin_cli.evaluation.results import Comparison, Evaluation, Measured, System

DIGITS = 3
NAMES = ("run", "retriever", "reranker")
COUNTS = "better/worse"
SECONDS = "s/query"


def system_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a row per system, the baseline first; values that do not apply are None."""
    return [_row(evaluation, at, measured) for at, measured in enumerate(evaluation.measured)]


def labels(system: System) -> dict[str, Any]:
    """Return the columns that identify the system of a row.

    An external run has a `run`, but no known retriever or reranker.
    """
    if system.run is not None:
        known = dict.fromkeys(("retriever", "reranker", "candidates", "blend"))
        return {"run": system.run, **known}
    return {
        "retriever": system.retriever,
        "reranker": system.reranker,
        "candidates": system.candidates,
        "blend": system.blend,
    }


def _row(evaluation: Evaluation, at: int, measured: Measured) -> dict[str, Any]:
    """Return the row of a system by its position; the baseline's is 0."""
    metrics = evaluation.metrics
    comparison = evaluation.over_alone[at - 1] if at else None
    row = {
        **labels(measured.system),
        **{metric: measured.mean(metric) for metric in metrics},
        **_gain(comparison),
        "better": comparison.better if comparison else None,
        "worse": comparison.worse if comparison else None,
        "same": comparison.same if comparison else None,
        "seconds_per_query": measured.seconds,
    }
    for metric in metrics[1:]:
        gains = evaluation.gains[metric].over_alone
        row |= _gain(gains[at - 1] if at else None, f"{metric}_")
    if len(evaluation.retrievers) > 1:
        for metric, prefix in zip(
            metrics, ["", *(f"{name}_" for name in metrics[1:])], strict=True
        ):
            compared = evaluation.gains[metric].over_first
            row |= _gain(compared[at - 1] if at else None, prefix, "_over_first")
    return row


def _gain(comparison: Comparison | None, prefix: str = "", suffix: str = "") -> dict[str, Any]:
    low, high = comparison.interval if comparison else (None, None)
    return {
        f"{prefix}gain{suffix}": comparison.gain if comparison else None,
        f"{prefix}gain{suffix}_low": low,
        f"{prefix}gain{suffix}_high": high,
        f"{prefix}p{suffix}": comparison.p if comparison else None,
    }


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return a complete evaluation in the shape of `-f json`."""
    return {
        "name": evaluation.name,
        "queries": len(evaluation.queries),
        "metric": evaluation.metrics[0],
        "systems": system_rows(evaluation),
        "verdicts": list(evaluation.verdicts),
        "notes": list(evaluation.notes),
    }


def shown_rows(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Return the headers and cells of the printed table, without empty columns."""
    several = len(evaluation.retrievers) > 1
    over = f"over {evaluation.baseline.system.name}"
    shown = [
        _cells(row, evaluation.metrics, over if several else "", alone=not evaluation.comparisons)
        for row in system_rows(evaluation)
    ]
    headers = [name for name in shown[0] if any(cells[name] for cells in shown)]
    if not several:
        headers = [name for name in headers if name != "retriever"]
    return headers, [[cells[name] for name in headers] for cells in shown]


def dispensable(evaluation: Evaluation) -> list[str]:
    """Return the columns that a narrow table may drop, the first to drop first."""
    over = f"over {evaluation.baseline.system.name}"
    return [COUNTS, SECONDS, *reversed(evaluation.metrics[1:]), over]


def _cells(
    row: dict[str, Any], metrics: Sequence[str], over: str, *, alone: bool
) -> dict[str, str]:
    """Return a row's cells by header.

    Args:
        over: Header of the gain over the first retriever; empty with one retriever.
        alone: Whether that is the only gain, to which interval and p then belong.
    """
    suffix = "_over_first" if over and alone else ""
    low, high = row[f"gain{suffix}_low"], row[f"gain{suffix}_high"]
    names = {name: row[name] or "" for name in NAMES if name in row}
    first = {over: _signed(row["gain_over_first"])} if over else {}
    return {
        **names,
        "depth": _shown(row["candidates"], "d"),
        "blend": _shown(row["blend"] or None, "g"),
        **{metric: _shown(row[metric], f".{DIGITS}f") for metric in metrics},
        "gain": _signed(row["gain"]),
        **(first if alone else {}),
        "95 % interval": f"{_signed(low)} {_signed(high)}".strip(),
        "p": _p(row[f"p{suffix}"]),
        **({} if alone else first),
        COUNTS: "" if row["better"] is None else f"{row['better']}/{row['worse']}",
        SECONDS: _shown(row["seconds_per_query"], f".{DIGITS}f"),
    }


def _p(value: float | None) -> str:
    return "<.001" if value is not None and value < 0.001 else _shown(value, f".{DIGITS}f")


def _signed(value: float | None) -> str:
    """Return a difference with its sign: +0.000 is above 0, and 0.000 is exactly 0."""
    return _shown(value, f"{'+' if value else ''}.{DIGITS}f")


def _shown(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)
