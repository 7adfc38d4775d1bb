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
LONE = "lone surrogate, which is not a valid character"
SURROGATE = re.compile("[\ud800-\udfff]")
# Larger JSON integers are parsed as floats, so different ones become equal.
EXACT_BELOW = 2**63


class RecordError(Exception):
    """A record is not a document; the message is the reason.

    Args:
        names: The names of its fields, if known.
        missing: The field that it lacks under all usual names: query, documents or text.
    """

    def __init__(
        self, reason: str, names: Sequence[str] = (), *, missing: str | None = None
    ) -> None:
        super().__init__(reason)
        self.names, self.missing = names, missing


class LoneSurrogateError(RecordError):
    """A record contains half of a surrogate pair, which is not a character.

    Args:
        record: The parsed record; only the strings with such a half are unusable.
    """

    def __init__(self, reason: str, record: object) -> None:
        super().__init__(reason)
        self.record = record


class NoTextFieldError(RecordError):
    """A record has no field that could be its text."""


@dataclass(frozen=True, slots=True)
class Fields:
    """How records are read: the names or paths of their fields (None: the usual), the encoding.

    Args:
        columns: The column names of a CSV or TSV file without a header row.
        encoding: The encoding of text without a byte order mark; None: it is detected.
    """

    id: str | None = None
    text: str | None = None
    columns: tuple[str, ...] = ()
    encoding: str | None = None

    def id_of(self, names: Mapping[str, Any]) -> str | None:
        """Return the name of the id field, or None if there is none."""
        wanted = [self.id] if self.id else ID_FIELDS
        return next((name for name in wanted if has_field(names, name)), None)

    def text_of(self, names: Mapping[str, Any]) -> str:
        """Return the name of the text field.

        Raises:
            NoTextFieldError: No field has such a name.
        """
        wanted = [self.text] if self.text else TEXT_FIELDS
        field = next((name for name in wanted if has_field(names, name)), None)
        if field is None:
            missing = None if self.text else "text"
            raise NoTextFieldError(f'no "{self.text or "text"}" field', missing=missing)
        return field


def record_document(
    record: object,
    fields: Fields,
    fallback_id: str,
    lines: Sequence[int] = (),
    *,
    blank: bool = False,
) -> Document:
    """Return the document of a record; its other fields become metadata.

    Args:
        blank: Whether the text may be empty.

    Raises:
        RecordError: It has no text, an id that is neither a string nor a number, or metadata
            that is nested too deeply to be stored.
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
    """Return a record as parsed, even if it contains a lone surrogate."""
    return record.record if isinstance(record, LoneSurrogateError) else record


def without_surrogates(
    record: object, needed: Collection[str], lists: Collection[str]
) -> tuple[object, list[str]]:
    """Return a record without values that contain a lone surrogate, and what was removed and why.

    Args:
        needed: Required fields.
        lists: Fields whose elements are removed one by one: each is replaced by a
            `RecordError`, so that the others keep their positions.

    Raises:
        LoneSurrogateError: A required field contains a lone surrogate.
    """
    if not isinstance(record, LoneSurrogateError):
        return record, []
    if not isinstance(record.record, dict):
        raise record
    kept: dict[str, object] = {}
    reasons = []
    for name, value in record.record.items():
        if isinstance(value, list) and name in lists:
            items = [RecordError(LONE) if has_surrogate(item) else item for item in value]
            rejected = [at for at, item in enumerate(items) if isinstance(item, RecordError)]
            reasons += [f"{name}[{at}]: {LONE}" for at in rejected]
            kept[name] = items
        elif not has_surrogate([name, value]):
            kept[name] = value
        elif name in needed:
            raise record
        else:
            reasons.append(f"field {name!a} is skipped: {LONE}")
    return kept, reasons


def has_surrogate(value: object) -> bool:
    r"""Return whether a JSON value contains half of a surrogate pair in any string.

    >>> has_surrogate({"a": ["ferry", "\ud800"]}), has_surrogate(["ferry", 1, None])
    (True, False)
    """
    level = [value]
    while level:
        if any(isinstance(item, str) and SURROGATE.search(item) for item in level):
            return True
        names = [name for item in level if isinstance(item, dict) for name in item]
        inner = [
            item for outer in level if isinstance(outer, (dict, list)) for item in _inner(outer)
        ]
        level = names + inner
    return False


def _string(value: object, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RecordError(f'"{name}" is not a string')
    return value


def shallow(value: object, name: str) -> object:
    """Return a value that can be serialised to JSON again.

    Raises:
        RecordError: It is nested too deeply.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner for outer in level if isinstance(outer, (dict, list)) for inner in _inner(outer)
        ]
        if not level:
            return value
    raise RecordError(f'"{name}" is nested more than {MAX_DEPTH} deep')


def _inner(value: dict[str, object] | list[object]) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value


def id_text(value: object, name: str) -> str:
    """Return an id as text.

    Raises:
        RecordError: It is neither a string nor a number, or a number that was parsed inexactly.
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
