"""Rerank the candidates that a collection comes with, without an index.

The documents reranked and the values are those of sentence-transformers' evaluators of rerankers:
a query's candidates together with all of its relevant documents, so that a perfect reranker has 1.
A copy of a relevant document is not reranked, and counts as relevant in the given order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ettin_cli.collections import GivenCandidates
from ettin_cli.errors import CorpusError
from ettin_cli.evaluation.evaluator import EvaluationRequest
from ettin_cli.evaluation.measuring import compared, conclusions, judged_queries
from ettin_cli.evaluation.metrics import Metric, evaluate
from ettin_cli.evaluation.results import Evaluation, Measured, System
from ettin_cli.evaluation.scored_once import Meter, ScoredOnce
from ettin_cli.files.writers import trec_ranking
from ettin_cli.records import Candidate, Passage, Qrels, Query
from ettin_cli.searching import (
    Models,
    RerankerCascade,
    SearchOptions,
    Step,
    rank,
    rerank_candidates,
    work,
)
from ettin_cli.settings import NONE, PASSAGE

GIVEN = "given"
GIVEN_METRICS = "nDCG@10,RR@10,AP"
DEPTH = 100
Run = dict[str, list[tuple[str, float]]]
NOTE = (
    f"reranked are the collection's own {DEPTH} candidates of a query and all of its relevant "
    "documents, as in sentence-transformers"
)


def measure_given(
    name: str,
    queries: Sequence[Query],
    qrels: Qrels,
    given: GivenCandidates,
    request: EvaluationRequest,
    models: Models,
    remarks: Sequence[str] = (),
) -> Evaluation:
    """Return how rerankers order a collection's own candidates, compared with their given order.

    Args:
        name: The title of the evaluation.
        request: Its rerankers, metrics and `long`; the rest is of retrieval.
        remarks: Notes to begin with.

    Raises:
        CorpusError: No query has judgements, or a document or a query's candidates are missing.
    """
    judged, kept, notes = judged_queries(queries, qrels)
    relevant = {
        query_id: [doc_id for doc_id, relevance in of_query.items() if relevance > 0]
        for query_id, of_query in kept.items()
    }
    ranked = {query.query_id: _ranked(query, given) for query in judged}
    _require_texts(relevant, ranked, given)
    runs: dict[System, Run] = {}
    seconds: dict[System, float] = {}
    candidates = [
        _candidates(relevant[query.query_id], ranked[query.query_id], given) for query in judged
    ]
    for label, cascade in request.rerankers.items():
        system, meter = System(label, retriever=GIVEN), Meter()
        runs[system] = _reranked(label, judged, candidates, cascade, request.long, models, meter)
        seconds[system] = meter.seconds / len(judged)
        if meter.truncated:
            share = f"{meter.truncated:,} of {meter.pairs:,} texts"
            notes.append(f"{share} truncated at the token limit of {label}")
    measured = [
        _given_order(ranked, relevant, given, request.metrics),
        *(
            _measured(system, run, kept, request.metrics, seconds[system])
            for system, run in runs.items()
        ),
    ]
    gains = compared(measured, request.metrics)
    main = gains[str(request.metrics[0])]
    return Evaluation(
        name=name,
        metrics=list(gains),
        queries={query.query_id: query.text for query in judged},
        qrels=kept,
        baseline=measured[0],
        systems=measured[1:],
        gains=gains,
        verdicts=conclusions(main, measured[0]),
        notes=[*remarks, NOTE, *notes],
        retrievers=[GIVEN],
    )


def _ranked(query: Query, given: GivenCandidates) -> Sequence[str]:
    if query.query_id not in given.ranked:
        raise CorpusError(f"query {query.query_id} has no candidates in the collection")
    return given.ranked[query.query_id][:DEPTH]


def _require_texts(
    relevant: Mapping[str, Sequence[str]],
    ranked: Mapping[str, Sequence[str]],
    given: GivenCandidates,
) -> None:
    for doc_ids in (*relevant.values(), *ranked.values()):
        for doc_id in doc_ids:
            if doc_id not in given.texts:
                raise CorpusError(f"document {doc_id} is not in the corpus of the collection")


def _given_order(
    ranked: Mapping[str, Sequence[str]],
    relevant: Mapping[str, Sequence[str]],
    given: GivenCandidates,
    metrics: Sequence[Metric],
) -> Measured:
    """Return the values of the given order, followed by the relevant documents that it lacks.

    These are left out if it has none at all.
    """
    run: Run = {}
    qrels: dict[str, dict[str, int]] = {}
    for query_id, doc_ids in ranked.items():
        sought = relevant[query_id]
        texts = {given.texts[doc_id] for doc_id in sought}
        found = [doc_id for doc_id in doc_ids if given.texts[doc_id] in texts]
        missed = [doc_id for doc_id in sought if doc_id not in found]
        missed = missed[: max(0, len(sought) - len(found))] if found else []
        every = dict.fromkeys([*doc_ids, *missed])
        run[query_id] = [(doc_id, float(-rank)) for rank, doc_id in enumerate(every)]
        qrels[query_id] = dict.fromkeys([*found, *missed] or sought, 1)
    return _measured(System(retriever=GIVEN), run, qrels, metrics, None)


def _candidates(
    relevant: Sequence[str], ranked: Sequence[str], given: GivenCandidates
) -> list[Candidate]:
    """Return the relevant documents, then the candidates with the text of none of them."""
    texts = {given.texts[doc_id] for doc_id in relevant}
    others = [doc_id for doc_id in dict.fromkeys(ranked) if given.texts[doc_id] not in texts]
    return [
        Candidate(at, Passage(doc_id, given.texts[doc_id]), None)
        for at, doc_id in enumerate([*relevant, *others])
    ]


def _reranked(
    label: str,
    queries: Sequence[Query],
    candidates: Sequence[Sequence[Candidate]],
    cascade: RerankerCascade,
    long: str,
    models: Models,
    meter: Meter,
) -> Run:
    before = [
        Step(ScoredOnce(models.cached_reranker(one, long), meter), keep)
        for one, keep in cascade.before
    ]
    last = ScoredOnce(models.cached_reranker(cascade.last, long), meter)
    most = max(map(len, candidates))
    options = SearchOptions(top_k=most, candidates=most, by=PASSAGE, blend=0.0, fold=NONE)
    total = work(map(len, candidates), before)
    with models.reporter.track(f"reranking with {label}", total, "pairs") as advance:
        scored = rerank_candidates(queries, candidates, before, last, options, advance)
    return {
        query.query_id: trec_ranking(rank(left.candidates, scores, options, left.ranks))
        for query, (left, scores) in zip(queries, scored, strict=True)
    }


def _measured(
    system: System,
    run: Run,
    qrels: Qrels,
    metrics: Sequence[Metric],
    seconds: float | None,
) -> Measured:
    values = evaluate({i: dict(ranking) for i, ranking in run.items()}, qrels, metrics)
    named = {str(metric): by_query for metric, by_query in values.items()}
    return Measured(system, named, run, seconds)
