"""The fields of a request's body, each checked for its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ettin_cli.serving.problems import invalid


def string_of(body: Mapping[str, Any], name: str) -> str:
    """Return a string; "" if it is missing.

    Raises:
        ProblemError: It is something else.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(f"`{name}` must be a string, not {kind_of(value)}", name)
    return value or ""


def flag_of(body: Mapping[str, Any], name: str) -> bool | None:
    """Return a boolean, which may be given as "true" or "false"; None if it is missing.

    Raises:
        ProblemError: It is something else.
    """
    value = body.get(name)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value is not None and not isinstance(value, bool):
        raise invalid(f"`{name}` must be true or false, not {kind_of(value)}", name)
    return value


def count_of(body: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number of at least 0; None if it is missing.

    Raises:
        ProblemError: It is something else.
    """
    value = body.get(name)
    if isinstance(value, bool):
        raise invalid(f"`{name}` must be a whole number, not a boolean", name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (isinstance(value, int) and value >= 0):
        return value
    if name == "truncate_prompt_tokens" and value == -1:
        return None
    shown = value if isinstance(value, int | float) else kind_of(value)
    raise invalid(f"`{name}` must be a whole number of at least 0, not {shown}", name)


def number_of(body: Mapping[str, Any], name: str) -> float | None:
    """Return a number; None if it is missing.

    Raises:
        ProblemError: It is something else.
    """
    value = body.get(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise invalid(f"`{name}` must be a number, not {kind_of(value)}", name)


def unicode_of(text: str, name: str) -> str:
    """Return a text, unless it has half of a surrogate pair.

    Raises:
        ProblemError: It has.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid(
            f"`{name}` has half of a surrogate pair, which is no character", name
        ) from None
    return text


def kind_of(value: object) -> str:
    """Return a JSON value's type in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "another value")
