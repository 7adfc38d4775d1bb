"""JSON as programs write it: one value, or several in a row, with NaN and lone surrogates."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator

from ettin_cli.corpus.content import count_replaced, repaired
from ettin_cli.corpus.encodings import is_utf8
from ettin_cli.corpus.records import LONE, LoneSurrogateError, RecordError, has_surrogate
from ettin_cli.storage import UnreadableError

# What a parser rejects that others write: not a number, infinite numbers, lone surrogates.
_UNUSUAL = re.compile(r"NaN|Infinity|\\u[dD]|[eE]\+?\d{3}")
_BLANKS = re.compile(r"[ \t\r\n\ufeff]*")
# Strings are matched so that what looks like a comment inside of one is kept.
_COMMENTS = re.compile(r'("(?:\\.|[^"\\])*(?:"|\Z))|//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)')
NOT_UTF8 = "not UTF-8"
_LAST_COMMAS = re.compile(r'("(?:\\.|[^"\\])*(?:"|\Z))|,(?=\s*[\]}])')


def parsed(content: bytes, line: int = 0) -> object | RecordError:
    """Return a JSON value, or the reason it is invalid; NaN and infinite numbers become null.

    Args:
        line: Its line, if a few invalid bytes are to be replaced.
    """
    import orjson

    try:
        value: object = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        # The parser misreports bytes that are not UTF-8.
        reason = f"broken JSON: {error.msg} at column {error.colno}"
        if line and (b"\0" in content or not is_utf8(content)):
            return _repaired(content, line)
        if not is_utf8(content):
            return RecordError(NOT_UTF8)
        record = leniently(content.decode())
        if record is None:
            return RecordError(reason)
        return LoneSurrogateError(LONE, record) if has_surrogate(record) else record
    return value


def _repaired(content: bytes, line: int) -> object | RecordError:
    found = repaired([content.decode("utf-8", "surrogateescape")])
    if found:
        [text], replaced = found
        value = parsed(text.encode())
        if not isinstance(value, RecordError):
            count_replaced(replaced, line)
            return value
    return parsed(content)


def leniently(text: str) -> object | None:
    """Return JSON with NaN and infinite numbers as null, and lone surrogates; None if invalid."""
    if not _UNUSUAL.search(text):
        return None
    try:
        value: object = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return value


def without_comments(text: str) -> str:
    r"""Return JSON without the comments and last commas that configuration files have.

    >>> without_comments('{"a": "x // y", // why\n "b": [1, 2,],}')
    '{"a": "x // y", \n "b": [1, 2]}'
    """
    bare = _COMMENTS.sub(lambda match: match[1] or "", text)
    return _LAST_COMMAS.sub(lambda match: match[1] or "", bare)


def each_value(text: str) -> Iterator[tuple[object, int]]:
    """Yield the elements of an array, or values one after another, each with its first line.

    Raises:
        UnreadableError: The rest is broken; the values before it have been yielded.
    """
    at, line, counted = _after_blanks(text, 0), 1, 0
    in_array = text[at : at + 1] == "["
    at = _after_blanks(text, at + 1) if in_array else at
    while at < len(text) and not (in_array and text[at] == "]"):
        line += text.count("\n", counted, at)
        counted = at
        try:
            value, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise UnreadableError(f"broken JSON: {error.msg} at line {error.lineno}") from error
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"broken JSON: nested too deeply at line {line}") from error
        yield value, line
        at = _after_blanks(text, end)
        if in_array and at < len(text) and text[at] == ",":
            at = _after_blanks(text, at + 1)
        elif in_array and text[at : at + 1] != "]":
            ended = line + text.count("\n", counted, at)
            raise UnreadableError(f"broken JSON: an array that does not end, at line {ended}")


def _after_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def _number(digits: str) -> object:
    """Return an integer as the usual parser reads it."""
    import orjson

    return orjson.loads(digits)


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _no_number(_name: str) -> None:
    """Return null for NaN and infinite numbers."""


_DECODER = json.JSONDecoder(parse_int=_number, parse_float=_finite, parse_constant=_no_number)
