"""An evaluation like that of a real collection, made of seeded random numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ettin_cli.evaluation.results import (
    Comparison,
    Evaluation,
    Gains,
    Measured,
    ShownDocument,
    System,
)

METRICS = ("nDCG@10", "RR@10", "R@100")
POOL, JUDGED, RELEVANT = 120, 24, 5
SURE = {"17m": 1.4, "32m": 1.8, "150m": 2.3}
SUBJECTS = """ferry timetable, harbour dues, sourdough starter, night train, apple scab, rain gauge,
bicycle brake, wood stove, library card, seed potato, beehive, slate roof, choir rehearsal,
compost heap, lighthouse lamp, tide table""".replace("\n", " ").split(", ")
ASKED = ("how often is the {} checked?", "what does the {} cost in winter?", "who minds the {}?")
TOLD = (
    "The {} is looked after by volunteers, who meet on the first Monday of the month.",
    "A {} needs little in summer. In winter it is checked twice a week, more often in frost.",
    "Costs of the {} were last fixed in March, and the council reviews them every other year.",
    "Notes on the {}: what was tried, what broke, and what the neighbours thought of it.",
)

Run = dict[str, list[tuple[str, float]]]


@dataclass(frozen=True, slots=True)
class Collection:
    """Queries with documents about them; the first JUDGED queries have judgements."""

    queries: dict[str, str]
    pools: dict[str, list[str]]
    qrels: dict[str, dict[str, int]]
    documents: dict[str, ShownDocument]


def realistic(
    queries: int = 60,
    sure: Mapping[str, float] = SURE,
    depths: Sequence[int] = (10, 20, 50, 100),
    blends: Sequence[float] = (0.0, 0.3),
) -> Evaluation:
    """Return an evaluation of rerankers (name -> strength) at several depths and blends."""
    rng = random.Random(7)
    made = collection(rng, queries)
    retrieved = opinions(rng, made, 2.0)
    baseline = Measured(System(), values(retrieved, made.qrels), retrieved, 0.012)
    systems = []
    for at, (name, strength) in enumerate(sure.items()):
        opinion = opinions(rng, made, strength)
        for depth in depths:
            for blend in blends:
                run = reranked(retrieved, opinion, depth, blend)
                seconds = 0.012 + 0.0009 * depth * 2.4**at
                system = System(name, depth, blend)
                systems.append(Measured(system, values(run, made.qrels), run, seconds))
    comparisons = [compared(one, baseline, len(systems)) for one in systems]
    best = max(comparisons, key=lambda one: one.gain)
    return Evaluation(
        name="village-notes",
        metrics=METRICS,
        queries=made.queries,
        qrels=made.qrels,
        baseline=baseline,
        systems=systems,
        gains=gains_by_first(METRICS, comparisons),
        verdicts=[
            f"Reranking helps: {best.system} gains {best.gain:.3f} nDCG@10 over retrieval alone.",
            f"{best.better} of {queries} queries rise and {best.worse} fall. 50 candidates give "
            "most of the gain in half the time.",
        ],
        notes=["3 queries have no judgement and are left out."],
        documents=made.documents,
    )


def gains_by_first(
    metrics: Sequence[str], comparisons: Sequence[Comparison | None]
) -> dict[str, Gains]:
    """Return gains for the first metric, and none for the others."""
    none: list[Comparison | None] = [None] * len(comparisons)
    return {metric: Gains(none if at else comparisons) for at, metric in enumerate(metrics)}


def collection(rng: random.Random, queries: int) -> Collection:
    made = Collection({}, {}, {}, {})
    for number in range(1, queries + 1):
        query_id, subject = f"q{number}", rng.choice(SUBJECTS)
        pool = [f"notes/{number}-{at}.md" for at in rng.sample(range(POOL), POOL)]
        made.queries[query_id] = rng.choice(ASKED).format(subject)
        made.pools[query_id] = pool
        made.qrels[query_id] = {
            doc_id: 2 if at == 0 else int(at < RELEVANT) for at, doc_id in enumerate(pool[:JUDGED])
        }
        for at, doc_id in enumerate(pool):
            about = subject if at < RELEVANT else rng.choice(SUBJECTS)
            told = " ".join(line.format(about) for line in rng.sample(TOLD, 3))
            made.documents[doc_id] = ShownDocument(f"The {about}", told)
    return made


def opinions(rng: random.Random, made: Collection, strength: float) -> Run:
    """Return runs that rank relevant documents higher, the more so the greater `strength`."""
    return {
        query_id: ordered(
            (doc_id, strength * (made.qrels[query_id].get(doc_id, 0) > 0) + rng.gauss(0, 0.8))
            for doc_id in pool
        )
        for query_id, pool in made.pools.items()
    }


def reranked(retrieved: Run, opinion: Run, depth: int, blend: float) -> Run:
    run = Run()
    for query_id, found in retrieved.items():
        scores = dict(opinion[query_id])
        head = ((d, blend * score + (1 - blend) * scores[d]) for d, score in found[:depth])
        run[query_id] = ordered(head) + [(d, score - 100) for d, score in found[depth:]]
    return run


def ordered(hits: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(hits, key=lambda hit: -hit[1])


def values(run: Run, qrels: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, float]]:
    """Return METRICS for every query, computed from their definitions."""
    measured: dict[str, dict[str, float]] = {metric: {} for metric in METRICS}
    for query_id, judged in qrels.items():
        found = [judged.get(doc_id, 0) for doc_id, _ in run[query_id]]
        first = next((at for at, grade in enumerate(found[:10], 1) if grade), math.inf)
        measured["nDCG@10"][query_id] = dcg(found) / dcg(sorted(judged.values(), reverse=True))
        measured["RR@10"][query_id] = 1 / first
        measured["R@100"][query_id] = sum(grade > 0 for grade in found[:100]) / RELEVANT
    return measured


def dcg(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(at + 2) for at, grade in enumerate(grades[:10]))


def compared(one: Measured, baseline: Measured, rows: int) -> Comparison:
    """Return a plain bootstrap interval and a sign test's p, with Bonferroni correction."""
    metric = METRICS[0]
    pairs = zip(one.values[metric].values(), baseline.values[metric].values(), strict=True)
    differences = np.array([after - before for after, before in pairs])
    rng = np.random.default_rng(0)
    draws = rng.choice(differences, (1000, len(differences))).mean(axis=1)
    signs = rng.choice([-1, 1], (1000, len(differences)))
    chance = float((abs((signs * differences).mean(axis=1)) >= abs(differences.mean())).mean())
    low, high = np.percentile(draws, [2.5, 97.5])
    return Comparison(
        system=one.system,
        metric=metric,
        gain=float(differences.mean()),
        interval=(float(low), float(high)),
        p=min(1.0, chance * rows),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
        same=int((differences == 0).sum()),
        queries_needed=None,
    )
