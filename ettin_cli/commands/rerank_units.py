"""`ettin rerank` in units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from ettin_cli.clusters import Made, Work
from ettin_cli.corpus import Piece
from ettin_cli.errors import UsageError
from ettin_cli.files import json_rows, reject_line
from ettin_cli.files.requests import RequestFields, piece_requests
from ettin_cli.files.writers import HIT_LINES, BinaryWriter, Layout, TextWriter, writer_of
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
class PartFormat:
    """How the answers of a unit are written.

    Args:
        complete: Whether a part is a file of its own, rather than put together with others.
    """

    format: str
    layout: Layout
    complete: bool

    @property
    def suffix(self) -> str:
        """The suffix of a part."""
        suffixes = writer_of(self.format).suffixes
        return suffixes[0] if suffixes else ".txt"

    @property
    def begin(self) -> bytes:
        """What comes before the first answer of a file."""
        return self._lines().begin(self.layout)

    @property
    def made(self) -> Made | None:
        """Makes a file from parts that are put together; None: it has their bytes."""
        return self._make if isinstance(writer_of(self.format), BinaryWriter) else None

    def _lines(self) -> TextWriter:
        writer = writer_of(self.format)
        return HIT_LINES if isinstance(writer, BinaryWriter) else writer

    def _make(self, parts: Sequence[Path], file: BinaryIO) -> None:
        writer = writer_of(self.format)
        assert isinstance(writer, BinaryWriter)
        writer.write(chain.from_iterable(map(json_rows, parts)), file, self.layout)

    def write(self, answers: Iterator[Answer], file: BinaryIO) -> None:
        """Write a part, as the answers arrive."""
        writer = writer_of(self.format)
        if self.complete and isinstance(writer, BinaryWriter):
            rows = (row for answer in answers for row in answer.rows(text=self.layout.text))
            writer.write(rows, file, self.layout)
            return
        lines = self._lines()
        if self.complete:
            file.write(lines.begin(self.layout))
        for answer in answers:
            file.write(lines.answer(answer, self.layout, first=False))


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
