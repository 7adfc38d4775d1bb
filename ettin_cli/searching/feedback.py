"""Pseudo-relevance feedback: expand a query with the top passages. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ettin_cli.models import unit

if TYPE_CHECKING:
    from ettin_cli.index import Stored
    from ettin_cli.records import Floats

PASSAGES = 10
TERMS = 20
# Weight of the original query against the feedback passages.
OWN_SHARE = 0.5


def expanded_vector(query: Floats, vectors: Stored) -> Floats:
    """Return a query vector moved halfway to the mean of its top passages (Rocchio, 1971).

    Args:
        query: A unit vector.
        vectors: Unit vectors, one per passage; without any the query is returned unchanged.
    """
    import numpy as np

    if not len(vectors):
        return query
    return unit(OWN_SHARE * query + (1 - OWN_SHARE) * vectors.astype(np.float32).mean(axis=0))


def expanded_terms(
    query: Mapping[str, float], passages: Sequence[Sequence[str]], scores: Sequence[float]
) -> dict[str, float]:
    """Return weighted query terms, expanded with the most likely terms of the passages (RM3).

    This is the relevance model of Lavrenko and Croft (2001), interpolated with the query as in
    Abdul-Jaleel et al. (2004).

    Args:
        passages: The terms of each passage, without stop words.
        scores: The score of each passage, 0 or more.
    """
    likely: defaultdict[str, float] = defaultdict(float)
    for terms, score in zip(passages, scores, strict=True):
        for term, times in Counter(terms).items():
            likely[term] += times / len(terms) * score
    best = dict(sorted(likely.items(), key=lambda entry: (-entry[1], entry[0]))[:TERMS])
    own = OWN_SHARE if best and sum(best.values()) else 1.0
    mixed = {term: own * times / sum(query.values()) for term, times in query.items()}
    for term, weight in best.items():
        mixed[term] = mixed.get(term, 0.0) + (1 - own) * weight / max(sum(best.values()), 1e-12)
    return mixed
