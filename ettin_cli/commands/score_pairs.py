"""`ettin score --pairs`: the pairs of a file with their scores."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ettin_cli.commands import options
from ettin_cli.commands.jsonl import write_jsonl
from ettin_cli.commands.output_options import appears_complete
from ettin_cli.console import Console, count
from ettin_cli.corpus import RecordError, Row
from ettin_cli.files import Digested, ResumableFile
from ettin_cli.files.requests import (
    DOCUMENT,
    POSITIVE,
    MeasuredRows,
    RequestFields,
    Spool,
    example,
    holds_example,
    name_of,
    negative_fields,
    pair,
    read_rows,
    rejection,
)
from ettin_cli.records import (
    NO_TEXT,
    Advance,
    Rejection,
    Reporter,
    Reranker,
    Share,
)
from ettin_cli.searching import Task, WindowProgress
from ettin_cli.storage import Stream

WINDOW = 4096


@dataclass(frozen=True, slots=True)
class PairsJob:
    """The input and the output of a run that scores pairs.

    Args:
        path: JSONL, CSV, TSV or Parquet; each row has a query and a document, or a query, its
            positive and its negatives, which become one pair each. A stream holds JSONL.
        output: None writes to stdout.
        columns: Column names of a CSV or TSV without a header.
        average: Also write the mean of the scores, standardised per reranker over the file.
        resume: Resume an interrupted run that wrote to the output.
        fingerprint: A hash of everything but the input that determines the output.
    """

    path: Path | Stream
    output: Path | None
    columns: tuple[str, ...]
    average: bool
    resume: bool
    fingerprint: str


def score_pairs(job: PairsJob, rerankers: Sequence[Reranker], console: Console) -> int:
    """Write one JSON line per pair, and return the number of rejected rows and texts.

    A line has the pair's fields and its score; with several rerankers, a score per reranker name.

    Raises:
        CorpusError: The file cannot be read.
        OutputError: The output cannot be written.
    """
    rows = MeasuredRows(job.path, read_rows(job.path, "pairs", columns=job.columns))
    scored = ScoredPairs(rows, str(job.path), rerankers, console, rows.share)
    where = ""
    if appears_complete(job.output):
        with ResumableFile(job.output, job.fingerprint, resume=job.resume) as target:
            _write(scored, target, console, average=job.average)
            where = f"; reasons in {target.rejects}"
    else:
        _show(scored, job.output, average=job.average)
    report(Totals(scored.pairs, scored.rejected, scored.truncated), scored.names, where, console)
    return scored.rejected


class Totals(NamedTuple):
    """Counts of a run that scored pairs; `truncated` has one per reranker."""

    pairs: int
    rejected: int
    truncated: Sequence[int]


def report(totals: Totals, names: Sequence[str], where: str, console: Console) -> None:
    """Report what was scored, truncated and rejected.

    Args:
        where: Where the reasons for rejections are, to be appended.
    """
    for name, cut in zip(names, totals.truncated, strict=True):
        if cut:
            limit = f"the token limit of {name}" if len(names) > 1 else "the reranker's token limit"
            console.notice(f"{cut:,} of {count(totals.pairs, 'pair')} truncated at {limit}")
    if totals.rejected:
        console.notice(f"rejected {count(totals.rejected, 'row or text', 'rows or texts')}{where}")
    console.summary(f"{count(totals.pairs, 'pair')} scored by {' and '.join(names)}")


class _Pair(NamedTuple):
    """The fields to write of a pair, and the texts to score."""

    record: dict[str, Any]
    query: str
    text: str


class _Window(NamedTuple):
    """A window of scored records, the rows rejected in it, and truncated texts by reranker."""

    rows: Sequence[_ScoredRow]
    rejections: Sequence[Rejection]
    end: int
    truncated: Sequence[int]


# A record, and one score per reranker.
_ScoredRow = tuple[dict[str, Any], Sequence[float]]
_Item = _Pair | Rejection


class ScoredPairs:
    """Scores rows a window at a time, and counts."""

    def __init__(
        self,
        rows: Iterable[Row],
        shown: str,
        rerankers: Sequence[Reranker],
        reporter: Reporter,
        share: Share | None = None,
    ) -> None:
        self.rows, self.shown, self.rerankers, self.reporter = rows, shown, rerankers, reporter
        self.share = share
        self.names = [reranker.card.name for reranker in rerankers]
        self.pairs = self.rejected = 0
        self.truncated = [0] * len(rerankers)

    def items(self) -> Iterator[_Item]:
        """Yield the pairs of the rows and the rejections, in input order."""
        for row in self.rows:
            try:
                pairs, reasons = _pairs(row)
            except RecordError as error:
                pairs, reasons = [], [str(error)]
            yield from pairs
            for reason in reasons:
                yield rejection(self.shown, row, RecordError(reason))

    def windows(self, items: Iterable[_Item], done: int = 0) -> Iterator[_Window]:
        """Yield windows of scored pairs.

        Args:
            done: Items scored by an earlier run; the end of one of its windows.
        """
        progress = WindowProgress(self.share)
        at_once = max(reranker.card.at_once for reranker in self.rerankers)

        def tasks(advance: Advance) -> Iterator[Task[_Window]]:
            end, left = 0, iter(items)
            # Rejected rows count too, which bounds memory for any input.
            while window := list(islice(left, WINDOW)):
                end += len(window)
                if end <= done:
                    progress.skip()
                    continue
                pairs = [item for item in window if isinstance(item, _Pair)]
                rejections = [item for item in window if isinstance(item, Rejection)]
                for rejected in rejections:
                    self.reporter.notice(f"rejected {rejected}")
                self.rejected += len(rejections)
                lengths = [len(pair.query) + len(pair.text) for pair in pairs]
                scored = partial(self._scored, pairs, rejections, end, advance)
                yield Task(lengths, len(pairs) * len(self.rerankers), scored)

        for window in progress.windows(tasks, at_once, self.reporter, "scoring"):
            self.pairs += len(window.rows)
            for at, cut in enumerate(window.truncated):
                self.truncated[at] += cut
            yield window

    def _scored(
        self, pairs: Sequence[_Pair], rejections: Sequence[Rejection], end: int, advance: Advance
    ) -> _Window:
        if not pairs:
            return _Window([], rejections, end, [0] * len(self.rerankers))
        texts = [(pair.query, pair.text) for pair in pairs]
        verdicts = [reranker.score(texts, advance) for reranker in self.rerankers]
        columns = zip(*(scores.values.tolist() for scores in verdicts), strict=True)
        rows = [(pair.record, values) for pair, values in zip(pairs, columns, strict=True)]
        return _Window(rows, rejections, end, [int(one.truncated.sum()) for one in verdicts])


def _show(scored: ScoredPairs, output: Path | None, *, average: bool) -> None:
    """Write the pairs to stdout as they are scored; with an average, once all are scored."""
    scored_rows = (row for window in scored.windows(scored.items()) for row in window.rows)
    if not average:
        write_jsonl(map(named_scores(scored.names), scored_rows), output)
        return
    # Only the scores are held in memory.
    with Spool() as spool:
        offsets = array("q", (spool.add(row) for row in scored_rows))
        write_jsonl(averaged(lambda: map(spool.get, offsets), scored.names), output)


def _write(scored: ScoredPairs, target: ResumableFile, console: Console, *, average: bool) -> None:
    """Write the pairs to a file, after those of an earlier run."""
    import orjson

    mark, named = target.mark, named_scores(scored.names)
    scored.rejected = mark.rejects
    if mark.items:
        console.notice(f"resuming after {count(mark.answers, 'pair')}")
    if target.finished:
        return

    def made(partial: Path, file: BinaryIO) -> None:
        def scored_rows() -> Iterator[_ScoredRow]:
            with partial.open("rb") as lines:
                yield from map(orjson.loads, lines)

        lines = averaged(scored_rows, scored.names)
        file.writelines(orjson.dumps(record) + b"\n" for record in lines)

    with options.resumable("to resume, run the same command with --resume", console):
        watched = Digested(scored.items(), mark)
        for window in scored.windows(watched, mark.items):
            records = window.rows if average else map(named, window.rows)
            lines = [orjson.dumps(record) + b"\n" for record in records]
            digest = watched.digest_of(window.end)
            target.append(lines, len(lines), window.rejections, window.end, digest)
        watched.check()
        target.complete(made=made if average else None)


def _pairs(row: Row) -> tuple[list[_Pair], Sequence[str]]:
    """Return the pairs of a row or of its training data, and why texts of it are rejected."""
    record = row[0]
    _refuse_both(record)
    if not holds_example(record):
        request = pair(record, RequestFields())
        assert isinstance(record, dict)
        return [_Pair(record, request.query, request.candidate.passage.content)], ()
    held = example(record)
    labelled = [(text, 1) for text in held.positives] + [(text, 0) for text in held.negatives]
    pairs = [
        _Pair({**held.fields, "document": text, "label": label}, held.query, text)
        for text, label in labelled
    ]
    return pairs, held.reasons


def _refuse_both(record: object) -> None:
    """Check that a row is not a pair and training data at once, of which one would not be scored.

    Raises:
        RecordError: It has a document beside positives or negatives.
    """
    if not isinstance(record, dict):
        return
    document = name_of(record, DOCUMENT)
    labelled = [POSITIVE] if record.get(POSITIVE) not in (None, "", []) else []
    labelled += negative_fields(record)
    if document is not None and labelled:
        raise RecordError(f'both "{document}" and "{labelled[0]}"; leave out one of them')


def named_scores(names: Sequence[str]) -> Callable[[_ScoredRow], dict[str, Any]]:
    """Return a function that adds the scores to a record."""

    def named(row: _ScoredRow) -> dict[str, Any]:
        record, values = row
        if len(names) == 1:
            return {**record, "score": values[0]}
        return {**record, "scores": dict(zip(names, values, strict=True))}

    return named


def averaged(
    read: Callable[[], Iterable[_ScoredRow]], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield each record with its scores and their mean.

    Args:
        read: Returns a new iterator over all scored records at each call.
    """
    columns = [array("f") for _ in names]
    for _, values in read():
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    for (record, values), mean in zip(read(), _means(columns), strict=True):
        yield {**record, "score": mean, "scores": dict(zip(names, values, strict=True))}


def _means(columns: Sequence[array[float]]) -> list[float]:
    """Return the mean of each row after standardising each column to mean 0, deviation 1.

    A constant column becomes 0. Empty texts are left out of the statistics and keep their score.
    """
    import numpy as np

    scores = np.array(columns, np.float64)
    means = np.full(len(columns[0]), NO_TEXT)
    read = (scores > NO_TEXT).all(axis=0)
    if read.any():
        some = scores[:, read]
        spread = np.where(np.ptp(some, axis=1) > 0, some.std(axis=1), 1)[:, None]
        means[read] = ((some - some.mean(axis=1)[:, None]) / spread).mean(axis=0)
    rows: list[float] = means.tolist()
    return rows
