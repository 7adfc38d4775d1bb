"""What is trained on, as the loop sees it: windows of examples in the order of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ettin_cli.training.rows import Example

if TYPE_CHECKING:
    from ettin_cli.training.examples import DataFile
    from ettin_cli.training.teacher import Spread


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive examples of a shuffled epoch.

    Args:
        rejected: Rows in their place that hold no example. If there are examples, these rows have
            been reported.
        reason: The first of these rows, and why it holds none.
    """

    examples: Sequence[Example]
    rejected: int = 0
    reason: str = ""


def keep_waiting() -> None:
    """Raise nothing."""


class TrainingData(Protocol):
    """Examples in an order that depends only on the seed and the epoch.

    Attributes:
        files: What the examples come from, for the model card.
        datasets: The dataset repositories among these.
        rejected: Rows that were found to hold no example before training.
        spread: Statistics of the teacher's scores; empty if they are not known beforehand.
        available: The number of rows that a sample was chosen from; None: there is no sample.
        between: Called while a download is waited for; what it raises ends the waiting.
    """

    files: list[DataFile]
    rejected: int
    spread: Spread
    available: int | None
    between: Callable[[], None]

    def __len__(self) -> int:
        """Return the number of rows of an epoch."""
        ...

    @property
    def datasets(self) -> Sequence[str]:
        """The dataset repositories."""
        ...

    @property
    def digest(self) -> str:
        """A hash of what determines the examples, to check the data of a resumed run."""
        ...

    def prepare(self, number: int, size: int, seed: int, epoch: int) -> None:
        """Make sure that a window can be read without waiting for a download.

        Raises:
            CorpusError: A file cannot be downloaded.
        """
        ...

    def window(self, number: int, size: int, seed: int, epoch: int) -> Window:
        """Return a window of `size` rows of an epoch; the last may have fewer.

        Raises:
            CorpusError: Rows cannot be read.
        """
        ...
