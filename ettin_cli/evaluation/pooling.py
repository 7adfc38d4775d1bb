"""Pooling: the top documents of several systems, in an order independent of them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import islice

RankedIds = Mapping[str, Sequence[str]]


def pool(runs: Sequence[RankedIds], depth: int) -> dict[str, list[str]]:
    """Return the documents to judge for each query: the top `depth` of every system, each once.

    Their order depends on the ids alone, so it reveals no system's ranking, is reproducible, and
    is kept when a system is added. Queries are ordered by id.

    Pooling: Spärck Jones and van Rijsbergen, "Report on the need for and provision of an 'ideal'
    information retrieval test collection", 1975.

    Args:
        runs: For each system, query_id -> doc_ids, best first; a repeated id counts once.

    Raises:
        ValueError: `depth` is below 1.

    >>> pool([{"q": ["a", "b", "c"]}, {"q": ["d", "b"]}], depth=2)
    {'q': ['a', 'd', 'b']}
    """
    if depth < 1:
        raise ValueError(f"depth {depth} is below 1")
    pooled: dict[str, set[str]] = {}
    for run in runs:
        for query_id, doc_ids in run.items():
            pooled.setdefault(query_id, set()).update(islice(dict.fromkeys(doc_ids), depth))
    return {
        query_id: sorted(pooled[query_id], key=lambda doc_id: _lot(query_id, doc_id))
        for query_id in sorted(pooled)
    }


def _lot(query_id: str, doc_id: str) -> bytes:
    return hashlib.sha256(f"{query_id} {doc_id}".encode("utf-8", "surrogatepass")).digest()
