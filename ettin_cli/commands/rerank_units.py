"""`ettin rerank` in units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from ettin_cli.clusters import Work
from ettin_cli.commands.part_format import PartFormat
from ettin_cli.corpus import Piece
from ettin_cli.errors import UsageError
from ettin_cli.files import reject_line
from ettin_cli.files.requests import RequestFields, piece_requests
from ettin_cli.records import Answer, Reporter, Reranker, Silence
from ettin_cli.searching import NamedRerankers, SearchOptions, Step, Window, rerank

# Formats of which parts can be put together, or written to a folder.
FORMATS = ("jsonl", "csv", "tsv", "parquet", "trec", "md", "paths")


def check_format(format: str) -> None:
    """Check that answers in a format can be written in parts.

    Raises:
        UsageError: They cannot.
    """
    if format not in FORMATS:
        raise UsageError(
            f"{format} cannot be written in units", hint=f"-f {', '.join(FORMATS[:-1])} or paths"
        )


@dataclass(frozen=True, slots=True)
class RerankUnits:
    """Reranks pieces of a file; picklable.

    Args:
        reranker: The value of `-r`.
        lists: Whether a row is a query with its documents, rather than a pair.
    """

    models: NamedRerankers
    reranker: str
    path: Path
    fields: RequestFields
    lists: bool
    chosen: SearchOptions
    long: str
    part: PartFormat

    def load(self, reporter: Reporter) -> tuple[Work, Mapping[str, str]]:
        """Load the rerankers by name."""
        models = self.models.models(reporter)
        cascade = models.find_rerankers(self.reranker)
        self.models.check(cascade.every)
        last, before = models.rerankers(cascade, self.long)
        return partial(self._do, last, before), self.models.engine()

    def _do(
        self,
        last: Reranker,
        before: Sequence[Step[Reranker]],
        piece: Piece,
        file: BinaryIO,
        rejects: BinaryIO,
    ) -> Mapping[str, int]:
        items = piece_requests(self.path, self.fields, piece, lists=self.lists)
        windows = rerank(items, last, self.chosen, Silence(), before=before)
        counts: Counter[str] = Counter()

        def answers() -> Iterator[Answer]:
            for window in windows:
                rejects.writelines(map(reject_line, window.rejections))
                _count(counts, window)
                yield from window.answers

        self.part.write(answers(), file)
        return counts


def _count(counts: Counter[str], window: Window) -> None:
    more: dict[str, Any] = {
        "rejected": len(window.rejections),
        "unscored": window.unscored,
        "repeated": window.repeated,
        "scoreless": window.scoreless,
        "unnamed": window.unnamed,
        "queries": len(window.answers),
    }
    counts.update(more)
    for answer in window.answers:
        counts["hits"] += len(answer.hits)
        counts["truncated"] += sum(hit.truncated for hit in answer.hits)
        for at, stage in enumerate(answer.stages):
            counts[f"scored {at}"] += stage.scored
            counts[f"kept {at}"] += stage.kept
