"""Batches bounded by tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], tokens: int, rows: int | None) -> Iterator[list[int]]:
    """Yield groups of positions, longest texts first, to minimise padding.

    Args:
        lengths: Tokens of each text.
        tokens: Maximum tokens in a batch, padding included; a single text may exceed it.
        rows: Maximum texts in a batch; None: no limit.

    >>> list(batches([5, 9, 5], tokens=10, rows=None))
    [[1], [0, 2]]
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        longest = lengths[batch[0]] if batch else 0
        if batch and (longest * (len(batch) + 1) > tokens or len(batch) == rows):
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
