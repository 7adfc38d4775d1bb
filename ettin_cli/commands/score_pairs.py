"""`ettin score --pairs`: a file of pairs with a score beside each."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ettin_cli.commands.jsonl import write_jsonl
from ettin_cli.console import Console, count
from ettin_cli.corpus.records import RecordError, spared
from ettin_cli.corpus.tables import Row
from ettin_cli.records import NO_TEXT, Reranker
from ettin_cli.requests import RequestFields
from ettin_cli.requests.fields import (
    NEGATIVE_IDS,
    NEGATIVES,
    POSITIVE,
    TEXT_LISTS,
    example,
    holds_example,
    pair,
)
from ettin_cli.requests.pairs import rejection
from ettin_cli.requests.rows import read_rows
from ettin_cli.requests.spool import Spool

WINDOW = 4096


def score_pairs(
    path: Path,
    output: Path | None,
    rerankers: Sequence[Reranker],
    console: Console,
    *,
    average: bool = False,
) -> int:
    """Write a JSON line a pair, its own fields and its score, and return how many were rejected.

    Of several rerankers each score is written under the reranker's name.

    Args:
        path: JSONL, CSV, TSV or Parquet with a query and a document a row, or with a query, its
            positive and its negatives, which are a pair each; "-" is stdin, JSONL.
        output: None writes to stdout.
        average: Also write the mean of the scores, each reranker's standardised over the file.

    Raises:
        CorpusError: The file cannot be read.
        OutputError: The output cannot be written.
    """
    scored = _Scored(path, rerankers, console)
    found = scored.of(read_rows(path, "pairs"))
    names = [reranker.name for reranker in rerankers]
    write_jsonl(_averaged(found, names) if average else _named(found, names), output)
    for name, cut in zip(names, scored.truncated, strict=True):
        if cut:
            limit = f"the limit of {name}" if len(names) > 1 else "the reranker's limit"
            console.notice(f"{cut:,} of {count(scored.pairs, 'pair')} cut at {limit}")
    console.summary(f"{count(scored.pairs, 'pair')} scored by {' and '.join(names)}")
    return scored.rejected


class _Pair(NamedTuple):
    """What is written of a pair, and what is scored."""

    record: dict[str, Any]
    query: str
    text: str


_Found = Iterable[tuple[dict[str, Any], Sequence[float]]]


class _Scored:
    """Scores rows a window of pairs at a time, and counts."""

    def __init__(self, path: Path, rerankers: Sequence[Reranker], console: Console) -> None:
        self.path, self.rerankers, self.console = path, rerankers, console
        self.pairs = self.rejected = 0
        self.truncated = [0] * len(rerankers)

    def of(self, rows: Iterator[Row]) -> Iterator[tuple[dict[str, Any], Sequence[float]]]:
        """Yield the record of each pair and its scores, in the order of the rows."""
        pairs = self._pairs(rows)
        with self.console.track("scoring", None, "pairs") as advance:
            while window := list(islice(pairs, WINDOW)):
                texts = [(one.query, one.text) for one in window]
                verdicts = [reranker.score(texts, advance) for reranker in self.rerankers]
                self.pairs += len(window)
                for at, scores in enumerate(verdicts):
                    self.truncated[at] += int(scores.truncated.sum())
                columns = [scores.values.tolist() for scores in verdicts]
                for one, values in zip(window, zip(*columns, strict=True), strict=True):
                    yield one.record, values

    def _pairs(self, rows: Iterator[Row]) -> Iterator[_Pair]:
        for row in rows:
            try:
                found, reasons = _pairs(row[0])
            except RecordError as error:
                # Here a field cannot be named.
                found, reasons = [], [str(error).partition(";")[0]]
            self.rejected += len(reasons)
            for reason in reasons:
                told = rejection(str(self.path), row, RecordError(reason))
                self.console.notice(f"rejected {told}")
            yield from found


def _pairs(record: object) -> tuple[list[_Pair], Sequence[str]]:
    """Return the pair that a row is, or those of a row of training data, and what is none there."""
    if not holds_example(record):
        found = pair(record, RequestFields())
        assert isinstance(record, dict)
        return [_Pair(record, found.query, found.candidate.passage.content)], ()
    held = example(record)
    record, _ = spared(record, (), TEXT_LISTS)
    assert isinstance(record, dict)
    lists = (POSITIVE, NEGATIVES, NEGATIVE_IDS)
    own = {name: value for name, value in record.items() if name not in lists}
    labelled = [(text, 1) for text in held.positives] + [(text, 0) for text in held.negatives]
    pairs = [
        _Pair({**own, "document": text, "label": label}, held.query, text)
        for text, label in labelled
    ]
    return pairs, held.reasons


def _named(found: _Found, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for record, values in found:
        if len(names) == 1:
            yield {**record, "score": values[0]}
        else:
            yield {**record, "scores": dict(zip(names, values, strict=True))}


def _averaged(found: _Found, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield each record with its scores and their mean, once all of them are known.

    Memory holds the scores alone: the records wait in a temporary file.
    """
    columns = [array("f") for _ in names]
    with Spool() as spool:
        places = array("q")
        for record, values in found:
            places.append(spool.add(record))
            for column, value in zip(columns, values, strict=True):
                column.append(value)
        scores = zip(*columns, strict=True)
        for place, values, mean in zip(places, scores, _means(columns), strict=True):
            named = dict(zip(names, values, strict=True))
            yield {**spool.get(place), "score": mean, "scores": named}


def _means(columns: Sequence[array[float]]) -> list[float]:
    """Return the mean of each row once every column has mean 0 and standard deviation 1.

    A column whose values are all equal is all 0. Texts without a word are left out of both, and
    keep their score.
    """
    import numpy as np

    scores = np.array(columns, np.float64)
    means = np.full(len(columns[0]), NO_TEXT)
    read = (scores > NO_TEXT).all(axis=0)
    if read.any():
        some = scores[:, read]
        spread = np.where(np.ptp(some, axis=1) > 0, some.std(axis=1), 1)[:, None]
        means[read] = ((some - some.mean(axis=1)[:, None]) / spread).mean(axis=0)
    found: list[float] = means.tolist()
    return found
