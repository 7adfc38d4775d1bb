"""Duplicate passages: the best one represents all. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain

from ettin_cli.settings import NEAR, NONE, SAME

FOLDS = (SAME, NEAR, NONE)
SHINGLE_WORDS = 3
NEAR_SHARE = 0.8
_WORD = re.compile(r"\w+")
Shingle = tuple[str, ...]


def grouped(keys: Sequence[Hashable]) -> list[list[int]]:
    """Return the indices of equal keys grouped together, in order of first occurrence.

    >>> grouped(["a", "b", "a"])
    [[0, 2], [1]]
    """
    groups: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def leading(groups: Iterable[Sequence[str]]) -> list[int]:
    """Return for each group of documents with the same text the index of its representative.

    That is the first document, unless it already represents a better group. Then it is the first
    one that has not occurred yet, if any.

    >>> leading([["a"], ["a", "b"], ["a", "b"]])
    [0, 1, 0]
    """
    positions: list[int] = []
    leaders: set[str] = set()
    seen: set[str] = set()
    for doc_ids in groups:
        unseen = (place for place, doc_id in enumerate(doc_ids) if doc_id not in seen)
        positions.append(next(unseen, 0) if doc_ids[0] in leaders else 0)
        leaders.add(doc_ids[positions[-1]])
        seen.update(doc_ids)
    return positions


def nearly_grouped(texts: Sequence[str]) -> list[list[int]]:
    """Return groups of indices of texts that nearly equal the first text of their group.

    Nearly equal means a resemblance of at least 0.8: the share of three-word runs that two texts
    have in common (Broder, 1997).
    """
    groups: list[list[int]] = []
    sizes: list[int] = []
    holding: defaultdict[Shingle, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        shingles = _shingles(text)
        # The text is compared only with group leaders that share a run with it.
        shared = Counter(
            chain.from_iterable(holding[shingle] for shingle in shingles & holding.keys())
        )
        near = [
            group
            for group, both in shared.items()
            if both >= NEAR_SHARE * (len(shingles) + sizes[group] - both)
        ]
        if near:
            groups[min(near)].append(place)
            continue
        for shingle in shingles:
            holding[shingle].append(len(groups))
        groups.append([place])
        sizes.append(len(shingles))
    return groups


def _shingles(text: str) -> frozenset[Shingle]:
    words = _WORD.findall(text.casefold())
    size = min(SHINGLE_WORDS, len(words))
    return frozenset(tuple(words[at : at + size]) for at in range(len(words) - size + 1))
