"""The rows that `ettin mine` writes, and what is reported of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ettin_cli.console import Console, count
from ettin_cli.training import Mined

COUNTS = (
    *("queries", "written", "negatives"),
    *("unindexed", "without", "fewer", "dropped", "truncated"),
)


class MinedRows:
    """Turns mined negatives into rows, and counts."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.queries = self.written = self.negatives = 0
        self.unindexed = self.without = self.fewer = self.dropped = self.truncated = 0

    def rows(self, mined: Iterable[Mined]) -> Iterator[dict[str, Any]]:
        """Yield one row per query that has a positive and a negative."""
        for one in mined:
            self.queries += 1
            self.unindexed += not one.indexed
            self.dropped += one.dropped
            self.truncated += one.truncated
            if not one.positives:
                continue
            self.without += not one.negatives
            self.fewer += 0 < len(one.negatives) < self.wanted
            if one.negatives:
                self.written += 1
                self.negatives += len(one.negatives)
                yield one.to_dict()

    @property
    def counts(self) -> Mapping[str, int]:
        """What was counted, by name."""
        return {name: getattr(self, name) for name in COUNTS}

    def add(self, counts: Mapping[str, int]) -> None:
        """Add what was counted elsewhere."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + counts[name])

    def tell(self, console: Console, *, judged: bool, margin: bool) -> None:
        """Report what was mined, and what was left out."""
        end = "skipped" if judged else "mined by text alone"
        for number, told in (
            (self.unindexed, f"without a positive in the index, {end}"),
            (self.without, "without a negative, skipped; raise -c to retrieve more"),
            (self.fewer, f"with fewer negatives than {self.wanted:,}"),
        ):
            if number:
                console.notice(f"{count(number, 'query', 'queries')} {told}")
        if self.truncated:
            console.notice(
                f"{count(self.truncated, 'text')} truncated at the reranker's token limit"
            )
        dropped = f", {self.dropped:,} dropped by --max-score-ratio" if margin else ""
        console.summary(
            f"{count(self.negatives, 'negative')} for {self.written:,} of "
            f"{count(self.queries, 'query', 'queries')}{dropped}"
        )
