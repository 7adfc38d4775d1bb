"""`ettin search --queries` in units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ettin_cli.clusters import Records, Work
from ettin_cli.commands.in_units import UnitRun, pieces_of
from ettin_cli.commands.part_format import PartFormat
from ettin_cli.commands.search_summary import AnswerCounts
from ettin_cli.commands.unit_options import UnitOptions
from ettin_cli.console import Console, Tally
from ettin_cli.files import query_of, query_record
from ettin_cli.files.requests import Spool
from ettin_cli.files.writers import Layout
from ettin_cli.records import Answer, Query, Reporter, Stage
from ettin_cli.searching import (
    NamedIndex,
    NamedRerankers,
    RerankerCascade,
    Searcher,
    SearchOptions,
    search_engine,
)


@dataclass(frozen=True, slots=True)
class SearchUnits:
    """Answers ranges of queries; picklable.

    Args:
        reranker: The value of `-r`.
        queries: The file with the queries, as `query_record` returns them.
    """

    models: NamedRerankers
    index: NamedIndex
    reranker: str
    retriever: str
    expand: bool
    long: str
    exact: bool
    chosen: SearchOptions
    queries: Path
    part: PartFormat

    def load(self, reporter: Reporter) -> tuple[Work, Mapping[str, str]]:
        """Open the index, and find the rerankers by name."""
        models = self.models.models(reporter)
        cascade = None if self.reranker == "none" else models.find_rerankers(self.reranker)
        self.models.check(cascade.every if cascade else [])
        searcher = Searcher(
            self.index.open(),
            models,
            retriever=self.retriever,
            rerankers=cascade,
            expand=self.expand,
            long=self.long,
            exact=self.exact,
        )
        return partial(self._do, searcher), search_engine(self.models.settings)

    def _do(
        self, searcher: Searcher, records: Records, file: BinaryIO, rejects: BinaryIO
    ) -> Mapping[str, int]:
        queries = [query_of(record) for record in records.read(self.queries)]
        counts = _Counts()
        answers = counts.watch(searcher.search_many(queries, self.chosen))
        self.part.write(answers, file, first=records.first == 0)
        return counts.numbers()


class SearchFiles(NamedTuple):
    """The files of a search in units.

    Args:
        recipe: A hash of everything but the queries that determines the output.
    """

    queries: Path
    output: Path
    format: str
    tag: str
    recipe: str
    resume: bool


def search_in_units(
    searcher: Searcher,
    queries: Iterable[Query],
    reranker: str,
    chosen: SearchOptions,
    files: SearchFiles,
    units: UnitOptions,
    console: Console,
    refresh: str,
) -> AnswerCounts:
    """Write the answers to queries in units, and return what was counted.

    Args:
        searcher: What each worker makes too; checks the options, and answers no query.
        reranker: The value of `-r`.
        refresh: The command that updates stale hits.

    Raises:
        EttinError: The options do not fit together, the work cannot be done, or some units were
            given up.
    """
    searcher.search_many([], chosen)
    tally, cascade = Tally(many=True, refresh=refresh), searcher.rerankers
    part = PartFormat(files.format, Layout(True, True, files.tag), complete=units.in_folder)
    with Spool() as records:
        for query in queries:
            records.add(query_record(query))
        run = UnitRun(
            *(files.queries, files.output, "searching", files.recipe, part.suffix),
            *(b"" if part.made else part.begin, part.made, part.end, records),
        )
        job = SearchUnits(
            NamedRerankers.of(cascade.every if cascade else [], searcher.models),
            NamedIndex.of(searcher.index),
            *(reranker, searcher.retriever_name, searcher.expand, searcher.long, searcher.exact),
            *(chosen, run.folder.records, part),
        )
        counts = run.run(units, pieces_of(records), job, console, resume=files.resume)
    found = _counted(counts, cascade, tally)
    console.report(tally)
    return found


class _Counts:
    """Counts the answers of a unit."""

    def __init__(self) -> None:
        self.tally, self.answers = Tally(many=True), AnswerCounts()

    def watch(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """Yield the answers while counting them."""
        return self.tally.watch(self.answers.watch(answers))

    def numbers(self) -> Mapping[str, int]:
        """Return the counts; those of all units are summed."""
        tally = self.tally
        numbers = Counter(
            {
                "queries": tally.queries,
                "hits": tally.hits,
                "truncated": tally.truncated,
                "stale": tally.stale,
                f"most {self.answers.most}": 1,
                f"blend {tally.last.blend if tally.last else 0.0}": 1,
            }
        )
        for at, stage in enumerate(tally.stages):
            numbers[f"scored {at}"] = stage.scored
            numbers[f"kept {at}"] = stage.kept
        return numbers


def _counted(
    counts: Mapping[str, int], cascade: RerankerCascade | None, tally: Tally
) -> AnswerCounts:
    """Return what was counted in all units, and add it to a tally."""
    found = AnswerCounts()
    tally.queries = found.answers = counts["queries"]
    tally.hits = found.hits = counts["hits"]
    tally.truncated, tally.stale = counts["truncated"], counts["stale"]
    found.most = int(max(_values("most", counts), default=0))
    steps = cascade.every if cascade and cascade.before else []
    tally.stages = [
        Stage(one.name, "", counts[f"scored {at}"], 0, counts[f"kept {at}"])
        for at, one in enumerate(steps)
    ]
    if tally.queries:
        blend = max(_values("blend", counts))
        name = cascade.name if cascade else "none"
        tally.last = Answer(Query("", ""), (), None, name, "", blend=blend)
    return found


def _values(name: str, counts: Mapping[str, int]) -> Iterator[float]:
    """Yield the values that units counted by name."""
    return (float(key.split()[1]) for key in counts if key.startswith(f"{name} "))
