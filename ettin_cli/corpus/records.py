"""A record of a table -> a document."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ettin_cli.corpus.paths import field_of, has_field, without_fields
from ettin_cli.records import Document

ID_FIELDS = ("_id", "id", "doc_id", "docno")
TEXT_FIELDS = ("text", "body", "content", "contents")
TITLE_FIELD = "title"
MAX_DEPTH = 100
LONE = "a lone surrogate, which is no character"
SURROGATE = re.compile("[\ud800-\udfff]")
# JSON's larger whole numbers are read as floats, many of them as the same.
EXACT_BELOW = 2**63


class RecordError(Exception):
    """A record is no document; the message is the reason.

    Args:
        names: The fields it should have had, where they are known.
        missing: What it lacks under all of the usual names: query, documents or text.
    """

    def __init__(
        self, reason: str, names: Sequence[str] = (), *, missing: str | None = None
    ) -> None:
        super().__init__(reason)
        self.names, self.missing = names, missing


class LoneSurrogateError(RecordError):
    """A record holds half of a surrogate pair, which is no character of any text.

    Args:
        record: What was read; only the strings that hold such a half are unusable.
    """

    def __init__(self, reason: str, record: object) -> None:
        super().__init__(reason)
        self.record = record


class NoTextFieldError(RecordError):
    """A record has no field that could be its text."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The names or dotted paths of a record's id and text fields; None: the usual ones.

    Args:
        columns: The names of the columns of a CSV or TSV whose first row does not have them.
    """

    id: str | None = None
    text: str | None = None
    columns: tuple[str, ...] = ()

    def id_of(self, names: Mapping[str, Any]) -> str | None:
        """Return the name of the id field, or None if there is none."""
        wanted = [self.id] if self.id else ID_FIELDS
        return next((name for name in wanted if has_field(names, name)), None)

    def text_of(self, names: Mapping[str, Any]) -> str:
        """Return the name of the text field.

        Raises:
            NoTextFieldError: There is none.
        """
        wanted = [self.text] if self.text else TEXT_FIELDS
        found = next((name for name in wanted if has_field(names, name)), None)
        if found is None:
            missing = None if self.text else "text"
            raise NoTextFieldError(f'no "{self.text or "text"}" field', missing=missing)
        return found


def record_document(
    record: object,
    fields: Fields,
    fallback_id: str,
    lines: Sequence[int] = (),
    *,
    blank: bool = False,
) -> Document:
    """Return the document that a record holds; its other fields become metadata.

    Args:
        blank: Whether it may be without a text.

    Raises:
        RecordError: It has no text, an id that is neither a string nor a number, or metadata
            that is nested too deep to be stored.
    """
    if not isinstance(record, dict):
        raise RecordError("not a JSON object")
    text_field = fields.text_of(record)
    id_field = fields.id_of(record)
    if fields.id and id_field is None:
        raise RecordError(f'no "{fields.id}" field')
    text, title = (
        _string(field_of(record, text_field), text_field),
        _string(record.get(TITLE_FIELD), TITLE_FIELD),
    )
    if not blank and not text.strip() and not title.strip():
        raise RecordError("empty text")
    rest = without_fields(record, [text_field, TITLE_FIELD, *([id_field] if id_field else [])])
    return Document(
        doc_id=fallback_id if id_field is None else _id(field_of(record, id_field), id_field),
        text=text.replace("\r\n", "\n").replace("\r", "\n"),
        title=" ".join(title.split()),
        metadata={name: shallow(value, name) for name, value in rest.items()},
        lines=lines,
    )


def as_read(record: object) -> object:
    """Return a record as it was read, also one that holds a lone surrogate."""
    return record.record if isinstance(record, LoneSurrogateError) else record


def spared(
    record: object, needed: Collection[str], lists: Collection[str]
) -> tuple[object, list[str]]:
    """Return a record without what holds a lone surrogate, and what was left out and why.

    Args:
        needed: Fields without which there is nothing to keep.
        lists: Fields whose elements are left out one by one: each is replaced by a
            `RecordError`, so that the others keep their places.

    Raises:
        LoneSurrogateError: One of those holds a lone surrogate.
    """
    if not isinstance(record, LoneSurrogateError):
        return record, []
    if not isinstance(record.record, dict):
        raise record
    kept: dict[str, object] = {}
    reasons = []
    for name, value in record.record.items():
        if isinstance(value, list) and name in lists:
            found = [RecordError(LONE) if has_surrogate(one) else one for one in value]
            places = [at for at, one in enumerate(found) if isinstance(one, RecordError)]
            reasons += [f"{name}[{at}]: {LONE}" for at in places]
            kept[name] = found
        elif not has_surrogate([name, value]):
            kept[name] = value
        elif name in needed:
            raise record
        else:
            reasons.append(f"field {name!a} is left out: {LONE}")
    return kept, reasons


def has_surrogate(value: object) -> bool:
    r"""Say whether a JSON value holds half of a surrogate pair in any of its strings.

    >>> has_surrogate({"a": ["ferry", "\ud800"]}), has_surrogate(["ferry", 1, None])
    (True, False)
    """
    level = [value]
    while level:
        if any(isinstance(one, str) and SURROGATE.search(one) for one in level):
            return True
        names = [name for one in level if isinstance(one, dict) for name in one]
        inner = [one for outer in level if isinstance(outer, (dict, list)) for one in _inner(outer)]
        level = names + inner
    return False


def _string(value: object, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RecordError(f'"{name}" is not a string')
    return value


def shallow(value: object, name: str) -> object:
    """Return a value that JSON can be made of again.

    Raises:
        RecordError: It is nested too deep.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [one for outer in level if isinstance(outer, (dict, list)) for one in _inner(outer)]
        if not level:
            return value
    raise RecordError(f'"{name}" is nested more than {MAX_DEPTH} deep')


def _inner(value: dict[str, object] | list[object]) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value


def id_text(value: object, name: str) -> str:
    """Return an id as text.

    Raises:
        RecordError: It is neither a string nor a number, or a number that was read inexactly.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RecordError(f'"{name}" is neither a string nor a number')
    if isinstance(value, float) and abs(value) >= EXACT_BELOW:
        raise RecordError(f'"{name}" is a number too large to be read exactly; make it a string')
    return str(value)


def _id(value: object, name: str) -> str:
    text = id_text(value, name)
    if not text.strip():
        raise RecordError(f'"{name}" is empty')
    return text
