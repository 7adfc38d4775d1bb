"""Answer ranges of the judged queries with every system, by workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self

from ettin_cli.clusters import Records, Work
from ettin_cli.errors import OutputError
from ettin_cli.evaluation.evaluator import EvaluationRequest, Evaluator, named_rerankers
from ettin_cli.evaluation.sweep_results import SweepResults
from ettin_cli.files import query_of, query_record
from ettin_cli.models.rerankers import ResolvedReranker, ScoreFile, store_scores
from ettin_cli.records import Qrels, Query, Reporter
from ettin_cli.searching import NamedIndex, NamedRerankers, search_engine
from ettin_cli.settings import TRUNCATE

JudgedRecord = tuple[list[str], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class SweepUnits:
    """Answers ranges of queries; picklable.

    Args:
        request: Without rerankers and `long`.
        names: The rerankers, as they were given.
        queries: The file with the queries, as `judged_records` yields them.
    """

    models: NamedRerankers
    index: NamedIndex
    request: EvaluationRequest
    names: tuple[str, ...]
    long: str
    queries: Path

    @classmethod
    def of(cls, evaluator: Evaluator, names: Sequence[str], queries: Path) -> Self:
        """Return the work of an evaluator."""
        request = evaluator.request
        return cls(
            NamedRerankers.of(_every(request), evaluator.models),
            NamedIndex.of(evaluator.index),
            replace(request, rerankers={}, long=TRUNCATE),
            tuple(names),
            request.long,
            queries,
        )

    def load(self, reporter: Reporter) -> tuple[Work, Mapping[str, str]]:
        """Open the index, and find the rerankers by name."""
        models = self.models.models(reporter)
        rerankers = named_rerankers(self.names, models)
        request = replace(self.request, rerankers=rerankers, long=self.long)
        self.models.check(_every(request))
        evaluator = Evaluator(self.index.open(), models, request, keeps=True)
        return partial(self._do, evaluator), search_engine(self.models.settings)

    def _do(
        self, evaluator: Evaluator, records: Records, file: BinaryIO, rejects: BinaryIO
    ) -> Mapping[str, int]:
        import orjson

        read: list[JudgedRecord] = records.read(self.queries)
        queries = [query_of(record) for record, _ in read]
        qrels = {query.query_id: judged for query, (_, judged) in zip(queries, read, strict=True)}
        results = evaluator.results(queries, qrels)
        scores = {identity: kept.take() for identity, kept in evaluator.kept.items()}
        file.write(orjson.dumps({"results": results.to_dict(), "scores": scores}))
        return {}


def judged_records(queries: Iterable[Query], qrels: Qrels) -> Iterator[JudgedRecord]:
    """Yield queries with their judgements, as values of JSON."""
    for query in queries:
        yield query_record(query), qrels[query.query_id]


def results_of_units(parts: Iterable[Path], evaluator: Evaluator) -> SweepResults:
    """Return the results of units, and write their scores to the score cache.

    Raises:
        OutputError: A part is damaged.
    """
    import orjson

    models, results = evaluator.models, SweepResults()
    stores = {
        one.identity: ScoreFile.of(one, models.settings, models.reporter)
        for one in _every(evaluator.request)
    }
    for part in parts:
        try:
            held = orjson.loads(part.read_bytes())
            found = SweepResults.from_dict(held["results"])
            for identity, taken in held["scores"].items():
                store_scores(taken, stores[identity])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            folder = part.parent.parent
            raise OutputError(
                f"{part} is damaged", code="resume-damaged", partial=folder
            ) from error
        results.add(found)
    return results


def _every(request: EvaluationRequest) -> list[ResolvedReranker]:
    return [one for cascade in request.rerankers.values() for one in cascade.every]
