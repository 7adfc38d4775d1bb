"""The types of a table's columns -> the column of which no value can be trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ettin_cli.files.requests import DOCUMENT, POSITIVE, QUERY, name_of, negative_fields
from ettin_cli.training.rows import LABEL, SCORE, are_scored

# Types of Arrow whose values are not strings in any row. Others, such as times, are read as text.
_NO_TEXT = re.compile(r"(u?int\d+|halffloat|float|double|bool|null|struct|map)\b")
_NO_NUMBER = re.compile(r"(bool|null|struct|map|date\d+|time\d+|timestamp|duration)\b")
_LIST = re.compile(r"(?:large_|fixed_size_)?list(?:_view)?<[^:]*: (.*)")


def unfit_column(types: Mapping[str, str]) -> str | None:
    """Return the column of a table, its type and the type wanted, if no row can be an example.

    Args:
        types: By column, as Arrow names them.

    >>> unfit_column({"query": "string", "document": "list<element: string>", "label": "double"})
    'the column document has the type list<element: string>, not string'
    >>> unfit_column({"query": "string", "document": "string", "label": "int64"})
    """
    scored = are_scored(types)
    query = name_of(types, QUERY)
    if scored is None or query is None:
        return None
    # The text of a query may be nested beside its id.
    if not _holds_text(types[query]) and not (scored and types[query].startswith("struct<")):
        return _unfit(query, types, "string")
    if not scored:
        texts = [POSITIVE, *negative_fields(types)]
        unfit = next((name for name in texts if not _holds_texts(types[name])), None)
        return _unfit(unfit, types, "string or list of strings") if unfit else None
    document = name_of(types, DOCUMENT)
    if document and not _holds_text(types[document]):
        return _unfit(document, types, "string")
    scores = [name for name in (SCORE, LABEL) if name in types]
    if all(_NO_NUMBER.match(types[name]) or _LIST.match(types[name]) for name in scores):
        return _unfit(scores[0], types, "a number")
    return None


def _holds_text(kind: str) -> bool:
    return not _NO_TEXT.match(kind) and not _LIST.match(kind)


def _holds_texts(kind: str) -> bool:
    """Return whether a type is that of texts or lists of texts, or of a column without values."""
    listed = _LIST.match(kind)
    return kind == "null" or _holds_text(listed[1] if listed else kind)


def _unfit(name: str, types: Mapping[str, str], wanted: str) -> str:
    return f"the column {name} has the type {types[name]}, not {wanted}"
