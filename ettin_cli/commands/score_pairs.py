"""`ettin score --pairs`: a file of pairs with a score beside each."""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ettin_cli.console import Console, count
from ettin_cli.corpus.records import RecordError
from ettin_cli.corpus.suffixes import kind_of
from ettin_cli.corpus.tables import Row
from ettin_cli.errors import UsageError
from ettin_cli.export import output_file
from ettin_cli.records import Reranker
from ettin_cli.requests import RequestFields
from ettin_cli.requests.fields import pair
from ettin_cli.requests.pairs import rejection
from ettin_cli.requests.rows import read_rows

WINDOW = 4096


def score_pairs(path: Path, output: Path | None, reranker: Reranker, console: Console) -> int:
    """Write a JSON line a pair, its own fields and its score, and return how many were rejected.

    Args:
        path: JSONL, CSV, TSV or Parquet with a query and a document a row; "-" is stdin, JSONL.
        output: None writes to stdout.

    Raises:
        CorpusError: The file cannot be read.
        OutputError: The output cannot be written.
    """
    if output is not None and str(output) != "-" and kind_of(output.name) != "jsonl":
        raise UsageError(f"scores are written as JSONL, not to {output}", hint="-o scored.jsonl")
    lines = _Scored(path, reranker, console)
    rows = read_rows(path, "pairs")
    if output is None or str(output) == "-":
        for line in lines.of(rows):
            sys.stdout.buffer.write(line)
        sys.stdout.flush()
    else:
        with output_file(output) as file:
            file.writelines(lines.of(rows))
    if lines.truncated:
        told = count(lines.scored, "pair")
        console.notice(f"{lines.truncated:,} of {told} cut at the reranker's limit")
    console.summary(f"{count(lines.scored, 'pair')} scored by {reranker.name}")
    return lines.rejected


class _Scored:
    """Scores rows a window at a time, and counts."""

    def __init__(self, path: Path, reranker: Reranker, console: Console) -> None:
        self.path, self.reranker, self.console = path, reranker, console
        self.scored = self.truncated = self.rejected = 0

    def of(self, rows: Iterator[Row]) -> Iterator[bytes]:
        """Yield a line a pair, in the order of the rows."""
        with self.console.track("scoring", None, "pairs") as advance:
            while window := list(islice(rows, WINDOW)):
                records, pairs = self._pairs(window)
                scores = self.reranker.score(pairs, advance)
                self.scored += len(pairs)
                self.truncated += int(scores.truncated.sum())
                for record, value in zip(records, scores.values.tolist(), strict=True):
                    yield _line({**record, "score": value})

    def _pairs(self, rows: Sequence[Row]) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
        records, pairs = [], []
        for row in rows:
            try:
                found = pair(row[0], RequestFields())
            except RecordError as error:
                self.rejected += 1
                # Here a field cannot be named.
                reason = RecordError(str(error).partition(";")[0])
                self.console.notice(f"rejected {rejection(str(self.path), row, reason)}")
            else:
                assert isinstance(row[0], dict)
                records.append(row[0])
                pairs.append((found.query, found.candidate.passage.content))
        return records, pairs


def _line(record: dict[str, Any]) -> bytes:
    import orjson

    return orjson.dumps(record) + b"\n"
