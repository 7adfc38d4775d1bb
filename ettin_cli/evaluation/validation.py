"""A validation score for a reranker in training, cheap enough to compute repeatedly."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ettin_cli.evaluation.measuring import judged_queries
from ettin_cli.evaluation.metrics import parse_metrics
from ettin_cli.evaluation.outcome import Outcome
from ettin_cli.evaluation.sweep import Sweep, run_sweep
from ettin_cli.index import Index
from ettin_cli.records import Qrels, Query, Silence, TimedReranker
from ettin_cli.searching import Retriever

METRIC = "nDCG@10"
MOST_QUERIES = 100
CANDIDATES = 30


class Validation:
    """Mean nDCG@10 of reranking an index's candidates for a sample of judged queries.

    A relevant document that is not retrieved counts as missed.

    Args:
        queries: Sampled at a fixed step if more than 100 are judged.
        ignores_own: Whether the document with a query's own id is no hit.

    Raises:
        CorpusError: No query has judgements.
    """

    def __init__(
        self,
        index: Index,
        retriever: Retriever,
        queries: Sequence[Query],
        qrels: Qrels,
        *,
        ignores_own: bool = False,
    ) -> None:
        judged, kept, _ = judged_queries(queries, qrels)
        step = -(-len(judged) // MOST_QUERIES)
        self.index, self.retriever, self.ignores_own = index, retriever, ignores_own
        self.queries = judged[::step]
        self.qrels = {query.query_id: kept[query.query_id] for query in self.queries}
        of = f"{len(self.queries):,} of {len(judged):,} judged queries"
        each = f"the best {CANDIDATES} candidates of {retriever.name} retrieval each"
        self.description = f"{METRIC} over {of}, {each}"
        self.retrieval = _mean(self._swept({}).baseline.values[METRIC].values())

    def of(self, reranker: TimedReranker) -> float:
        """Return the mean metric of a reranker."""
        [system] = self._swept({reranker.card.name: reranker}).systems
        return _mean(system.values[METRIC].values())

    def _swept(self, rerankers: dict[str, TimedReranker]) -> Outcome:
        retrievers = {self.retriever.name: self.retriever}
        sweep = Sweep(
            retrievers,
            rerankers,
            [CANDIDATES],
            [0.0],
            parse_metrics(METRIC),
            ignores_own=self.ignores_own,
        )
        return run_sweep(self.index, self.queries, self.qrels, sweep, Silence())


def _mean(values: Collection[float]) -> float:
    return sum(values) / len(values)
