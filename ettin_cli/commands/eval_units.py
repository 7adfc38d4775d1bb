"""`ettin eval` in units."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ettin_cli.commands.in_units import UnitRun, pieces_of
from ettin_cli.commands.output_options import fingerprint
from ettin_cli.commands.unit_options import UnitOptions
from ettin_cli.console import Console
from ettin_cli.evaluation import (
    Evaluator,
    Results,
    SweepResults,
    SweepUnits,
    judged_records,
    results_of_units,
)
from ettin_cli.files import output_errors
from ettin_cli.files.requests import Spool
from ettin_cli.records import Qrels, Query
from ettin_cli.storage import make_folder


def results_in_units(
    held: ExitStack,
    evaluator: Evaluator,
    names: Sequence[str],
    queries: Path,
    output: Path,
    chosen: UnitOptions,
    console: Console,
) -> Results:
    """Return a function that does the work of `Evaluator.results` in units.

    Their parts, beside the output folder, are kept until `held` is closed without an error.

    Args:
        names: The values of `-r`.
        queries: The file of the queries.
    """

    def results(asked: Sequence[Query], qrels: Qrels) -> SweepResults:
        with output_errors(output):
            make_folder(output.parent)
        records = held.enter_context(Spool())
        for record in judged_records(asked, qrels):
            records.add(record)
        rerankers = [one for found in evaluator.request.rerankers.values() for one in found.every]
        job = SweepUnits.of(evaluator, names, Path())
        recipe = fingerprint(
            *(rerankers, evaluator.models.settings, Path.cwd()),
            *(job.index, job.request, job.names, job.long),
        )
        run = UnitRun(
            *(queries, output, "evaluating", recipe, ".json"),
            records=records,
            resumed_by="run the same command",
        )
        job = SweepUnits.of(evaluator, names, run.folder.records)
        units = held.enter_context(run.done(chosen, pieces_of(records), job, console, resume=True))
        return results_of_units([run.folder.part(unit) for unit in units], evaluator)

    return results
