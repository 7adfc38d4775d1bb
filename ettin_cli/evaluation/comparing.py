"""Compare systems with retrieval alone, and say in words what that tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ettin_cli.evaluation.results import NONE, Comparison, Measured
from ettin_cli.significance import bootstrap_interval, holm, queries_needed, randomisation_p

SEED = 20_240_517
SIGNIFICANT = 0.05
# Below this a query's value has not changed, but for the last digits of a sum.
SAME = 1e-9


def compare(baseline: Measured, systems: Sequence[Measured], metric: str) -> list[Comparison]:
    """Return how each system differs from the baseline, query by query.

    The p of the paired randomisation tests are Holm-corrected for the number of systems, since
    among many systems one looks better by chance.
    """
    differences = [_differences(baseline, system, metric) for system in systems]
    corrected = holm([randomisation_p(one, seed=SEED) for one in differences])
    return [
        Comparison(
            system=system.system,
            metric=metric,
            gain=sum(one) / len(one) if one else 0.0,
            interval=bootstrap_interval(one, seed=SEED),
            p=p,
            better=sum(value > SAME for value in one),
            worse=sum(value < -SAME for value in one),
            same=sum(abs(value) <= SAME for value in one),
            queries_needed=queries_needed(one),
        )
        for system, one, p in zip(systems, differences, corrected, strict=True)
    ]


def _differences(baseline: Measured, system: Measured, metric: str) -> list[float]:
    before, after = baseline.values[metric], system.values[metric]
    return [after[query_id] - before[query_id] for query_id in before]


def verdicts(comparisons: Sequence[Comparison], against: str = NONE) -> list[str]:
    """Return a sentence for each reranker: does it help these queries, and how deep.

    It is judged by its deepest system with the least blend, which is chosen before looking; where
    another blend did better by its mean that is added.

    Args:
        against: Retrieval alone, or the name of what others are compared with: one of several
            retrievers, or a run.
    """
    names = dict.fromkeys(one.system.name for one in comparisons)
    groups = [[one for one in comparisons if one.system.name == name] for name in names]
    return ["; ".join(_verdict(group, against)) for group in groups]


def _verdict(rows: Sequence[Comparison], against: str) -> Iterator[str]:
    least = min(row.system.blend for row in rows)
    plain = [row for row in rows if row.system.blend == least]
    judged = max(plain, key=lambda row: row.system.candidates or 0)
    yield _judgement(judged, against)
    if judged.gain > 0 and judged.p < SIGNIFICANT:
        yield from _depth(plain, judged)
    best = max(rows, key=lambda row: row.gain)
    if best.gain > max(judged.gain, 0.0) and best.system.blend != judged.system.blend:
        yield f"blend {best.system.blend:g} gives {best.gain:+.3f}"


def _judgement(row: Comparison, against: str) -> str:
    interval = f"[{row.interval[0]:.3f}, {row.interval[1]:.3f}]"
    queries = "query" if row.better == 1 else "queries"
    counts = f"{row.better} {queries} better, {row.worse} worse"
    measured = f"{row.gain:+.3f} {row.metric} {interval}, {counts}"
    name = row.system.name
    if row.p < SIGNIFICANT and against == NONE:
        return f"reranking with {name} {'helps' if row.gain > 0 else 'harms'} your data: {measured}"
    if row.p < SIGNIFICANT:
        return f"{name} is {'better' if row.gain > 0 else 'worse'} than {against}: {measured}"
    total = row.better + row.worse + row.same
    what = f"reranking with {name} helps" if against == NONE else f"{name} differs from {against}"
    few = "1 query does" if total == 1 else f"{total:,} queries do"
    told = f"{few} not tell whether {what}: {measured}"
    if row.queries_needed is None or row.queries_needed <= total:
        return told
    return f"{told}; about {row.queries_needed:,} would, for a difference of this size"


def _depth(plain: Sequence[Comparison], judged: Comparison) -> Iterator[str]:
    """Yield at which smaller depth most of the gain is reached, if at one."""
    shallower = [
        row for row in plain if (row.system.candidates or 0) < (judged.system.candidates or 0)
    ]
    enough = [row for row in shallower if row.gain >= 0.9 * judged.gain]
    if enough:
        least = min(enough, key=lambda row: row.system.candidates or 0)
        share = least.gain / judged.gain
        yield f"{least.system.candidates} candidates give {share:.0%} of it".replace("%", " %")
