"""A race -> a row per contender, as in every format. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ettin_cli.benchmark.machine import Machine
from ettin_cli.benchmark.results import Race, Speed
from ettin_cli.settings import SENTENCE_TRANSFORMERS

ENGINE = "engine"
SPEED = ("ratio", "pairs/s", "range", "published", "tokens/s", "peak", "load")
AGREEMENT = ("max-diff", "mean-diff", "tau", "overlap@10")


def race_rows(race: Race) -> list[dict[str, Any]]:
    """Return a row per contender; values that do not apply are None."""
    return [_row(race, speed) for speed in race.speeds]


def _row(race: Race, speed: Speed) -> dict[str, Any]:
    rates = [race.pairs / seconds for seconds in speed.seconds]
    median = statistics.median(speed.seconds) if rates else None
    agreement = speed.agreement
    return {
        "model": race.model,
        "engine": speed.backend,
        "dtype": speed.dtype,
        "document_tokens": race.document_tokens,
        "pairs": race.pairs,
        "queries": race.queries,
        "tokens": race.tokens,
        "truncated": race.truncated,
        "rounds": len(rates),
        "pairs_per_s": race.pairs / median if median else None,
        "pairs_per_s_min": min(rates, default=None),
        "pairs_per_s_max": max(rates, default=None),
        "published_pairs_per_s": speed.published.pairs_per_s if speed.published else None,
        "published_on": str(speed.published) if speed.published else None,
        "tokens_per_s": race.tokens / median if median else None,
        "ratio": speed.ratio,
        "peak_share": speed.peak_share,
        "peak_dtype": speed.peak_dtype,
        "load_s": speed.load_s,
        "max_difference": agreement.max_difference if agreement else None,
        "mean_difference": agreement.mean_difference if agreement else None,
        "kendall_tau": agreement.kendall_tau if agreement else None,
        "overlap_at_10": agreement.overlap_at_10 if agreement else None,
        "error": speed.error,
    }


def summary(races: Sequence[Race], machine: Machine) -> dict[str, Any]:
    """Return a complete benchmark in the shape of `-f json`."""
    rows = [row for race in races for row in race_rows(race)]
    return {"machine": asdict(machine), "rows": rows}


def shown_rows(race: Race) -> list[dict[str, str]]:
    """Return the cells of the printed table by header, for contenders that ran, in order."""
    return [_cells(row) for row in race_rows(race) if row["error"] is None]


def headers(cells: Sequence[dict[str, str]], names: Sequence[str]) -> list[str]:
    """Return the names of the columns that are not empty."""
    return [name for name in names if any(row[name] for row in cells)]


def _cells(row: dict[str, Any]) -> dict[str, str]:
    engine = row["engine"]
    low, high = (_rate(row[name]) for name in ("pairs_per_s_min", "pairs_per_s_max"))
    return {
        # The reference's device and dtype would make the column too wide.
        ENGINE: SENTENCE_TRANSFORMERS if engine.startswith(SENTENCE_TRANSFORMERS) else engine,
        "ratio": _shown(row["ratio"], ".2f", "x"),
        "pairs/s": _rate(row["pairs_per_s"]),
        "range": f"{low}-{high}" if row["rounds"] > 1 else "",
        "published": _shown(row["published_pairs_per_s"], ",.4g"),
        "tokens/s": _shown(row["tokens_per_s"], ",.0f"),
        "peak": _shown(row["peak_share"], ".0%"),
        "load": _shown(row["load_s"], ".2f", " s"),
        "max-diff": _difference(row["max_difference"]),
        "mean-diff": _difference(row["mean_difference"]),
        "tau": _shown(row["kendall_tau"], ".4f"),
        "overlap@10": _shown(row["overlap_at_10"], ".1%"),
    }


def _rate(value: float) -> str:
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{decimals}f}"


def _difference(value: float | None) -> str:
    return "0" if value == 0 else _shown(value, ".1e")


def _shown(value: Any, form: str, unit: str = "") -> str:
    return "" if value is None else format(value, form) + unit
