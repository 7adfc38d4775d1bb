"""Compare systems query by query, and summarise the result in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ettin_cli.evaluation.results import Comparison, Gains, Measured, System, reference
from ettin_cli.evaluation.significance import ALPHA, effects

SEED = 20_240_517
# Smaller differences are rounding errors and count as no change.
SAME = 1e-9
# A blend is recommended instead of auto if its mean is higher by this much.
BLEND_MARGIN = 0.003

SystemPair = tuple[Measured, Measured]


def gains(measured: Sequence[Measured], metric: str) -> Gains:
    """Return how each system except the first differs from its reference.

    The reference of reranking is the same retriever alone. With several retrievers, every system
    is also compared with the first retriever alone.
    """
    baseline, *systems = measured
    reranked = [entry for entry in systems if not entry.system.alone]
    comparisons = iter(
        compare([(reference(entry.system, measured), entry) for entry in reranked], metric)
    )
    several = len({entry.system.retriever for entry in measured}) > 1
    return Gains(
        [None if entry.system.alone else next(comparisons) for entry in systems],
        compare([(baseline, entry) for entry in systems], metric) if several else (),
    )


def compare(pairs: Sequence[SystemPair], metric: str) -> list[Comparison]:
    """Return how the second system of each pair differs from the first, query by query.

    p-values and intervals are corrected for the number of pairs, since among many systems some
    look better by chance.
    """
    differences = [_differences(before, after, metric) for before, after in pairs]
    results = effects(
        [[d if abs(d) > SAME else 0.0 for d in row] for row in differences], seed=SEED
    )
    return [
        _comparison(system.system, metric, row, effect.p, effect.interval, effect.queries_needed)
        for (_, system), row, effect in zip(pairs, differences, results, strict=True)
    ]


def _comparison(
    system: System,
    metric: str,
    differences: Sequence[float],
    p: float,
    interval: tuple[float, float],
    needed: int | None,
) -> Comparison:
    gain = sum(differences) / len(differences)
    return Comparison(
        system=system,
        metric=metric,
        gain=gain,
        # Sums in another order may differ in the last digit.
        interval=(min(interval[0], gain), max(interval[1], gain)),
        p=p,
        better=sum(value > SAME for value in differences),
        worse=sum(value < -SAME for value in differences),
        same=sum(abs(value) <= SAME for value in differences),
        queries_needed=needed,
    )


def _differences(before: Measured, after: Measured, metric: str) -> list[float]:
    old, new = before.values[metric], after.values[metric]
    return [new[query_id] - old[query_id] for query_id in old]


def verdicts(gains: Gains, first: str) -> list[str]:
    """Return a sentence for each reranker, each further retriever and each further run.

    A reranker is judged by its deepest system with the lowest blend, which is fixed before
    looking at results; a blend with a higher mean is mentioned in addition.

    Args:
        first: Name of the first retriever or run.
    """
    reranked = [comparison for comparison in gains.over_alone if comparison is not None]
    names = dict.fromkeys(comparison.system.name for comparison in reranked)
    groups = [
        [comparison for comparison in reranked if comparison.system.name == name] for name in names
    ]
    retrievers = [
        _judgement(comparison, first) for comparison in gains.over_first if comparison.system.alone
    ]
    return [*("; ".join(_verdict(group, first)) for group in groups), *retrievers]


def correction(gains: Gains) -> str | None:
    """Return how multiple comparisons are corrected; None for at most one."""
    counts = {
        "with the same retriever alone": sum(
            comparison is not None for comparison in gains.over_alone
        ),
        "with the first retriever": len(gains.over_first),
    }
    if not gains.over_first:
        counts = {"": counts["with the same retriever alone"]}
    several = [f"{count:,} comparisons {of}".strip() for of, count in counts.items() if count > 1]
    if not several:
        return None
    return (
        f"95 % intervals and p are corrected for the number of comparisons ({', '.join(several)}): "
        f"an interval excludes 0 exactly where p is below {ALPHA:g}"
    )


def recommended_blend(system: System, means: Mapping[float, float], metric: str) -> str:
    """Return a sentence on the blend for these queries.

    Args:
        system: Its blend is that of `auto`, which is recommended unless another is clearly better.
        means: The mean of the metric by blend.
    """
    best = max(means, key=lambda blend: (means[blend], -abs(blend - system.blend)))
    own = f"{means[system.blend]:.3f} {metric} with auto, which is {system.blend:g}"
    if means[best] - means[system.blend] < BLEND_MARGIN:
        return f"recommended blend for {system.name}: auto: {own}"
    return (
        f"recommended blend for {system.name}: {best:g}: {means[best]:.3f}, the highest of "
        f"{', '.join(f'{blend:g}' for blend in means)} on these queries; {own}"
    )


def _verdict(rows: Sequence[Comparison], first: str) -> Iterator[str]:
    least = min(row.system.blend for row in rows)
    plain = [row for row in rows if row.system.blend == least]
    judged = max(plain, key=lambda row: row.system.candidates or 0)
    yield _judgement(judged, first)
    if judged.gain > 0 and judged.p < ALPHA:
        yield from _depth(plain, judged)
    best = max(rows, key=lambda row: row.gain)
    if best.gain > max(judged.gain, 0.0) and best.system.blend != judged.system.blend:
        yield f"blend {best.system.blend:g} gives {best.gain:+.3f}"


def _judgement(row: Comparison, first: str) -> str:
    """Return a sentence on reranking against none, or a retriever or run against the first."""
    interval = f"[{row.interval[0]:.3f}, {row.interval[1]:.3f}]"
    queries = "query" if row.better == 1 else "queries"
    counts = f"{row.better} {queries} better, {row.worse} worse"
    measured = f"{row.gain:+.3f} {row.metric} {interval}, {counts}"
    system = row.system
    reranks = not system.alone and system.run is None
    retrieval = f" over {system.retriever}" if system.retriever else ""
    reranking = f"reranking with {system.reranker}{retrieval}"
    if row.p < ALPHA and reranks:
        return f"{reranking} {'helps' if row.gain > 0 else 'hurts'} on your data: {measured}"
    if row.p < ALPHA:
        return f"{system.name} is {'better' if row.gain > 0 else 'worse'} than {first}: {measured}"
    if not row.better and not row.worse:
        if reranks:
            return f"{reranking} changes no query's {row.metric}"
        return f"{system.name} has the same {row.metric} as {first} for every query"
    total = row.better + row.worse + row.same
    what = f"{system.name} does not differ significantly from {first}"
    if reranks:
        what = f"{reranking} has no significant effect"
    few = "1 query" if total == 1 else f"{total:,} queries"
    verdict = f"{what} on {few}: {measured}"
    if row.queries_needed is None or row.queries_needed <= total:
        return verdict
    return f"{verdict}; a significant result would need about {row.queries_needed:,} queries"


def _depth(plain: Sequence[Comparison], judged: Comparison) -> Iterator[str]:
    """Yield the smallest depth that reaches 90 % of the gain, if there is one."""
    shallower = [
        row for row in plain if (row.system.candidates or 0) < (judged.system.candidates or 0)
    ]
    enough = [row for row in shallower if row.gain >= 0.9 * judged.gain]
    if enough:
        least = min(enough, key=lambda row: row.system.candidates or 0)
        share = least.gain / judged.gain
        yield f"{least.system.candidates} candidates already give {share:.0%} of the gain".replace(
            "%", " %"
        )
