"""`ettin mine` in units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self

from ettin_cli.clusters import Records, Work
from ettin_cli.commands.in_units import UnitRun, pieces_of
from ettin_cli.commands.mined_rows import MinedRows
from ettin_cli.commands.output_options import fingerprint
from ettin_cli.commands.unit_options import UnitOptions
from ettin_cli.console import Console
from ettin_cli.files.requests import Spool
from ettin_cli.index import Index
from ettin_cli.records import Qrels, Query, Reporter, Reranker, Silence
from ettin_cli.searching import (
    Models,
    NamedIndex,
    NamedRerankers,
    Retriever,
    choose_retriever,
    search_engine,
)
from ettin_cli.training import (
    MiningOptions,
    PositiveRow,
    mine,
    sought_in,
    sought_of,
    sought_record,
)


@dataclass(frozen=True, slots=True)
class MineUnits:
    """Mines negatives for ranges of queries; picklable.

    Args:
        reranker: The value of `-r`.
        sought: The file with the queries and their positives, as `sought_record` returns them.
    """

    models: NamedRerankers
    index: NamedIndex
    retriever: str
    reranker: str | None
    chosen: MiningOptions
    sought: Path

    @classmethod
    def of(
        cls,
        index: Index,
        models: Models,
        retriever: str,
        reranker: str | None,
        chosen: MiningOptions,
    ) -> Self:
        """Return the work on an open index, without its file."""
        found = [] if reranker is None else [models.find_reranker(reranker)]
        named = NamedRerankers.of(found, models)
        return cls(named, NamedIndex.of(index), retriever, reranker, chosen, Path())

    @property
    def recipe(self) -> str:
        """A hash of all that determines the output, except for the queries."""
        models = self.models
        return fingerprint(
            *([], models.settings, models.identities, models.folder),
            *(self.index, self.retriever, self.reranker, self.chosen),
        )

    def load(self, reporter: Reporter) -> tuple[Work, Mapping[str, str]]:
        """Open the index, and load the retriever and the reranker by name."""
        models = self.models.models(reporter)
        found = [] if self.reranker is None else [models.find_reranker(self.reranker)]
        self.models.check(found)
        index = self.index.open()
        embedder = partial(models.embedder_of, index)
        retriever = choose_retriever(self.retriever, index, embedder, reporter)
        reranker = models.reranker(found[0]) if found else None
        work = partial(self._do, index, retriever, reranker)
        return work, search_engine(self.models.settings)

    def _do(
        self,
        index: Index,
        retriever: Retriever,
        reranker: Reranker | None,
        records: Records,
        file: BinaryIO,
        rejects: BinaryIO,
    ) -> Mapping[str, int]:
        import orjson

        sought = map(sought_of, records.read(self.sought))
        mined = mine(index, sought, records.rows, retriever, reranker, self.chosen, Silence())
        rows = MinedRows(self.chosen.negatives)
        file.writelines(orjson.dumps(row) + b"\n" for row in rows.rows(mined))
        return rows.counts


def mine_in_units(
    job: MineUnits,
    queries: Iterable[Query | PositiveRow],
    qrels: Qrels | None,
    index: Index,
    input: Path,
    output: Path,
    units: UnitOptions,
    console: Console,
) -> Mapping[str, int]:
    """Write the mined rows in units, and return what was counted.

    Args:
        queries: Those in the file `input`.
        index: Closed at the end.

    Raises:
        EttinError: A query or row is invalid, the work cannot be done, or some units were given up.
    """
    with Spool() as records, index:
        with sought_in(index, queries, qrels, console) as (sought, _):
            for one in sought:
                records.add(sought_record(one))
        run = UnitRun(
            *(input, output, "mining", job.recipe, ".jsonl"),
            records=records,
            resumed_by="run the same command",
        )
        work = replace(job, sought=run.folder.records)
        return run.run(units, pieces_of(records), work, console, resume=True)
