"""Queries with their positives, and the rows of these in an index."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from ettin_cli.corpus import RecordError, has_surrogate
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.files import query_of, query_record, without_spaces
from ettin_cli.files.requests import Example, Spool, example
from ettin_cli.index import Index
from ettin_cli.records import Qrels, Query, Reporter, require_type


@dataclass(frozen=True, slots=True)
class Positive:
    """A text that answers a query.

    Args:
        text: None for a judged document, whose best passage is the text.
        rows: Its passages in the index; empty if it is not indexed.
    """

    text: str | None
    rows: Sequence[int]


@dataclass(frozen=True, slots=True)
class Sought:
    """A query and its positives."""

    query: Query
    positives: Sequence[Positive]


def squeezed(text: str) -> str:
    r"""Return a text without white space, to compare texts.

    >>> squeezed(" At  nine. ")
    'Atnine.'
    """
    return "".join(text.split())


def judged(index: Index, queries: Sequence[Query], qrels: Qrels) -> Iterator[Sought]:
    """Yield queries with the indexed documents judged relevant."""
    relevant = {
        query_id: [doc_id for doc_id, relevance in judgements.items() if relevance > 0]
        for query_id, judgements in qrels.items()
    }
    names = [without_spaces(query.query_id) for query in queries]
    wanted = {doc_id for name in names for doc_id in relevant.get(name, ())}
    rows: dict[str, array[int]] = defaultdict(lambda: array("q"))
    for row, doc_id in enumerate(map(without_spaces, index.doc_ids())):
        if doc_id in wanted:
            rows[doc_id].append(row)
    for name, query in zip(names, queries, strict=True):
        there = [doc_id for doc_id in relevant.get(name, ()) if doc_id in rows]
        yield Sought(query, [Positive(None, rows[doc_id]) for doc_id in there])


def sought_record(sought: Sought) -> list[Any]:
    """Return a query and its positives as a value of JSON."""
    positives = [[positive.text, list(positive.rows)] for positive in sought.positives]
    return [query_record(sought.query), positives]


def sought_of(record: Sequence[Any]) -> Sought:
    """Return the query and the positives of a record.

    >>> sought_of([["1", "ferry"], [["It sails.", [7]]]]).positives
    [Positive(text='It sails.', rows=[7])]
    """
    query, positives = record
    return Sought(query_of(query), [Positive(text, rows) for text, rows in positives])


PositiveRow = Mapping[str, Any] | Example


class PositiveExamples:
    """Queries with their positives, from rows of training data.

    All rows of a query are combined, since a positive in one row must not become a negative of
    another. The texts are stored in a temporary file, and only offsets are held in memory.
    """

    def __init__(self) -> None:
        self.spool = Spool()
        self.offsets: dict[int, array[int]] = defaultdict(lambda: array("q"))
        self.texts: set[int] = set()
        self.added = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.spool.__exit__()

    def add(self, row: PositiveRow) -> None:
        """Add a row; empty positives are ignored.

        Raises:
            CorpusError: The row has no query or no positive.
        """
        if isinstance(row, Example):
            held = row
        else:
            if has_surrogate(dict(row)):
                raise CorpusError(f"row {self.added + 1}: lone surrogate, not a valid character")
            try:
                held = example_with_positive(row)
            except RecordError as error:
                raise CorpusError(f"row {self.added + 1}: {error}") from error
        self.added += 1
        positives = [text for text in held.positives if text.strip()]
        place = self.spool.add([held.query_id, held.query, positives])
        self.offsets[_key(squeezed(held.query))].append(place)
        self.texts.update(_key(squeezed(text)) for text in positives)

    def __len__(self) -> int:
        return len(self.offsets)

    def sought(self, index: Index, reporter: Reporter) -> Iterator[Sought]:
        """Yield the queries in order of their first rows; a missing id is the query's number."""
        rows = rows_of_texts(index, self.texts, reporter)
        for number, offsets in enumerate(self.offsets.values(), start=1):
            kept = [self.spool.get(place) for place in offsets]
            query_id = next((name for name, _, _ in kept if name is not None), str(number))
            texts = {_key(squeezed(text)): text for *_, texts in kept for text in texts}
            positives = [Positive(text, rows.get(key, ())) for key, text in texts.items()]
            yield Sought(Query(query_id, kept[0][1]), positives)


@contextmanager
def sought_in(
    index: Index,
    queries: Iterable[Query | PositiveRow],
    qrels: Qrels | None,
    reporter: Reporter,
) -> Iterator[tuple[Iterable[Sought], int]]:
    """Yield queries with their positives in an index, and their number.

    Args:
        queries: Queries with `qrels`; else rows of training data.

    Raises:
        CorpusError: A row has no query or no positive.
        InvalidArgumentError: A query is of another type.
    """
    if qrels is not None:
        asked = [_query(one) for one in queries]
        yield judged(index, asked, qrels), len(asked)
        return
    with PositiveExamples() as rows:
        for one in queries:
            rows.add(_row(one))
        yield rows.sought(index, reporter), len(rows)


def _query(one: Query | PositiveRow) -> Query:
    require_type(one, (Query,), "each of queries")
    assert isinstance(one, Query)
    return one


def _row(one: Query | PositiveRow) -> PositiveRow:
    if not isinstance(one, Query):
        return one
    raise InvalidArgumentError("queries need judgements: pass qrels", argument="qrels")


def example_with_positive(record: object) -> Example:
    """Return the example in a row.

    Raises:
        RecordError: The row has no query, or no positive with text.
    """
    found = example(record)
    if not any(text.strip() for text in found.positives):
        raise RecordError('"positive" has no text')
    return found


def rows_of_texts(
    index: Index, wanted: set[int], reporter: Reporter
) -> Mapping[int, Sequence[int]]:
    """Return the rows of each wanted text that is a passage or document of an index, by key."""
    rows_by_key: dict[int, array[int]] = defaultdict(lambda: array("q"))
    with reporter.track("finding positives", len(index.passages), "passages") as advance:
        for rows, title, texts in _documents(index):
            pieces = [squeezed(text) for text in texts]
            held = [(piece, range(row, row + 1)) for row, piece in zip(rows, pieces, strict=True)]
            if len(texts) > 1:
                held.append(("".join(pieces), rows))
            for piece, span in held:
                for key in {_key(piece), _key(squeezed(title) + piece)} & wanted:
                    rows_by_key[key].extend(span)
            advance(len(rows))
    return rows_by_key


def _documents(index: Index) -> Iterator[tuple[range, str, list[str]]]:
    """Yield the rows of each document, its title and the texts of its passages."""
    begin, of, texts = 0, ("", ""), list[str]()
    for row, (doc_id, title, text) in enumerate(_passages(index)):
        if texts and of != (doc_id, title):
            yield range(begin, row), of[1], texts
            begin, texts = row, []
        of = (doc_id, title)
        texts.append(text)
    if texts:
        yield range(begin, begin + len(texts)), of[1], texts


def _passages(index: Index) -> Iterable[tuple[str, str, str]]:
    for columns in index.passages.blocks("doc_id", "title", "text"):
        yield from zip(*(column.to_pylist() for column in columns), strict=True)


def _key(text: str) -> int:
    import xxhash

    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
