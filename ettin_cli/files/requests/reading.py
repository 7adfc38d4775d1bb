"""The input file of `ettin rerank` -> its requests, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

from ettin_cli.corpus import Fields, Piece, RecordError, Row
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.files.requests.fields import RequestFields, holds_list, listed, pair
from ettin_cli.files.requests.measured_rows import MeasuredRows
from ettin_cli.files.requests.pairs import PairFile, adjacent_requests, key_hash, rejection
from ettin_cli.files.requests.rows import cut_rows, piece_of, read_rows
from ettin_cli.files.requests.runs import RunTexts, run_rows
from ettin_cli.files.requests.spool import Spool
from ettin_cli.records import Query, Rejection, Request, Share
from ettin_cli.storage import Stream

PROBED_ROWS = 100
Items = Iterator[Request | Rejection]


@dataclass(frozen=True, slots=True)
class RequestFile:
    """Requests and rejections as they are read, with the share read so far."""

    items: Items
    share: Share


@contextmanager
def open_requests(
    path: Path | Stream,
    fields: RequestFields,
    *,
    queries: Path | Stream | None = None,
    corpus: str | Stream | None = None,
) -> Iterator[RequestFile]:
    """Open a file of queries with document lists, a file of pairs, or a TREC run.

    Args:
        path: A file, or a stream of JSONL.
        queries: The queries of a run; with `corpus` the file is read as a run.
        corpus: The documents of a run.

    Raises:
        CorpusError: The file cannot be read, or holds neither queries with documents nor pairs.
        InvalidArgumentError: The format is unknown.
    """
    if (queries is None) != (corpus is None):
        raise InvalidArgumentError("a TREC run needs queries and a corpus", argument="queries")
    if queries is not None and corpus is not None:
        if isinstance(path, Stream):
            raise InvalidArgumentError(
                "a TREC run is read twice, so it cannot be a stream", argument="stream"
            )
        with Spool() as spool:
            yield _run(path, queries, corpus, fields, spool)
    elif isinstance(path, Stream):
        yield RequestFile(_stream(_rows(path, fields), str(path), fields), _unknown)
    else:
        yield _table(path, fields)


@dataclass(frozen=True, slots=True)
class CutRequests:
    """A file of requests in pieces.

    Args:
        lists: Whether a row is a query with its documents, rather than a pair.
        pieces: They are found as they are read.
    """

    lists: bool
    pieces: Iterator[Piece]


def cut_requests(path: Path, fields: RequestFields, rows: int) -> CutRequests:
    """Cut a file of queries with documents, or of pairs, into pieces that can be reranked apart.

    Args:
        rows: The least number of rows of a piece, except for the last one.

    Raises:
        CorpusError: As in `open_requests`; or the rows of a query are not adjacent.
        InvalidArgumentError: The format is unknown.
    """
    lists, _ = _kind(_rows(path, fields), str(path), fields)

    def query(record: object) -> int | None:
        try:
            return key_hash(pair(record, fields))
        except RecordError:
            return None

    return CutRequests(lists, cut_rows(path, rows, None if lists else query))


def piece_requests(path: Path, fields: RequestFields, piece: Piece, *, lists: bool) -> Items:
    """Yield the requests and rejections of a piece, as reading the file does.

    Raises:
        CorpusError: The file cannot be read, or has changed since it was cut.
    """
    rows = partial(piece_of, path, piece, fields.columns)
    if lists:
        return _lists(rows(), str(path), fields)
    pairs = PairFile(str(path), rows, partial(pair, fields=fields), queries=piece.group)
    return pairs.items()


def _rows(path: Path | Stream, fields: RequestFields) -> Iterator[Row]:
    formats = "JSONL, CSV, TSV, Parquet, TREC run"
    return read_rows(path, "candidates", formats, fields.columns)


def _run(
    path: Path, queries: Path | Stream, corpus: str | Stream, fields: RequestFields, spool: Spool
) -> RequestFile:
    named = Fields(fields.id, fields.text, fields.columns)
    texts = RunTexts(path, queries, corpus, named, spool)
    pairs = PairFile(str(path), partial(run_rows, path), texts.pair, best_first=True)
    return RequestFile(chain(texts.rejections, pairs.items()), pairs.share)


def _table(path: Path, fields: RequestFields) -> RequestFile:
    rows_of = partial(_rows, path, fields)
    lists, _ = _kind(rows_of(), str(path), fields)
    if not lists:
        pairs = PairFile(str(path), rows_of, partial(pair, fields=fields))
        return RequestFile(pairs.items(), pairs.share)
    rows = MeasuredRows(path, rows_of())
    return RequestFile(_lists(iter(rows), str(path), fields), rows.share)


def _kind(rows: Iterator[Row], shown: str, fields: RequestFields) -> tuple[bool, Iterator[Row]]:
    """Return whether the rows are lists rather than pairs, by the first valid row, and all rows.

    Raises:
        CorpusError: None of the first PROBED_ROWS rows is valid.
    """
    probed: list[Row] = []
    reason: tuple[Row, RecordError] | None = None
    for row in islice(rows, PROBED_ROWS):
        probed.append(row)
        if holds_list(row[0], fields):
            return True, chain(probed, rows)
        if isinstance(row[0], RecordError):
            continue
        try:
            if fields.documents:
                # A given list field rules out pairs.
                listed(row[0], fields)
            pair(row[0], fields)
        except RecordError as error:
            reason = reason or (row, error)
        else:
            return False, chain(probed, rows)
    if reason is not None:
        (_, line, _), why = reason
        place = shown if line is None else f"{shown}:{line}"
        raise CorpusError(
            f"{place}: neither a query with a list of documents nor a pair: {why}",
            code="fields-not-found",
            path=shown,
        ) from why
    return True, chain(probed, rows)


def _stream(rows: Iterator[Row], shown: str, fields: RequestFields) -> Items:
    """Yield the requests of rows that can be read only once."""
    lists, every = _kind(rows, shown, fields)
    if lists:
        return _lists(every, shown, fields)
    return adjacent_requests(shown, every, partial(pair, fields=fields))


def _lists(rows: Iterator[Row], shown: str, fields: RequestFields) -> Items:
    for row in rows:
        try:
            request = listed(row[0], fields)
        except RecordError as error:
            yield rejection(shown, row, error)
            continue
        for reason in request.reasons:
            yield rejection(shown, row, reason)
        query = Query(request.query_id or str(row[2]), request.query)
        yield Request(query, request.candidates, request.fields, request.unnamed)


def _unknown() -> float | None:
    return None
