"""Rows of one query and one document each, in any order -> requests."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from ettin_cli.corpus import RecordError, Row
from ettin_cli.files.requests.fields import PairRow, renumbered
from ettin_cli.files.requests.spool import Spool
from ettin_cli.records import Candidate, Query, Rejection, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OTHER_QUERY = "already has another query"

Parse = Callable[[object], PairRow]
Rows = Callable[[], Iterator[Row]]


class PairFile:
    """A file of pairs, read once to group the rows by query and again to yield them.

    Memory holds a number per row and a hash per query. Progress is measured by text length, whose
    sum the first pass computes. If the rows of a query are not adjacent, all rows are copied to a
    temporary file, so that every format can be read in any order.

    Args:
        shown: The file's name in rejections.
        rows: Returns the rows from the beginning at each call.
        parse: Returns the pair of a record, or raises `RecordError`.
        best_first: Order a query's documents by score rather than by row.
        queries: Number of queries before these, from which queries without an id are numbered.
    """

    def __init__(
        self,
        shown: str,
        rows: Rows,
        parse: Parse,
        *,
        best_first: bool = False,
        queries: int = 0,
    ) -> None:
        self.shown, self.rows, self.parse, self.best_first = shown, rows, parse, best_first
        self.queries = queries
        self.total = self.read = 0

    def items(self) -> Iterator[Request | Rejection]:
        """Yield the rejected rows, then the requests in the order of their first rows."""
        import numpy as np

        numbers = _Numbers(self.parse)
        groups = array("q")
        for row in self.rows():
            try:
                number, pair = numbers.of(row[0])
            except RecordError as error:
                yield rejection(self.shown, row, error)
                continue
            groups.append(number)
            self.total += _weight(pair.query, pair.candidate)
        order = np.frombuffer(groups, np.int64) if groups else np.empty(0, np.int64)
        with ExitStack() as stack:
            if (order[1:] < order[:-1]).any():
                pairs = self._sorted(np.argsort(order, kind="stable"), stack)
            else:
                pairs = (pair for pair, _ in self._good())
            for number, request in enumerate(requests(pairs), start=self.queries + 1):
                self.read += sum(
                    _weight(request.query.text, candidate) for candidate in request.candidates
                )
                yield self._finished(request, number)

    def share(self) -> float | None:
        """Return the share of the rows yielded so far, by text length."""
        return self.read / self.total if self.total else None

    def _good(self) -> Iterator[tuple[PairRow, object]]:
        """Yield the accepted rows, as pairs and as records."""
        numbers = _Numbers(self.parse)
        for record, _, _ in self.rows():
            try:
                yield numbers.of(record)[1], record
            except RecordError:
                continue

    def _sorted(self, order: NDArray[np.int64], stack: ExitStack) -> Iterator[PairRow]:
        spool = stack.enter_context(Spool())
        offsets = array("q", (spool.add(record) for _, record in self._good()))
        return (self.parse(spool.get(offsets[at])) for at in order)

    def _finished(self, request: Request, number: int) -> Request:
        if self.best_first:
            request = replace(request, candidates=_best_first(request.candidates))
        return numbered(request, number)


class _Numbers:
    """Numbers queries by first appearance, and stores only their hashes."""

    def __init__(self, parse: Parse) -> None:
        self.parse = parse
        self.known: dict[int, int] = {}
        self.texts = array("Q")

    def of(self, record: object) -> tuple[int, PairRow]:
        """Return the number of a record's query, and its pair.

        Raises:
            RecordError: The record is not a pair, or its query_id had another query before.
        """
        pair = self.parse(record)
        text = _hash(pair.query) & 0xFFFF_FFFF_FFFF_FFFF
        number = self.known.setdefault(_hash(pair.key), len(self.known))
        if number == len(self.texts):
            self.texts.append(text)
        if self.texts[number] != text:
            raise RecordError(f'query_id "{pair.query_id}" {OTHER_QUERY}')
        return number, pair


def adjacent_requests(
    shown: str, rows: Iterable[Row], parse: Parse
) -> Iterator[Request | Rejection]:
    """Yield requests from rows that can be read only once.

    The rows of a query must be adjacent; rows of an earlier query are rejected.
    """
    seen: set[int] = set()
    waiting: list[PairRow] = []
    number = 0
    for row in rows:
        try:
            pair = parse(row[0])
            same = bool(waiting) and pair.key == waiting[0].key
            if same and pair.query != waiting[0].query:
                raise RecordError(f'query_id "{pair.query_id}" {OTHER_QUERY}')
            if not same and _hash(pair.key) in seen:
                raise RecordError(
                    "the query appeared before; in a stream its rows must be adjacent"
                )
        except RecordError as error:
            yield rejection(shown, row, error)
            continue
        if waiting and not same:
            number += 1
            yield from (numbered(request, number) for request in requests(waiting))
            waiting.clear()
        seen.add(_hash(pair.key))
        waiting.append(pair)
    yield from (numbered(request, number + 1) for request in requests(waiting))


def numbered(request: Request, number: int) -> Request:
    """Return a request whose query has an id: its own or else its number."""
    query = request.query
    return replace(request, query=Query(query.query_id or str(number), query.text))


def requests(pairs: Iterable[PairRow]) -> Iterator[Request]:
    """Yield a request for each run of adjacent pairs with one query; a missing id is ""."""
    for _, group in groupby(pairs, key=lambda pair: pair.key):
        rows = list(group)
        candidates = renumbered(enumerate(pair.candidate for pair in rows))
        unnamed = sum(not pair.candidate.passage.doc_id for pair in rows)
        yield Request(Query(rows[0].query_id or "", rows[0].query), candidates, unnamed=unnamed)


def rejection(shown: str, row: Row, error: RecordError) -> Rejection:
    """Return the rejection of a row, with its place."""
    _, line, number = row
    reason = str(error) if line else f"{error} (row {number})"
    return Rejection(shown, reason, line, error.missing)


def key_hash(pair: PairRow) -> int:
    """Return a hash of the key that the rows of a query share."""
    return _hash(pair.key)


def _hash(text: str) -> int:
    import xxhash

    return xxhash.xxh3_128_intdigest(text.encode("utf-8", "surrogatepass"))


def _weight(query: str, candidate: Candidate) -> int:
    return len(query) + len(candidate.passage.content)


def _best_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    ordered = sorted(candidates, key=lambda candidate: -(candidate.retrieval_score or 0.0))
    return [replace(candidate, passage_id=place) for place, candidate in enumerate(ordered)]
