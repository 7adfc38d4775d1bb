"""Larger windows of queries, for rerankers that encode a text once for all queries of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from ettin_cli.records import Reranker
from ettin_cli.settings import CANDIDATES

T = TypeVar("T")

# As many texts as 64 queries have that share none: a window costs no more than it could without
# gathering, so an interruption loses no more either.
MOST_TEXTS = 64 * CANDIDATES
# Candidates of all queries: about 0.5 KB each besides the passages.
MOST_PAIRS = 1 << 17
# Of all queries; a token takes 1.5 KB in a model of 384 dimensions.
MOST_CHARACTERS = 1 << 17


class Wanted(NamedTuple):
    """What a query adds to a window.

    Args:
        query: The text of the query.
        texts: Keys of the texts to score, equal for equal texts.
    """

    query: str
    texts: Sequence[int]


def gathered(blocks: Iterable[Sequence[T]], wanted: Callable[[T], Wanted]) -> Iterator[Sequence[T]]:
    """Yield consecutive blocks of queries as one, up to 6,400 distinct texts.

    A larger block is yielded by itself. Pairs and the lengths of queries are limited too, since
    candidates and query vectors are held in memory.
    """
    window: list[T] = []
    texts: set[int] = set()
    pairs = characters = 0
    for block in blocks:
        added = [wanted(item) for item in block]
        own = {text for one in added for text in one.texts}
        more_pairs = sum(len(one.texts) for one in added)
        more_characters = sum(len(one.query) for one in added)
        if window and (
            len(texts | own) > MOST_TEXTS
            or pairs + more_pairs > MOST_PAIRS
            or characters + more_characters > MOST_CHARACTERS
        ):
            yield window
            window, texts, pairs, characters = [], set(), 0, 0
        window += block
        texts |= own
        pairs, characters = pairs + more_pairs, characters + more_characters
    if window:
        yield window


def encodes_apart(reranker: Reranker | None) -> bool:
    """Return whether a reranker encodes a text once for all queries of a call."""
    return reranker is not None and not reranker.card.reads_pairs
