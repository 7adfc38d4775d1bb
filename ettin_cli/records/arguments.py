"""Checks of arguments whose wrong type would not fail by itself, or only far away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from ettin_cli.errors import InvalidArgumentError

T = TypeVar("T")


def require_list(values: object, argument: str) -> None:
    """Check that an argument is a list or another iterable, but not a string or mapping.

    A string would be taken as a list of its letters.

    Raises:
        InvalidArgumentError: It is something else.

    >>> require_list(["*.md"], "paths")
    >>> require_list("*.md", "paths")
    Traceback (most recent call last):
    ettin_cli.errors.InvalidArgumentError: paths must be a list, not str
    """
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InvalidArgumentError(
            f"{argument} must be a list, not {type(values).__name__}", argument=argument
        )


def listed(values: Iterable[T], argument: str) -> list[T]:
    """Return an argument as a list, after the check of `require_list`."""
    require_list(values, argument)
    return list(values)


def require_least(value: int | None, least: int, argument: str) -> None:
    """Check that a whole number is not too small; None is allowed.

    Raises:
        InvalidArgumentError: It is too small or not a whole number.

    >>> require_least(0, 1, "batch_size")
    Traceback (most recent call last):
    ettin_cli.errors.InvalidArgumentError: batch_size must be at least 1, not 0
    """
    if value is None:
        return
    require_type(value, (int,), argument)
    if value < least:
        raise InvalidArgumentError(
            f"{argument} must be at least {least}, not {value}", argument=argument, value=value
        )


def require_type(value: object, kinds: tuple[type, ...], argument: str) -> None:
    """Check the type of an argument or of a part of it.

    Raises:
        InvalidArgumentError: It is none of the types.

    >>> require_type(None, (str,), "query")
    Traceback (most recent call last):
    ettin_cli.errors.InvalidArgumentError: query must be str, not NoneType
    """
    if not isinstance(value, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise InvalidArgumentError(
            f"{argument} must be {names}, not {type(value).__name__}", argument=argument
        )
