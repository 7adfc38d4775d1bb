"""Measure an index's retrieval and reranking, or runs of other tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ettin_cli.errors import CorpusError
from ettin_cli.evaluation.comparing import correction, gains, recommended_blend, verdicts
from ettin_cli.evaluation.metrics import Metric, coverage, evaluate, ordered
from ettin_cli.evaluation.outcome import Outcome
from ettin_cli.evaluation.results import Evaluation, Gains, Measured, ShownDocument, System
from ettin_cli.evaluation.sweep import Sweep
from ettin_cli.files import read_run, without_spaces
from ettin_cli.index import Index
from ettin_cli.records import Qrels, Query
from ettin_cli.storage import Stream

SHOWN_DOCUMENTS = 5
SHOWN_CHARACTERS = 300


def judged_queries(
    queries: Sequence[Query], qrels: Qrels
) -> tuple[list[Query], dict[str, Mapping[str, int]], list[str]]:
    """Return the queries with judgements, those judgements, and notes on what was left out.

    Raises:
        CorpusError: No query has judgements.
    """
    named = [replace(query, query_id=without_spaces(query.query_id)) for query in queries]
    judged = [query for query in named if query.query_id in qrels]
    if not judged:
        raise CorpusError(
            f"none of the {len(queries):,} queries has judgements",
            code="not-judged",
            queries=len(queries),
        )
    kept = {query.query_id: qrels[query.query_id] for query in judged}
    notes = []
    if unjudged := len(named) - len(judged):
        notes.append(f"{unjudged:,} of {len(named):,} queries have no judgements and are skipped")
    if absent := len(qrels) - len(kept):
        notes.append(f"{absent:,} judged queries are not among the queries and are skipped")
    return judged, kept, notes


def evaluation_of(
    name: str,
    outcome: Outcome,
    queries: Sequence[Query],
    qrels: Qrels,
    sweep: Sweep,
    notes: Sequence[str],
) -> Evaluation:
    """Return the evaluation of a sweep's outcome, with comparisons and verdicts."""
    more = list(notes)
    if outcome.unindexed:
        more.append(f"{outcome.unindexed:,} judged documents are not in the index")
    if sweep.rerankers and (deeper := _deeper(sweep)):
        more.append(deeper)
    for reranker, truncated in outcome.truncated.items():
        if truncated:
            share = f"{truncated:,} of {outcome.scored[reranker]:,} texts"
            more.append(f"{share} truncated at the token limit of {reranker}")
    found = compared([outcome.baseline, *outcome.systems], sweep.metrics)
    main = found[str(sweep.metrics[0])]
    return Evaluation(
        name=name,
        metrics=list(found),
        queries={query.query_id: query.text for query in queries},
        qrels=qrels,
        baseline=outcome.baseline,
        systems=outcome.systems,
        gains=found,
        verdicts=[
            *conclusions(main, outcome.baseline),
            *(
                recommended_blend(system, means, str(sweep.metrics[0]))
                for system, means in outcome.blends.items()
            ),
        ],
        notes=more,
        retrievers=list(sweep.retrievers),
    )


def _deeper(sweep: Sweep) -> str | None:
    """Return a note on metrics whose cutoff exceeds the reranking depth, if any."""
    shallow = [depth for depth in sweep.candidates if depth < sweep.top_k]
    metrics = [
        str(metric)
        for metric in sweep.metrics
        if shallow and (metric.cutoff is None or metric.cutoff > shallow[0])
    ]
    if not metrics:
        return None
    depths = " or ".join(map(str, shallow))
    return f"{', '.join(metrics)}: systems with {depths} candidates rank only those"


def with_documents(evaluation: Evaluation, index: Index) -> Evaluation:
    """Return an evaluation with the documents that the report shows."""
    wanted = {
        doc_id
        for measured in evaluation.measured
        for ranking in measured.run.values()
        for doc_id, _ in islice(ranking, SHOWN_DOCUMENTS)
    }
    first: dict[str, int] = {}
    for row, doc_id in enumerate(map(without_spaces, index.doc_ids())):
        if doc_id in wanted:
            first.setdefault(doc_id, row)
    passages = [passage for passage, _ in index.passages.read(list(first.values()))]
    documents = {
        doc_id: ShownDocument(passage.title, passage.text[:SHOWN_CHARACTERS])
        for doc_id, passage in zip(first, passages, strict=True)
    }
    return replace(evaluation, documents=documents)


def measure_runs(
    paths: Sequence[Path | Stream],
    qrels: Qrels,
    metrics: Sequence[Metric],
    queries: Sequence[Query] = (),
) -> Evaluation:
    """Return the evaluation of runs of any tool, each compared with the first.

    Raises:
        CorpusError: A run cannot be read.
    """
    runs = {_named(path, paths): read_run(path) for path in paths}
    measured = [_measured(name, run, qrels, metrics) for name, run in runs.items()]
    baseline, *others = measured
    texts = {without_spaces(query.query_id): query.text for query in queries}
    found = compared(measured, metrics)
    main = found[str(metrics[0])]
    notes = [note for name, run in runs.items() for note in _notes(name, run, qrels)]
    return Evaluation(
        name=", ".join(runs),
        metrics=list(found),
        queries={query_id: texts.get(query_id, query_id) for query_id in qrels},
        qrels=qrels,
        baseline=baseline,
        systems=others,
        gains=found,
        verdicts=conclusions(main, baseline),
        notes=notes,
    )


def compared(measured: Sequence[Measured], metrics: Sequence[Metric]) -> dict[str, Gains]:
    """Return how the systems compare by each metric, the first of them being the baseline."""
    return {str(metric): gains(measured, str(metric)) for metric in metrics}


def conclusions(gains: Gains, baseline: Measured) -> list[str]:
    """Return what the comparisons say, as sentences."""
    return [*verdicts(gains, baseline.system.name), *filter(None, [correction(gains)])]


def _named(path: Path | Stream, paths: Sequence[Path | Stream]) -> str:
    """Return a run's name: its file name, or its full path if two are equal."""
    names = [str(other) if isinstance(other, Stream) else other.name for other in paths]
    name = names[list(paths).index(path)]
    return name if names.count(name) == 1 else str(path)


def _measured(
    name: str, run: Mapping[str, Mapping[str, float]], qrels: Qrels, metrics: Sequence[Metric]
) -> Measured:
    values = {str(metric): by_query for metric, by_query in evaluate(run, qrels, metrics).items()}
    ranked = {query_id: ranking(run.get(query_id, {})) for query_id in qrels}
    return Measured(System(run=name), values, ranked)


def ranking(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return one query's documents with their scores, in trec_eval's order."""
    return [(doc_id, scores[doc_id]) for doc_id in ordered(scores)]


def _notes(name: str, run: Mapping[str, Mapping[str, float]], qrels: Qrels) -> Iterator[str]:
    met = coverage(run, qrels)
    if met.missing:
        yield f"{met.missing:,} judged queries are not in {name} and count as 0"
    if met.unjudged:
        yield f"{met.unjudged:,} queries of {name} have no judgements and are skipped"
