"""Files and datasets to train on -> training data: all of their rows, or a sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ettin_cli.collections import Table, open_dataset, require_room
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.models import MB
from ettin_cli.records import Reporter
from ettin_cli.storage import Stream
from ettin_cli.training.column_types import unfit_column
from ettin_cli.training.examples import Examples, read_examples
from ettin_cli.training.mixture import Mixture
from ettin_cli.training.recipe import LISTWISE, MARGIN_MSE, MSE
from ettin_cli.training.rows import ROWS, are_scored
from ettin_cli.training.sampling import MOST_ROWS, chosen_rows, shares
from ettin_cli.training.table_rows import TableRows
from ettin_cli.training.windows import TrainingData


@dataclass(frozen=True, slots=True)
class DataRequest:
    """What to train on.

    Args:
        files: Files, or streams of JSONL.
        tables: Of datasets, as `usable_tables` returns them.
        loss: As in `Recipe`.
        sample: The number of rows to choose at random, in proportion; None: all.
        seed: Of the sample.
    """

    files: Sequence[Path | Stream]
    tables: Sequence[Table]
    loss: str | None
    sample: int | None
    seed: int


def usable_tables(
    names: Sequence[str], loss: str | None, *, offline: bool, reporter: Reporter
) -> list[Table]:
    """Return the tables of some datasets that a loss can use; the others are reported.

    Args:
        names: As in "owner/name", or "owner/name/configuration".

    Raises:
        CorpusError: A dataset cannot be had, or has no such table.
        InvalidArgumentError: A table is named twice.
    """
    tables: list[Table] = []
    for name in names:
        found = open_dataset(name, offline=offline, reporter=reporter)
        reasons = {table.name: _unusable(table, loss) for table in found.tables}
        usable = [table for table in found.tables if reasons[table.name] is None]
        left_out = {**{one: why for one, why in reasons.items() if why}, **found.left_out}
        if not usable:
            first = next((f": {one}: {why}" for one, why in left_out.items()), "")
            raise CorpusError(
                f"nothing in {name} can be trained on{first}",
                code="invalid-examples",
                expected=ROWS,
            )
        for one, why in left_out.items():
            reporter.notice(f"{one} is left out: {why}")
        tables += usable
    seen: set[str] = set()
    for table in tables:
        if table.name in seen:
            raise InvalidArgumentError(f"{table.name} is given twice", argument="data")
        seen.add(table.name)
    return tables


def _unusable(table: Table, loss: str | None) -> str | None:
    """Return why a table cannot be trained on, if so."""
    scored = are_scored(table.columns)
    if scored is None:
        return f"its columns are {', '.join(table.columns)}"
    if not scored and loss in (MSE, MARGIN_MSE):
        return f"the loss {loss} needs scores, not positives and negatives"
    if scored and loss in (MARGIN_MSE, LISTWISE):
        return f"the loss {loss} compares documents of a query, and rows are read one by one"
    for shard in table.shards:
        if are_scored(shard.types) is not scored:
            return f"the columns of {shard.name} are {', '.join(shard.types)}"
        if unfit := unfit_column(shard.types):
            return f"{unfit}, in {shard.name}"
    return None if table.rows else "it has no rows"


@contextmanager
def read_data(request: DataRequest, reporter: Reporter) -> Iterator[TrainingData]:
    """Read the examples of files, and decide which rows of the tables are trained on.

    Raises:
        CorpusError: A file cannot be read, the cache of the hub has no room, or it lacks files
            while the network is disabled.
        InvalidArgumentError: There are too many rows.
    """
    files, tables = request.files, request.tables
    with read_examples(files, request.loss, reporter) if files else Examples() as examples:
        sizes = [len(examples), *(table.rows for table in tables)]
        counts = _counts(request.sample, sizes, reporter)
        if counts[0] < sizes[0]:
            examples.sample(counts[0], request.seed)
        if not tables:
            yield examples
            return
        chosen = [
            TableRows(table, chosen_rows(table, count, request.seed), scored=_is_scored(table))
            for table, count in zip(tables, counts[1:], strict=True)
            if count
        ]
        shards = [(one.table.files, part.shard.name) for one in chosen for part in one.chosen]
        missing = require_room(shards)
        every = sum(len(table.shards) for table in tables)
        reporter.notice(
            f"{sum(counts[1:]):,} of {sum(sizes[1:]):,} rows of {len(chosen):,} of "
            f"{len(tables):,} configurations: {len(shards):,} of {every:,} files"
            + (f", {math.ceil(missing / MB):,} MB to download" if missing else "")
        )
        data = Mixture(examples, chosen, request.loss, reporter)
        data.available = sum(sizes) if sum(counts) < sum(sizes) else None
        yield data


def _is_scored(table: Table) -> bool:
    return are_scored(table.columns) is True


def _counts(sample: int | None, sizes: Sequence[int], reporter: Reporter) -> Sequence[int]:
    """Return how many rows of each part are trained on."""
    every = sum(sizes)
    if sample is not None and sample < every:
        return shares(sample, sizes)
    if sample is not None and sample > every:
        reporter.notice(f"there are only {every:,} rows; all are trained on")
    if len(sizes) > 1 and every >= MOST_ROWS:
        raise InvalidArgumentError(
            f"{every:,} rows are too many to mix; choose fewer than {MOST_ROWS:,}",
            argument="sample",
        )
    return sizes
