"""A run and judgements -> the value of each metric for each query. Pure Python.

Metrics have the names and parameters of ir_measures (MacAvaney et al. 2022), and the values and
tie order of trec_eval.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.records import Qrels, Run

# `nDCG@10`, and as trec_eval writes it: ndcg_cut_10 or ndcg_cut.10.
_FORM = re.compile(
    r"([a-z]+(?:_[a-z]+)*?)(?:\(rel=([0-9]{1,9})\))?(?:(?:@|(?:_cut)?[_.])([0-9]{1,9}))?",
    re.IGNORECASE,
)
# Names of other tools, in lower case.
ALIASES = {
    "ndcg": "nDCG",
    **dict.fromkeys(("rr", "mrr", "recip_rank", "mean_reciprocal_rank"), "RR"),
    **dict.fromkeys(("ap", "map", "mean_average_precision"), "AP"),
    **dict.fromkeys(("p", "precision"), "P"),
    **dict.fromkeys(("r", "recall"), "R"),
    **dict.fromkeys(("success", "hit", "hits", "hitrate", "hit_rate"), "Success"),
    "judged": "Judged",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with its parameters, as in `P(rel=2)@10`.

    Args:
        name: One of KINDS.
        cutoff: Rank down to which documents count; None: all.
        rel: Minimum relevance at which a document counts as relevant.

    Raises:
        InvalidArgumentError: The metric is unknown, or does not take these parameters.
    """

    name: str
    cutoff: int | None = None
    rel: int = 1

    def __post_init__(self) -> None:
        kind = KINDS.get(self.name)
        if kind is None:
            raise InvalidArgumentError(
                f"unknown metric {str(self)!r}", argument="metric", known=KNOWN
            )
        if self.cutoff is None and kind.needs_cutoff:
            raise InvalidArgumentError(
                f"metric {str(self)!r} needs a cutoff @k", argument="metric", known=KNOWN
            )
        if self.cutoff == 0 or self.rel < 1 or (self.rel != 1 and not kind.takes_rel):
            raise InvalidArgumentError(
                f"metric {str(self)!r} does not take this parameter", argument="metric", known=KNOWN
            )

    @classmethod
    def parse(cls, text: str) -> Metric:
        """Return the metric with this name, in any case, or an alias of other tools.

        Raises:
            InvalidArgumentError: The metric is unknown.

        >>> Metric.parse("P(rel=2)@10")
        Metric(name='P', cutoff=10, rel=2)
        >>> [str(Metric.parse(name)) for name in ("MRR@10", "ndcg_cut_10", "recall.100", "map")]
        ['RR@10', 'nDCG@10', 'R@100', 'AP']
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidArgumentError(f"unknown metric {text!r}", argument="metric", known=KNOWN)
        name, rel, cutoff = match.groups()
        return cls(ALIASES.get(name.lower(), name), int(cutoff) if cutoff else None, int(rel or 1))

    def __str__(self) -> str:
        rel = "" if self.rel == 1 else f"(rel={self.rel})"
        return f"{self.name}{rel}" + ("" if self.cutoff is None else f"@{self.cutoff}")


def parse_metrics(text: str) -> list[Metric]:
    """Return the metrics of a comma-separated list, each once.

    Raises:
        InvalidArgumentError: Some are unknown; the message lists them.
    """
    metrics, bad = [], []
    for name in map(str.strip, text.split(",")):
        try:
            metrics.append(Metric.parse(name))
        except InvalidArgumentError:
            bad.append(repr(name))
    if bad:
        raise InvalidArgumentError(
            f"unknown metric {', '.join(bad)}", argument="metric", known=KNOWN
        )
    return list(dict.fromkeys(metrics))


def evaluate(run: Run, qrels: Qrels, metrics: Iterable[Metric]) -> dict[Metric, dict[str, float]]:
    """Return each metric's value for each judged query, in the order of the judgements.

    A judged query that is missing from the run counts as 0, as does one without a relevant
    document. Queries of the run without judgements are left out.

    Raises:
        ValueError: A score is NaN.

    >>> evaluate({"q": {"a": 0.9, "b": 0.5}}, {"q": {"b": 1}}, [Metric("RR")])
    {Metric(name='RR', cutoff=None, rel=1): {'q': 0.5}}
    """
    values: dict[Metric, dict[str, float]] = {metric: {} for metric in metrics}
    for query_id, judged in qrels.items():
        grades = [judged.get(doc_id) for doc_id in ordered(run.get(query_id, {}))]
        levels = list(judged.values())
        for metric in values:
            measure = KINDS[metric.name].measure
            values[metric][query_id] = measure(grades[: metric.cutoff], levels, metric)
    return values


def ordered(scores: Mapping[str, float]) -> list[str]:
    """Return the documents of one query in trec_eval's order, best first.

    Scores are compared as float32, and ties are ordered by descending doc_id.

    Raises:
        ValueError: A score is NaN.

    >>> ordered({"a": 0.5, "b": 0.5 + 1e-12, "c": 0.1, "d": 0.9})
    ['d', 'b', 'a', 'c']
    """
    if any(map(math.isnan, scores.values())):
        raise ValueError("a score is NaN")
    ranking = sorted(zip(array("f", scores.values()), scores, strict=True), reverse=True)
    return [doc_id for _, doc_id in ranking]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The overlap between the queries of a run and of judgements.

    Args:
        measured: Queries in both.
        missing: Judged queries missing from the run; each counts as 0.
        unjudged: Queries of the run without judgements; left out.
    """

    measured: int
    missing: int
    unjudged: int


def coverage(run: Run, qrels: Qrels) -> Coverage:
    """Return how many queries `evaluate` measures, counts as 0, and leaves out."""
    measured = len(run.keys() & qrels.keys())
    return Coverage(measured, len(qrels) - measured, len(run) - measured)


# The relevance of each retrieved document, best first, down to the cutoff; None: not judged.
Grades = Sequence[int | None]


def _ndcg(grades: Grades, levels: Sequence[int], metric: Metric) -> float:
    """Discounted cumulative gain, normalised by the best possible.

    The gain is the relevance itself and the discount log2(rank + 1), as in trec_eval; other tools
    use the gain 2^relevance - 1. Järvelin and Kekäläinen 2002, ACM TOIS 20(4).
    """
    best = _dcg(sorted(levels, reverse=True)[: metric.cutoff])
    return _dcg(grades) / best if best else 0.0


def _dcg(grades: Grades) -> float:
    gains = ((rank, gain) for rank, gain in enumerate(grades, start=1) if gain and gain > 0)
    return sum(gain / math.log2(rank + 1) for rank, gain in gains)


def _reciprocal_rank(grades: Grades, _levels: Sequence[int], metric: Metric) -> float:
    """1 / rank of the first relevant document. Voorhees 1999, TREC-8 question answering."""
    return next((1 / rank for rank in _relevant_ranks(grades, metric)), 0.0)


def _average_precision(grades: Grades, levels: Sequence[int], metric: Metric) -> float:
    """Precision at the rank of each relevant document, averaged over all relevant documents.

    One that is not retrieved counts as 0. Harman 1992, Information Processing and Management 28(4).
    """
    ranks = _relevant_ranks(grades, metric)
    return _share(sum(count / rank for count, rank in enumerate(ranks, start=1)), levels, metric)


def _precision(grades: Grades, _levels: Sequence[int], metric: Metric) -> float:
    """Share of the top k that is relevant; missing documents count as not relevant.

    Van Rijsbergen 1979, Information Retrieval; recall likewise.
    """
    return len(_relevant_ranks(grades, metric)) / (metric.cutoff or 1)


def _recall(grades: Grades, levels: Sequence[int], metric: Metric) -> float:
    """Share of all relevant documents that is in the top k."""
    return _share(len(_relevant_ranks(grades, metric)), levels, metric)


def _success(grades: Grades, _levels: Sequence[int], metric: Metric) -> float:
    """1 if a relevant document is in the top k, else 0."""
    return 1.0 if _relevant_ranks(grades, metric) else 0.0


def _judged(grades: Grades, _levels: Sequence[int], _metric: Metric) -> float:
    """Share of the top k, or of all documents retrieved if fewer, that is judged."""
    return sum(relevance is not None for relevance in grades) / len(grades) if grades else 0.0


def _relevant_ranks(grades: Grades, metric: Metric) -> list[int]:
    ranked = enumerate(grades, start=1)
    return [rank for rank, level in ranked if level is not None and level >= metric.rel]


def _share(value: float, levels: Sequence[int], metric: Metric) -> float:
    """Return a value divided by the number of relevant documents; 0 if there are none."""
    relevant = sum(level >= metric.rel for level in levels)
    return value / relevant if relevant else 0.0


@dataclass(frozen=True, slots=True)
class Kind:
    """The properties shared by all metrics of one name."""

    measure: Callable[[Grades, Sequence[int], Metric], float]
    needs_cutoff: bool = False
    takes_rel: bool = True


KINDS = {
    "nDCG": Kind(_ndcg, takes_rel=False),
    "RR": Kind(_reciprocal_rank),
    "AP": Kind(_average_precision),
    "P": Kind(_precision, needs_cutoff=True),
    "R": Kind(_recall, needs_cutoff=True),
    "Success": Kind(_success, needs_cutoff=True),
    "Judged": Kind(_judged, needs_cutoff=True, takes_rel=False),
}
KNOWN = (
    "known metrics: nDCG, RR and AP, with or without @k; P@k, R@k, Success@k and Judged@k; "
    "all but nDCG and Judged take a minimum relevance, as in P(rel=2)@10; "
    "MRR, MAP, Recall@k and the names of trec_eval, as ndcg_cut_10, mean the same"
)
