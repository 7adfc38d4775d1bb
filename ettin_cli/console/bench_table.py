"""A benchmark in the terminal: one table per race."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from ettin_cli.benchmark import (
    AGREEMENT,
    ENGINE,
    SPEED,
    Machine,
    Race,
    headers,
    race_rows,
    shown_rows,
    summary,
)
from ettin_cli.console.console import GAP, UNWRAPPED, Console
from ettin_cli.console.units import count
from ettin_cli.files import output_file
from ettin_cli.files.writers import (
    TABLE,
    DocumentWriter,
    RowWriter,
    formats,
    holds_races,
    writer_of,
)
from ettin_cli.text import inert_line

BENCH_FORMATS = formats(holds_races)


def show_races(
    console: Console, races: Iterable[Race], machine: Machine, format: str, output: Path | None
) -> None:
    """Write the results of a benchmark: to stdout as each race ends, to a file at the end.

    Args:
        format: One of BENCH_FORMATS except `auto`.
    """
    if output is not None and str(output) != "-":
        content = _encoded(list(races), machine, format)
        with output_file(output) as file:
            file.write(content)
    elif format == TABLE:
        for number, race in enumerate(races):
            if number:
                console.line("")
            _print(console, race)
    elif isinstance(writer_of(format), DocumentWriter):
        console.line(_encoded(list(races), machine, format).decode().removesuffix("\n"))
    else:
        for race in races:
            for line in _encoded([race], machine, format).splitlines():
                console.line(line.decode())


def _encoded(races: Sequence[Race], machine: Machine, format: str) -> bytes:
    """Return races in a format that `holds_races`."""
    writer = writer_of(format)
    if isinstance(writer, DocumentWriter):
        return writer.document(summary(races, machine))
    rows = [{**row, "machine": asdict(machine)} for race in races for row in race_rows(race)]
    return cast(RowWriter, writer).rows(
        list(rows[0] if rows else ()), (list(row.values()) for row in rows)
    )


def _print(console: Console, race: Race) -> None:
    """Print a race: in one table if that fits, else speed first and agreement below."""
    length = f" of {race.tokens / race.pairs:,.0f} tokens on average"
    of = count(race.queries, "query", "queries")
    console.line(f"{inert_line(race.model)}: {count(race.pairs, 'pair')}{length}, {of}")
    cells = shown_rows(race)
    speed, agreement = headers(cells, SPEED), headers(cells, AGREEMENT)
    if _fits(console, cells, [ENGINE, *speed, *agreement]):
        _print_columns(console, cells, [*speed, *agreement])
    else:
        _print_columns(console, cells, speed)
        compared = [row for row in cells if any(row[name] for name in agreement)]
        _print_columns(console, compared, agreement)
    if published := {str(one.published) for one in race.speeds if one.published}:
        console.line(f"published: on {' and '.join(sorted(published))}, with other texts")
    for row in race_rows(race):
        if row["error"] is not None:
            why = inert_line(row["error"])
            console.line(f"{row['engine']} in {row['dtype']} failed: {why}")


def _fits(console: Console, cells: Sequence[dict[str, str]], columns: Sequence[str]) -> bool:
    widths = [max(map(len, (name, *(row[name] for row in cells)))) + GAP for name in columns]
    return sum(widths) - GAP <= console.terminal(piped_width=UNWRAPPED).width


def _print_columns(
    console: Console, cells: Sequence[dict[str, str]], columns: Sequence[str]
) -> None:
    if cells and columns:
        rows = [[row[name] for name in (ENGINE, *columns)] for row in cells]
        console.rows([ENGINE, *columns], rows, right=" ".join(columns))
