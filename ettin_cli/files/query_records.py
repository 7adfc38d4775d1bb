"""Queries as values of JSON, which a driver writes for its workers."""

from __future__ import annotations

from collections.abc import Sequence

from ettin_cli.records import Query


def query_record(query: Query) -> list[str]:
    """Return a query as a value of JSON.

    >>> query_record(Query("1", "ferry", ("boat",)))
    ['1', 'ferry', 'boat']
    """
    return [query.query_id, *query.every_form]


def query_of(record: Sequence[str]) -> Query:
    """Return the query of a record.

    >>> query_of(["1", "ferry", "boat"])
    Query(query_id='1', text='ferry', forms=('boat',))
    """
    query_id, text, *forms = record
    return Query(query_id, text, tuple(forms))
