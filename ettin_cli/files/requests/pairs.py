"""Rows of one query and one document -> requests, wherever the rows of a query stand."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from ettin_cli.corpus import RecordError, Row
from ettin_cli.files.requests.fields import Pair, placed
from ettin_cli.files.requests.spool import Spool
from ettin_cli.records import Candidate, Query, Rejection, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OTHER_QUERY = "stood for another query before"

Parse = Callable[[object], Pair]
Rows = Callable[[], Iterator[Row]]


class PairFile:
    """A file of pairs, read once to learn which rows belong together, and again to take them.

    Memory holds a number a row and a hash a query. What was taken is measured by the length of
    texts, once the first reading has told their sum. Where the rows of a query are not adjacent
    they are copied to a temporary file, so that every format can be read in any order.

    Args:
        shown: The file's name in rejections.
        rows: Reads the rows from the beginning, each time it is called.
        parse: Makes a pair of a record, or raises `RecordError`.
        best_first: Order a query's documents by their scores rather than by their rows.
    """

    def __init__(self, shown: str, rows: Rows, parse: Parse, *, best_first: bool = False) -> None:
        self.shown, self.rows, self.parse, self.best_first = shown, rows, parse, best_first
        self.total = self.read = 0

    def items(self) -> Iterator[Request | Rejection]:
        """Yield the rows that are none, then the requests in the order of their first rows."""
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
            for number, request in enumerate(requests(pairs), start=1):
                self.read += sum(_weight(request.query.text, one) for one in request.candidates)
                yield self._finished(request, number)

    def share(self) -> float | None:
        """Return the share of the rows that were taken, by the length of their texts."""
        return self.read / self.total if self.total else None

    def _good(self) -> Iterator[tuple[Pair, object]]:
        """Yield the rows that were not rejected, as the pair and as they were read."""
        numbers = _Numbers(self.parse)
        for record, _, _ in self.rows():
            try:
                yield numbers.of(record)[1], record
            except RecordError:
                continue

    def _sorted(self, order: NDArray[np.int64], stack: ExitStack) -> Iterator[Pair]:
        spool = stack.enter_context(Spool())
        places = array("q", (spool.add(record) for _, record in self._good()))
        return (self.parse(spool.get(places[at])) for at in order)

    def _finished(self, request: Request, number: int) -> Request:
        if self.best_first:
            request = replace(request, candidates=_best_first(request.candidates))
        return numbered(request, number)


class _Numbers:
    """Numbers queries in the order in which they first appear, and keeps hashes of them only."""

    def __init__(self, parse: Parse) -> None:
        self.parse = parse
        self.known: dict[int, int] = {}
        self.texts = array("Q")

    def of(self, record: object) -> tuple[int, Pair]:
        """Return the number of the query of a record, and the pair that it is.

        Raises:
            RecordError: It is no pair, or its query_id stood for another query before.
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
    """Yield requests from rows that cannot be read twice.

    The rows of a query must be adjacent; a query that comes again is rejected.
    """
    seen: set[int] = set()
    waiting: list[Pair] = []
    number = 0
    for row in rows:
        try:
            pair = parse(row[0])
            same = bool(waiting) and pair.key == waiting[0].key
            if same and pair.query != waiting[0].query:
                raise RecordError(f'query_id "{pair.query_id}" {OTHER_QUERY}')
            if not same and _hash(pair.key) in seen:
                raise RecordError("its query came before; in a stream its rows must be adjacent")
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
    """Return a request whose query has an id: its own, else its number."""
    query = request.query
    return replace(request, query=Query(query.query_id or str(number), query.text))


def requests(pairs: Iterable[Pair]) -> Iterator[Request]:
    """Yield a request for each run of pairs with the same query; its id is "" if it has none."""
    for _, group in groupby(pairs, key=lambda pair: pair.key):
        rows = list(group)
        candidates = placed(enumerate(pair.candidate for pair in rows))
        unnamed = sum(not pair.candidate.passage.doc_id for pair in rows)
        yield Request(Query(rows[0].query_id or "", rows[0].query), candidates, unnamed=unnamed)


def rejection(shown: str, row: Row, error: RecordError) -> Rejection:
    """Return why a row was left out, and where it is."""
    _, line, number = row
    reason = str(error) if line else f"{error} (row {number})"
    return Rejection(shown, reason, line, error.missing)


def _hash(text: str) -> int:
    import xxhash

    return xxhash.xxh3_128_intdigest(text.encode("utf-8", "surrogatepass"))


def _weight(query: str, candidate: Candidate) -> int:
    return len(query) + len(candidate.passage.content)


def _best_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    ordered = sorted(candidates, key=lambda one: -(one.retrieval_score or 0.0))
    return [replace(candidate, passage_id=place) for place, candidate in enumerate(ordered)]
