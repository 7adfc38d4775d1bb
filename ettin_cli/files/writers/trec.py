"""TREC runs whose order trec_eval preserves."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from ettin_cli.files.trec import without_spaces
from ettin_cli.files.writers.writer import Layout, TextWriter
from ettin_cli.records import Answer, Hit


class TrecRun(TextWriter):
    """A line per document: query, Q0, document, rank, score, tag."""

    name = "trec"
    suffixes = (".trec",)
    is_run = True

    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return the lines of an answer, with the documents of duplicate passages."""
        query_id = without_spaces(answer.query.query_id)
        return b"".join(trec_lines(query_id, trec_ranking(answer.hits), layout.tag))


def trec_ranking(hits: Iterable[Hit]) -> list[tuple[str, float]]:
    """Return the documents of a run with their scores, including those of duplicate passages.

    Scores strictly decrease in float32: trec_eval reads them as float32 and orders ties by
    document id, so ties would be evaluated in another order than the one shown.
    """
    best = best_scores(hits)
    return list(zip(best, decreasing(best.values()), strict=True))


def best_scores(hits: Iterable[Hit]) -> dict[str, float]:
    """Return the best score of each document, including those of duplicate passages."""
    best: dict[str, float] = {}
    for hit in hits:
        for passage in (hit.passage, *hit.duplicates.values()):
            best.setdefault(without_spaces(passage.doc_id), hit.score)
    return best


def trec_lines(query_id: str, ranking: Iterable[tuple[str, float]], tag: str) -> Iterator[bytes]:
    """Yield the lines of a TREC run for one query."""
    for rank, (doc_id, score) in enumerate(ranking, start=1):
        line = f"{query_id} Q0 {doc_id} {rank} {score:.9g} {tag}\n"
        yield line.encode("utf-8", "surrogatepass")


def decreasing(scores: Iterable[float]) -> Iterator[float]:
    """Yield strictly decreasing float32 scores, each as near as possible to the original.

    >>> list(decreasing([1.0, 1.0, 0.5]))
    [1.0, 0.9999999403953552, 0.5]
    """
    ceiling = float("inf")
    for score in scores:
        nearest = min(_float32(score), ceiling)
        ceiling = _next_below(nearest)
        yield nearest


def _float32(value: float) -> float:
    nearest: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return nearest


def _next_below(value: float) -> float:
    """Return the next float32 below a float32."""
    if value == 0:
        return -(2.0**-149)
    bits = struct.unpack("<i", struct.pack("<f", value))[0]
    below: float = struct.unpack("<f", struct.pack("<i", bits - 1 if value > 0 else bits + 1))[0]
    return below


TREC = TrecRun()
