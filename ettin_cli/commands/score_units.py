"""`ettin score --pairs` in units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from ettin_cli.clusters import Work
from ettin_cli.commands.in_units import UnitRun
from ettin_cli.commands.score_pairs import (
    PairsJob,
    ScoredPairs,
    Totals,
    averaged,
    named_scores,
    report,
)
from ettin_cli.commands.unit_options import UnitOptions
from ettin_cli.console import Console
from ettin_cli.corpus import Piece
from ettin_cli.files import json_rows, reject_line
from ettin_cli.files.requests import cut_rows, piece_of, read_rows
from ettin_cli.models.rerankers import ResolvedReranker
from ettin_cli.records import Reporter, Reranker, Silence
from ettin_cli.searching import Models, NamedRerankers


@dataclass(frozen=True, slots=True)
class PairUnits:
    """Scores pieces of a file of pairs; picklable.

    Args:
        names: The rerankers, as they were given.
        average: Whether parts have bare scores, from which means are computed at the end.
    """

    models: NamedRerankers
    names: tuple[str, ...]
    path: Path
    columns: tuple[str, ...]
    long: str
    average: bool

    def load(self, reporter: Reporter) -> tuple[Work, Mapping[str, str]]:
        """Load the rerankers by name."""
        models = self.models.models(reporter)
        every = [models.find_reranker(name) for name in self.names]
        self.models.check(every)
        rerankers = [models.reranker(resolved, self.long) for resolved in every]
        return partial(self._do, rerankers), self.models.engine()

    def _do(
        self, rerankers: Sequence[Reranker], piece: Piece, file: BinaryIO, rejects: BinaryIO
    ) -> Mapping[str, int]:
        import orjson

        rows = piece_of(self.path, piece, self.columns)
        scored = ScoredPairs(rows, str(self.path), rerankers, Silence())
        named = named_scores(scored.names)
        for window in scored.windows(scored.items()):
            records = window.rows if self.average else map(named, window.rows)
            file.writelines(orjson.dumps(record) + b"\n" for record in records)
            rejects.writelines(map(reject_line, window.rejections))
        truncated = {f"truncated {at}": cut for at, cut in enumerate(scored.truncated)}
        return {"pairs": scored.pairs, "rejected": scored.rejected, **truncated}


def score_units(
    job: PairsJob,
    every: Sequence[ResolvedReranker],
    models: Models,
    long: str,
    chosen: UnitOptions,
    console: Console,
) -> int:
    """Write one JSON line per pair in units, and return the number of rejected rows and texts.

    Args:
        every: The rerankers.
        long: How they score texts beyond their token limit.

    Raises:
        CorpusError: The file cannot be read.
        OutputError: The output cannot be written.
    """
    path, output = cast(Path, job.path), cast(Path, job.output)
    # Refuses other formats.
    read_rows(path, "pairs", columns=job.columns)
    names = [resolved.name for resolved in every]

    def made(parts: Sequence[Path], file: BinaryIO) -> None:
        import orjson

        def rows() -> Iterator[tuple[dict[str, object], Sequence[float]]]:
            return chain.from_iterable(map(json_rows, parts))

        file.writelines(orjson.dumps(record) + b"\n" for record in averaged(rows, names))

    work = PairUnits(
        NamedRerankers.of(every, models), tuple(names), path, job.columns, long, job.average
    )
    run = UnitRun(
        *(path, output, "scoring", job.fingerprint, ".jsonl"),
        made=made if job.average else None,
    )
    counts = run.run(chosen, partial(cut_rows, path), work, console, resume=job.resume)
    truncated = [counts[f"truncated {at}"] for at in range(len(names))]
    where = f"; reasons in {output.with_name(f'{output.name}.rejects.jsonl')}"
    report(Totals(counts["pairs"], counts["rejected"], truncated), names, where, console)
    return counts["rejected"]
