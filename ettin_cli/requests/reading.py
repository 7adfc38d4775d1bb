"""The file that `ettin rerank` is given -> its requests, one after another."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from ettin_cli.corpus import Fields
from ettin_cli.corpus.records import RecordError
from ettin_cli.corpus.suffixes import COMPRESSED, kind_of
from ettin_cli.corpus.tables import Row, jsonl, read_table
from ettin_cli.errors import CorpusError, UsageError
from ettin_cli.records import Query, Rejection, Request, Share
from ettin_cli.requests.fields import RequestFields, holds_list, listed, pair
from ettin_cli.requests.pairs import PairFile, adjacent_requests, rejection
from ettin_cli.requests.runs import RunTexts, run_rows
from ettin_cli.requests.spool import Spool
from ettin_cli.storage import UnreadableError, opened

STDIN = "-"
KINDS = ("jsonl", "json", "csv", "tsv", "parquet")
Items = Iterator[Request | Rejection]


@dataclass(frozen=True, slots=True)
class RequestFile:
    """Requests as they are read, what could not be read among them, and how far that is."""

    items: Items
    share: Share


@contextmanager
def open_requests(
    path: Path, fields: RequestFields, *, queries: Path | None = None, corpus: str | None = None
) -> Iterator[RequestFile]:
    """Open a file of queries with lists of documents, of pairs, or a TREC run.

    Args:
        path: "-" is standard input, as JSONL.
        queries: The queries of a run; with `corpus` the file is read as one.
        corpus: The documents of a run.

    Raises:
        CorpusError: It cannot be read, or holds neither queries with documents nor pairs.
        UsageError: It is of no format that is known.
    """
    if (queries is None) != (corpus is None):
        raise UsageError("a TREC run needs both --queries and --corpus")
    try:
        if queries is not None and corpus is not None:
            with Spool() as spool:
                yield _run(path, queries, corpus, fields, spool)
        elif str(path) == STDIN:
            yield RequestFile(_stream(jsonl(sys.stdin.buffer), STDIN, fields), _unknown)
        else:
            yield _table(path, fields)
    except UnreadableError as error:
        raise CorpusError(f"{path}: {error}") from error


def _run(
    path: Path, queries: Path, corpus: str, fields: RequestFields, spool: Spool
) -> RequestFile:
    texts = RunTexts(path, queries, corpus, Fields(fields.id, fields.text), spool)
    pairs = PairFile(str(path), partial(run_rows, path), texts.pair, best_first=True)
    return RequestFile(chain(texts.rejections, pairs.items()), pairs.share)


def _table(path: Path, fields: RequestFields) -> RequestFile:
    kind = kind_of(path.name)
    if kind not in KINDS:
        raise UsageError(
            f"{path} is of no format that holds candidates",
            hint="JSONL, CSV, TSV or Parquet; a TREC run needs --queries and --corpus",
        )
    if not _has_lists(path, kind, fields):
        pairs = PairFile(str(path), partial(read_table, kind, path), partial(pair, fields=fields))
        return RequestFile(pairs.items(), pairs.share)
    position = _Position()
    rows = position.rows(path) if kind == "jsonl" else read_table(kind, path)
    return RequestFile(_lists(rows, str(path), fields), lambda: position.share)


class _Position:
    """Reads JSON lines and keeps how far into the file that is; unknown in a packed one."""

    def __init__(self) -> None:
        self.share: float | None = None

    def rows(self, path: Path) -> Iterator[Row]:
        size = 0 if path.suffix.lower() in COMPRESSED else path.stat().st_size
        with opened(path) as file:
            for row in jsonl(file):
                self.share = file.tell() / size if size else None
                yield row


def _has_lists(path: Path, kind: str, fields: RequestFields) -> bool:
    """Say whether a file's first record is a query with a list of documents, or else a pair."""
    for record, line, _ in read_table(kind, path):
        if not isinstance(record, RecordError):
            return _is_list(record, path if line is None else f"{path}:{line}", fields)
    return False


def _is_list(record: object, place: object, fields: RequestFields) -> bool:
    """Say what a record is.

    Raises:
        CorpusError: It is neither, and so will be the rest.
    """
    if holds_list(record, fields):
        return True
    try:
        pair(record, fields)
    except RecordError as error:
        raise CorpusError(
            f"{place}: neither a query with a list of documents nor a pair: {error}",
            hint="name its fields with --query-field, --documents-field, --text-field, --id-field",
        ) from error
    return False


def _stream(rows: Iterator[Row], shown: str, fields: RequestFields) -> Items:
    """Yield the requests of rows that come once; the first that can be read tells their kind."""
    broken: list[Row] = []
    for row in rows:
        if isinstance(row[0], RecordError):
            broken.append(row)
            continue
        every = chain(broken, [row], rows)
        if _is_list(row[0], f"{shown}:{row[1]}", fields):
            return _lists(every, shown, fields)
        return adjacent_requests(shown, every, partial(pair, fields=fields))
    return _lists(iter(broken), shown, fields)


def _lists(rows: Iterator[Row], shown: str, fields: RequestFields) -> Items:
    for row in rows:
        try:
            found = listed(row[0], fields)
        except RecordError as error:
            yield rejection(shown, row, error)
            continue
        for reason in found.reasons:
            yield rejection(shown, row, RecordError(reason))
        query = Query(found.query_id or str(row[2]), found.query)
        yield Request(query, found.candidates, found.fields)


def _unknown() -> float | None:
    return None
