"""Evaluations of several collections -> their rows, and the means over them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ettin_cli.evaluation.results import Evaluation, System
from ettin_cli.evaluation.rows import labels, summary, system_rows

COLLECTION = "collection"
PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Suite:
    """The same systems measured on several collections.

    Args:
        name: The title.
        evaluations: By the name of the collection, in the order shown.
        left_out: Collections that a second mean leaves out; empty: there is one mean.
        remarks: Notes on the means.
        published: Published means of the first metric over the same collections, by reranker.
    """

    name: str
    evaluations: Mapping[str, Evaluation]
    left_out: Collection[str] = ()
    remarks: Sequence[str] = ()
    published: Mapping[str, float] = field(default_factory=dict)

    @property
    def metrics(self) -> Sequence[str]:
        """The metrics; systems are compared by the first."""
        return next(iter(self.evaluations.values())).metrics

    @property
    def systems(self) -> list[System]:
        """The systems, the baseline first."""
        first = next(iter(self.evaluations.values()))
        return [measured.system for measured in first.measured]

    @property
    def means(self) -> list[tuple[str, list[str]]]:
        """The label of each mean and the collections that it is over."""
        every = list(self.evaluations)
        means = [(f"mean of {len(every)}", every)]
        kept = [name for name in every if name not in self.left_out]
        if self.left_out and len(kept) not in (0, len(every)):
            means.append((f"mean of {len(kept)}", kept))
        return means

    def mean(self, at: int, metric: str, names: Sequence[str]) -> float:
        """Return the mean of a metric's means over some collections.

        Args:
            at: The position of the system.
        """
        values = [self.evaluations[name].measured[at].mean(metric) for name in names]
        return sum(values) / len(values)


def suite_rows(suite: Suite) -> list[dict[str, Any]]:
    """Return a row for each collection and system, then one for each mean and system."""
    rows = [
        {COLLECTION: name, **row}
        for name, evaluation in suite.evaluations.items()
        for row in system_rows(evaluation)
    ]
    columns = list(rows[0])
    return rows + [{**dict.fromkeys(columns), **row} for row in _mean_rows(suite)]


def _mean_rows(suite: Suite) -> list[dict[str, Any]]:
    return [
        {
            COLLECTION: label,
            **labels(system),
            **{metric: suite.mean(at, metric, names) for metric in suite.metrics},
        }
        for label, names in suite.means
        for at, system in enumerate(suite.systems)
    ] + [
        {
            COLLECTION: PUBLISHED,
            **labels(system),
            suite.metrics[0]: suite.published[system.reranker],
        }
        for system in suite.systems
        if system.reranker in suite.published
    ]


def suite_document(suite: Suite) -> dict[str, Any]:
    """Return a suite in the shape of `-f json`."""
    return {
        "name": suite.name,
        "metric": suite.metrics[0],
        "collections": [summary(one) for one in suite.evaluations.values()],
        "means": _mean_rows(suite),
        "notes": list(suite.remarks),
    }


def shown_suite(suite: Suite) -> tuple[list[str], list[list[str]]]:
    """Return the headers and cells of the printed table: the first metric of each system."""
    metric = suite.metrics[0]
    headers = [metric, *map(str, suite.systems)]
    rows = [
        [name, *(f"{measured.mean(metric):.3f}" for measured in evaluation.measured)]
        for name, evaluation in suite.evaluations.items()
    ]
    for label, names in suite.means:
        rows.append(
            [label, *(f"{suite.mean(at, metric, names):.3f}" for at in range(len(suite.systems)))]
        )
    if suite.published:
        known = [suite.published.get(system.reranker) for system in suite.systems]
        rows.append([PUBLISHED, *("" if one is None else f"{one:.3f}" for one in known)])
    return headers, rows
