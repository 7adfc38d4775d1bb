"""Checks of arguments whose wrong type would not fail by itself, or only far away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ettin_cli.errors import InvalidArgumentError


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
