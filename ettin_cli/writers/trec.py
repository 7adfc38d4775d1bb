"""TREC runs, whose order survives trec_eval."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from ettin_cli.records import Answer
from ettin_cli.trec import without_spaces
from ettin_cli.writers.writer import Layout, TextWriter


class TrecRun(TextWriter):
    """A line a document: query, Q0, document, rank, score, tag."""

    name = "trec"
    suffixes = (".trec",)
    is_run = True

    def answer(self, answer: Answer, layout: Layout, *, first: bool) -> bytes:
        """Return lines whose scores strictly decrease in float32, those of duplicates among them.

        trec_eval reads scores as float32 and orders equal ones by document id, so ties would be
        measured in another order than the one shown.
        """
        query_id = without_spaces(answer.query.query_id)
        best: dict[str, float] = {}
        for hit in answer.hits:
            for passage in (hit.passage, *hit.duplicates.values()):
                best.setdefault(passage.doc_id, hit.score)
        scores = decreasing(best.values())
        lines = [
            f"{query_id} Q0 {without_spaces(doc_id)} {rank} {score:.9g} {layout.tag}\n"
            for rank, (doc_id, score) in enumerate(zip(best, scores, strict=True), start=1)
        ]
        return "".join(lines).encode("utf-8", "surrogatepass")


def decreasing(scores: Iterable[float]) -> Iterator[float]:
    """Yield scores that strictly decrease in float32, each the nearest to what it was.

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
