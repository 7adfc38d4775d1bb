"""HTML and SVG elements; text is escaped unless it is Markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ettin_cli.text.escaping import inert


class Markup(str):
    """Text that is already HTML."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """Return an element; children are escaped unless they are Markup.

    Attributes that are None are left out. In their names `_` becomes `-`, and a trailing `_` is
    dropped, since `class` and `for` are Python keywords.

    >>> element("a", "1 < 2", class_="x", aria_label="so")
    '<a class="x" aria-label="so">1 &lt; 2</a>'
    """
    return Markup(f"<{name}{_given(attributes)}>{joined(children)}</{name}>")


def void(name: str, /, **attributes: str | float | None) -> Markup:
    """Return an element that has no children and no end tag.

    >>> void("input", name="q", value="1 < 2")
    '<input name="q" value="1 &lt; 2">'
    """
    return Markup(f"<{name}{_given(attributes)}>")


def joined(children: Iterable[str]) -> Markup:
    """Return the concatenated children, escaped unless they are Markup."""
    return Markup("".join(c if isinstance(c, Markup) else escape(inert(c)) for c in children))


def exact(text: str) -> Markup:
    r"""Return text as HTML with its tabs and bidirectional marks, for values that are sent back.

    >>> exact("a\t<b>")
    'a\t&lt;b&gt;'
    """
    return Markup(escape(text))


def _given(attributes: dict[str, str | float | None]) -> str:
    return "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )


def _value(value: str | float) -> str:
    if isinstance(value, Markup):
        return value
    return escape(inert(value)) if isinstance(value, str) else f"{round(value, 1) or 0:g}"
