"""What the systems of a sweep did for some queries, and the outcome for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from ettin_cli.evaluation.metrics import evaluate
from ettin_cli.evaluation.outcome import Labelled, Outcome
from ettin_cli.evaluation.results import Measured, System
from ettin_cli.records import Qrels

if TYPE_CHECKING:
    from ettin_cli.evaluation.sweep import Sweep

Ranking = list[tuple[str, float]]
# System -> query_id -> ranking.
Runs = dict[System, dict[str, Ranking]]


def _runs() -> Runs:
    return defaultdict(dict)


@dataclass(slots=True)
class SweepResults:
    """The rankings of every system, and what calibrations and reports need.

    Args:
        runs: The run of each system.
        tried: Runs of the deepest systems with other blends.
        seconds: The time of all queries of each system.
        labelled: By reranker, its hits by query_id and doc_id; see `Outcome.labelled`.
        rows: As in `Outcome`, like the fields after it.
    """

    runs: Runs = field(default_factory=_runs)
    tried: Runs = field(default_factory=_runs)
    seconds: dict[System, float] = field(default_factory=lambda: defaultdict(float))
    labelled: dict[str, dict[tuple[str, str], Labelled]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    rows: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    unindexed: int = 0
    scored: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    truncated: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, others: SweepResults) -> None:
        """Add the results of other queries, which come after these."""
        for own, other in ((self.runs, others.runs), (self.tried, others.tried)):
            for system, run in other.items():
                own[system].update(run)
        for system, seconds in others.seconds.items():
            self.seconds[system] += seconds
        for reranker, labelled in others.labelled.items():
            self.labelled[reranker].update(labelled)
        self.rows.update(others.rows)
        self.unindexed += others.unindexed
        for reranker, scored in others.scored.items():
            self.scored[reranker] += scored
            self.truncated[reranker] += others.truncated[reranker]

    def outcome(self, sweep: Sweep, qrels: Qrels) -> Outcome:
        """Return the measured runs of all judged queries."""
        place = {query_id: at for at, query_id in enumerate(self.runs[sweep.baseline])}
        return Outcome(
            self._measured(sweep.baseline, sweep, qrels),
            [self._measured(system, sweep, qrels) for system in sweep.systems],
            {
                # Those of a query together, however many queries were answered at once.
                name: sorted(pairs.values(), key=lambda one: place[one.query_id])
                for name, pairs in self.labelled.items()
            },
            self.rows,
            self.unindexed,
            dict(self.scored),
            dict(self.truncated),
            self._blends(sweep, qrels),
        )

    def _measured(self, system: System, sweep: Sweep, qrels: Qrels) -> Measured:
        run = self.runs[system]
        values = evaluate(_scores(run), qrels, sweep.metrics)
        named = {str(metric): by_query for metric, by_query in values.items()}
        return Measured(system, named, run, self.seconds[system] / max(1, len(run)))

    def _blends(self, sweep: Sweep, qrels: Qrels) -> dict[System, dict[float, float]]:
        """Return the mean of the first metric for each blend tried."""
        metric = sweep.metrics[0]
        means: dict[System, dict[float, float]] = defaultdict(dict)
        for system, run in sorted(self.tried.items(), key=lambda entry: entry[0].blend):
            values = evaluate(_scores(run), qrels, [metric])[metric].values()
            own = sweep.own_blend(system.reranker, system.retriever or "")
            means[replace(system, blend=own)][system.blend] = sum(values) / max(1, len(values))
        return dict(means)

    def to_dict(self) -> dict[str, Any]:
        """Return the results as a value of JSON."""
        return {
            "runs": [[*astuple(system), run] for system, run in self.runs.items()],
            "tried": [[*astuple(system), run] for system, run in self.tried.items()],
            "seconds": [[*astuple(system), one] for system, one in self.seconds.items()],
            "labelled": {
                name: [[doc_id, *astuple(one)] for (_, doc_id), one in pairs.items()]
                for name, pairs in self.labelled.items()
            },
            "rows": self.rows,
            "unindexed": self.unindexed,
            "scored": self.scored,
            "truncated": self.truncated,
        }

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Self:
        """Return the results in a value of JSON."""
        return cls(
            _runs_of(held["runs"]),
            _runs_of(held["tried"]),
            {System(*system): seconds for *system, seconds in held["seconds"]},
            {
                name: {(one[1], one[0]): Labelled(*one[1:]) for one in pairs}
                for name, pairs in held["labelled"].items()
            },
            *(held[name] for name in ("rows", "unindexed", "scored", "truncated")),
        )


def _scores(run: Mapping[str, Ranking]) -> dict[str, dict[str, float]]:
    return {query_id: dict(ranking) for query_id, ranking in run.items()}


def _runs_of(rows: list[list[Any]]) -> Runs:
    return {
        System(*system): {
            query_id: [(doc_id, score) for doc_id, score in ranking]
            for query_id, ranking in run.items()
        }
        for *system, run in rows
    }
