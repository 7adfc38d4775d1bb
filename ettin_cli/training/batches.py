"""The order of training examples, determined by the seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ettin_cli.errors import CorpusError
from ettin_cli.models.engines import TokenIds
from ettin_cli.training.rows import ROWS, Example
from ettin_cli.training.windows import TrainingData

# Number of steps whose rows are shuffled together and then grouped by length.
WINDOW = 16

Tokenize = Callable[[Sequence[tuple[str, str]]], tuple[Sequence[TokenIds], list[bool]]]


@dataclass(frozen=True, slots=True)
class Read:
    """A tokenized example.

    Args:
        tokens: The tokens of each text, together with the query.
        cut: The number of truncated texts.
    """

    example: Example
    tokens: Sequence[TokenIds]
    cut: int

    @property
    def longest(self) -> int:
        """The number of tokens of the longest text."""
        return max(len(tokens.ids) for tokens in self.tokens)


class Step(list[Read]):
    """The examples of a step.

    Attributes:
        rejected: Rows of its window that hold no example; counted in the first step of each.
    """

    rejected: int = 0


def steps(
    data: TrainingData, read: Tokenize, rows: int, seed: int, epoch: int, begin: int = 0
) -> Iterator[Step]:
    """Yield the examples of each step of an epoch, starting at step `begin`.

    The epoch is cut into windows of WINDOW steps. The rows of a window are grouped by length into
    steps, whose order is shuffled again. Rows that hold no example make steps smaller, not fewer.

    Args:
        rows: Examples per step; the last step of an epoch may have fewer.

    Raises:
        CorpusError: Rows cannot be read, or a window has fewer examples than steps.
    """
    import numpy as np

    size = rows * WINDOW
    first = begin // WINDOW
    for number in range(first, -(-len(data) // size)):
        held = data.window(number, size, seed, epoch)
        due = min(size, len(data) - number * size)
        count = -(-due // rows)
        if len(held.examples) < count:
            raise CorpusError(
                f"of {due:,} rows in a row, {held.rejected:,} hold no example; the first is "
                f"{held.reason}",
                code="invalid-examples",
                expected=ROWS,
            )
        window = sorted(_read(held.examples, read), key=lambda item: item.longest)
        ends = [min(at * rows, due) * len(window) // due for at in range(count + 1)]
        parts = [Step(window[at:end]) for at, end in pairwise(ends)]
        shuffled = np.random.default_rng([seed, epoch, number]).permutation(count)
        parts[shuffled[0]].rejected = held.rejected
        done = begin - first * WINDOW if number == first else 0
        yield from (parts[at] for at in shuffled[done:])


def _read(examples: Sequence[Example], read: Tokenize) -> list[Read]:
    tokens, cut = read([(example.query, text) for example in examples for text in example.texts])
    tokenized, begin = [], 0
    for example in examples:
        part = slice(begin, begin + len(example.texts))
        tokenized.append(Read(example, tokens[part], sum(cut[part])))
        begin += len(example.texts)
    return tokenized


def bounded(step: Sequence[Read], tokens: int) -> Iterator[list[Read]]:
    """Yield a step's examples in batches of at most `tokens` padded tokens, longest first.

    An example is never split, even if it exceeds the limit.
    """
    batch: list[Read] = []
    texts = 0
    for item in sorted(step, key=lambda item: -item.longest):
        longest = batch[0].longest if batch else item.longest
        if batch and longest * (texts + len(item.tokens)) > tokens:
            yield batch
            batch, texts = [], 0
        batch.append(item)
        texts += len(item.tokens)
    if batch:
        yield batch
