"""Passages that say the same: the best of them stands for all. Pure."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

SAME = "same"
NEAR = "near"
NONE = "none"
FOLDS = (SAME, NEAR, NONE)
SHINGLE_WORDS = 3
NEAR_SHARE = 0.8
_WORD = re.compile(r"\w+")


def grouped(keys: Sequence[Hashable]) -> list[list[int]]:
    """Return the places of equal keys together, in the order in which each first comes.

    >>> grouped(["a", "b", "a"])
    [[0, 2], [1]]
    """
    groups: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def nearly_grouped(texts: Sequence[str]) -> list[list[int]]:
    """Return the places of texts together that are nearly the same as the first of them.

    Nearly means a resemblance of at least 0.8: the share of their runs of three words that both
    have (Broder, 1997).
    """
    groups: list[list[int]] = []
    firsts: list[frozenset[tuple[str, ...]]] = []
    for place, text in enumerate(texts):
        shingles = _shingles(text)
        for group, first in zip(groups, firsts, strict=True):
            if _resemble(shingles, first):
                group.append(place)
                break
        else:
            groups.append([place])
            firsts.append(shingles)
    return groups


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    size = min(SHINGLE_WORDS, len(words))
    return frozenset(tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def _resemble(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> bool:
    if min(len(one), len(other)) < NEAR_SHARE * max(len(one), len(other)):
        return False
    return len(one & other) >= NEAR_SHARE * len(one | other)
