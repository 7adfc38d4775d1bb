"""A validation score of collections that come with candidates, such as NanoBEIR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ettin_cli.collections import OpenCollection
from ettin_cli.errors import CorpusError
from ettin_cli.evaluation.given_candidates import DEPTH
from ettin_cli.evaluation.measuring import judged_queries
from ettin_cli.evaluation.metrics import evaluate, parse_metrics
from ettin_cli.evaluation.validation import METRIC
from ettin_cli.records import TimedReranker


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query with the texts of its candidates, and which of them are relevant."""

    query: str
    texts: Sequence[str]
    relevant: Sequence[bool]


class GivenValidation:
    """Mean nDCG@10 of reranking the candidates that collections come with: the mean of their means.

    Only the candidates are reranked, and the best possible order is that of the candidates. A query
    of which none is relevant counts as 0. The value is that of sentence-transformers' evaluator of
    NanoBEIR with `always_rerank_positives=False`, which chose the weights of the Ettin release.

    Args:
        name: Of all the collections together.

    Raises:
        CorpusError: A collection cannot be had, or lacks candidates or documents.
    """

    def __init__(self, name: str, collections: Sequence[OpenCollection]) -> None:
        self.collections = [_asked(one) for one in collections]
        queries = sum(map(len, self.collections))
        self.description = (
            f"{METRIC} of {name}, the mean of {len(collections)} sets with {queries:,} queries, "
            f"the best {DEPTH} candidates that they come with"
        )
        self.retrieval = self._mean([_descending(asked) for asked in self.collections])

    def of(self, reranker: TimedReranker) -> float:
        """Return the mean metric of a reranker."""
        return self._mean([_scores(asked, reranker) for asked in self.collections])

    def _mean(self, scores: Sequence[Sequence[Sequence[float]]]) -> float:
        [metric] = parse_metrics(METRIC)
        means = []
        for asked, found in zip(self.collections, scores, strict=True):
            run = {
                str(at): {str(place): score for place, score in enumerate(of_query)}
                for at, of_query in enumerate(found)
            }
            qrels = {
                str(at): {str(place): int(relevant) for place, relevant in enumerate(one.relevant)}
                for at, one in enumerate(asked)
            }
            values = evaluate(run, qrels, [metric])[metric].values()
            means.append(sum(values) / len(values))
        return sum(means) / len(means)


def _asked(one: OpenCollection) -> list[_Asked]:
    """Return the judged queries of a collection with their candidates."""
    judged, qrels, _ = judged_queries(one.queries, one.qrels)
    given = one.candidates()
    found = []
    for query in judged:
        relevant = {doc_id for doc_id, grade in qrels[query.query_id].items() if grade > 0}
        ranked = given.ranked.get(query.query_id, ())[:DEPTH]
        for doc_id in (*relevant, *ranked):
            if doc_id not in given.texts:
                raise CorpusError(f"document {doc_id} is not in the corpus of {one.name}")
        sought = {given.texts[doc_id] for doc_id in relevant}
        texts = [given.texts[doc_id] for doc_id in ranked]
        found.append(_Asked(query.text, texts, [text in sought for text in texts]))
    return found


def _descending(asked: Sequence[_Asked]) -> list[list[float]]:
    return [[float(-place) for place in range(len(one.texts))] for one in asked]


def _scores(asked: Sequence[_Asked], reranker: TimedReranker) -> list[list[float]]:
    """Return the scores of each query's candidates; zeros if none is relevant."""
    counted = [one for one in asked if any(one.relevant)]
    pairs = [(one.query, text) for one in counted for text in one.texts]
    scores = iter(reranker.timed(pairs)[0].values.tolist() if pairs else ())
    return [[next(scores) if any(one.relevant) else 0.0 for _ in one.texts] for one in asked]
