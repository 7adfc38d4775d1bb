"""A record of a table -> a document."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ettin_cli.corpus.paths import field_of, has_field, without_fields
from ettin_cli.records import Document

ID_FIELDS = ("_id", "id", "doc_id", "docno")
TEXT_FIELDS = (
    *("text", "body", "content", "contents", "page_content", "passage", "document", "segment"),
    *("paragraph", "chunk", "chunk_text", "full_text", "raw_text", "text_content", "body_text"),
)
TITLE_FIELD = "title"
MOST_NAMES, LONG_NAME = 12, 60

_MARKS = re.compile(r"(?<=[^\W_])[\W_]+(?=[^\W_])")
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


class ShortRowError(RecordError):
    """A row of a table ends before its last column.

    Args:
        record: The cells that it has, by column.
    """

    def __init__(self, reason: str, record: dict[str, Any], names: Sequence[str]) -> None:
        super().__init__(reason, names)
        self.record = record


class NoTextFieldError(RecordError):
    """A record has no field that could be its text."""


@dataclass(frozen=True, slots=True)
class Fields:
    """How records are read: the names or paths of their fields (None: the usual), the encoding.

    The usual names are found in any case, and with or without the marks between their words:
    `Page Content` is `page_content`.

    Args:
        columns: The column names of a CSV or TSV file without a header row.
        encoding: The encoding of text without a byte order mark; None: it is detected.
    """

    id: str | None = None
    text: str | None = None
    columns: tuple[str, ...] = ()
    title: str | None = None
    encoding: str | None = None

    def id_of(self, names: Mapping[str, Any]) -> str | None:
        """Return the name of the id field, or None if there is none."""
        return _name_of(names, self.id, ID_FIELDS)

    def title_of(self, names: Mapping[str, Any]) -> str | None:
        """Return the name of the title field, or None if there is none."""
        return _name_of(names, self.title, (TITLE_FIELD,))

    def text_of(self, names: Mapping[str, Any]) -> str:
        """Return the name of the text field, preferably of one with a text.

        Raises:
            NoTextFieldError: No field has such a name.
        """
        field = _name_of(names, self.text, TEXT_FIELDS)
        if field and not self.text and not text_of_value(names[field]):
            full = {
                name: value for name, value in names.items() if isinstance(value, str) and value
            }
            field = _name_of(full, None, TEXT_FIELDS) or field
        if field is None:
            missing = None if self.text else "text"
            reason = f'no "{self.text or "text"}" field'
            raise NoTextFieldError(reason + among(names), missing=missing)
        return field


def _name_of(names: Mapping[str, Any], given: str | None, usual: Sequence[str]) -> str | None:
    """Return the name or path of a field as it was given, else under one of its usual names."""
    if given:
        return given if has_field(names, given) else None
    return next((name for name in usual if name in names), None) or named_alike(names, usual)


def named_alike(names: Iterable[str], usual: Iterable[str]) -> str | None:
    """Return the name that is a usual one but for its case and the marks between its words."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(_plain(name), name)
    return next((plain[key] for key in map(_plain, usual) if key in plain), None)


def quoted(name: str) -> str:
    r"""Return a name in quotation marks, on one line and not too long.

    >>> print(quoted("a\nb"))
    "a\nb"
    """
    return json.dumps(
        name if len(name) <= LONG_NAME else f"{name[:LONG_NAME]}…", ensure_ascii=False
    )


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    """Return a name without case and without the marks between its words."""
    return _MARKS.sub("", name.strip().casefold())


def among(names: Iterable[str]) -> str:
    """Return the end of a message about a missing field: the fields that are there.

    >>> among(["id", "summary"])
    '; the fields are "id", "summary"'
    """
    every = list(names)
    if not every:
        return ""
    shown = ", ".join(map(quoted, every[:MOST_NAMES]))
    more = f" and {len(every) - MOST_NAMES:,} more" if len(every) > MOST_NAMES else ""
    return f"; the fields are {shown}{more}"


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
        raise RecordError(f'no "{fields.id}" field' + among(record))
    text = text_of_value(field_of(record, text_field))
    if text is None:
        raise RecordError(f'"{text_field}" is not a string')
    title_field = fields.title_of(record)
    title = _title(field_of(record, title_field)) if title_field else ""
    if not blank and not text.strip() and not (title or "").strip():
        raise RecordError("empty text")
    used = [text_field, *([id_field] if id_field else [])]
    # A title that is not a text stays in the metadata.
    rest = without_fields(
        record, used if title is None or not title_field else [*used, title_field]
    )
    return Document(
        doc_id=_id(record, id_field) or fallback_id,
        text=text.replace("\r\n", "\n").replace("\r", "\n"),
        title=" ".join((title or "").split()),
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


def text_of_value(value: object) -> str | None:
    r"""Return a text: a string, or the strings of a list as its lines; None if it is neither.

    >>> text_of_value(["It sails at nine.", None, "Bread is at noon."]), text_of_value({"a": 1})
    ('It sails at nine.\nBread is at noon.', None)
    """
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list):
        return None
    lines = [line for line in value if line is not None]
    return "\n".join(lines) if all(isinstance(line, str) for line in lines) else None


def _title(value: object) -> str | None:
    """Return a title: a string, a number as text, or strings with commas; None if it is another."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value) if math.isfinite(value) else ""
    text = text_of_value(value)
    return ", ".join(text.split("\n")) if text and isinstance(value, list) else text


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
    if isinstance(value, dict) and len(value) == 1:
        # As in exports of MongoDB: {"$oid": "..."}.
        ((key, inner),) = value.items()
        value = inner if key.startswith("$") else value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RecordError(f'"{name}" is neither a string nor a number')
    if isinstance(value, float) and abs(value) >= EXACT_BELOW:
        raise RecordError(f'"{name}" is a number too large to be read exactly; make it a string')
    return str(value)


def _id(record: Mapping[str, Any], name: str | None) -> str | None:
    """Return the id of a record under this name; None if it is null, NaN or empty."""
    value = field_of(record, name) if name else None
    if (
        name is None
        or value is None
        or value == ""
        or (isinstance(value, float) and value != value)
    ):
        return None
    text = id_text(value, name)
    if not text.strip():
        raise RecordError(f'"{name}" is empty')
    return text
