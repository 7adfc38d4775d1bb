"""Fields of a record, by name or by a dotted path into nested objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def has_field(record: Mapping[str, Any], name: str) -> bool:
    """Return whether a record has a field of this name or at this dotted path.

    A field whose name itself contains the dots takes precedence.

    >>> has_field({"node": {"text": "a"}}, "node.text"), has_field({"node": "a"}, "node.text")
    (True, False)
    """
    if name in record:
        return True
    head, dot, rest = name.partition(".")
    inner = record.get(head) if dot else None
    return isinstance(inner, dict) and has_field(inner, rest)


def field_of(record: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field of a record, by name or dotted path.

    >>> field_of({"node": {"text": "a"}, "node.text": "b"}, "node.text")
    'b'
    """
    if name in record:
        return record[name]
    head, _, rest = name.partition(".")
    return field_of(record[head], rest)


def without_fields(record: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a record without the given fields and paths, and without objects this empties.

    >>> without_fields({"id": 1, "node": {"text": "a"}, "from": {"a": 1, "b": 2}},
    ...                ["node.text", "from.a"])
    {'id': 1, 'from': {'b': 2}}
    """
    kept = dict(record)
    for name in names:
        if name in kept:
            del kept[name]
        elif has_field(kept, name):
            head, _, rest = name.partition(".")
            kept[head] = without_fields(kept[head], [rest])
            if not kept[head]:
                del kept[head]
    return kept
