"""Parts of the report page: sections, figures, shapes of charts, numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ettin_cli.text import Markup, element

MINUS = "\u2212"
DASH = "\u2013"
ELLIPSIS = "\u2026"


def section(title: str, *children: str) -> Markup:
    """Return a section with a heading."""
    return element("section", element("h2", title), *children)


def remark(*sentences: str) -> Markup:
    """Return a paragraph that explains a chart or a table."""
    return element("p", " ".join(filter(None, sentences)), class_="remark")


def figure(drawing: Markup, caption: str = "", *below: str) -> Markup:
    """Return a chart with a caption above it."""
    captions = [element("figcaption", caption)] if caption else []
    return element("figure", *captions, drawing, *below)


def grid(*children: str, class_: str = "grid") -> Markup:
    """Return children side by side, stacked where room is short."""
    return element("div", *children, class_=class_)


def svg(describe: str, size: tuple[float, float], *children: str, class_: str = "") -> Markup:
    """Return an SVG image with a text description."""
    width, height = size
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=describe,
        class_=class_ or f"width{width:g}",
    )


def stroke(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def path(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """Return a line through points; empty without points."""
    if not points:
        return Markup()
    return element("path", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points), class_=class_)


def dot(x: float, y: float, radius: float, title: str = "", class_: str = "") -> Markup:
    """Return a disc; its title is shown on hover."""
    titles = [element("title", title)] if title else []
    return element("circle", *titles, cx=x, cy=y, r=radius, class_=class_ or None)


def label(text: str, x: float, y: float, anchor: str = "middle", class_: str = "") -> Markup:
    """Return a text label that starts, ends or is centred at x."""
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=class_ or None)


def shortened(text: str, length: int) -> str:
    """Return text on one line, truncated with an ellipsis.

    >>> shortened("a  long text", 6)
    'a lon…'
    """
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + ELLIPSIS


def number(value: float | None, digits: int = 3, sign: str = "-") -> str:
    """Return a formatted number: a true minus sign, unsigned zero, a dash for None.

    >>> number(0.25, 2, sign="+"), number(0.001, 2, sign="+")
    ('+0.25', '0.00')
    """
    if value is None or not math.isfinite(value):
        return DASH
    rounded = round(value, digits) or 0.0
    return f"{rounded:{sign if rounded else '-'}.{digits}f}".replace("-", MINUS)


def counted(amount: int, singular: str, plural: str = "") -> str:
    """Return an amount with its noun.

    >>> counted(1, "query", "queries"), counted(1200, "system")
    ('1 query', '1,200 systems')
    """
    return f"{amount:,} {singular if amount == 1 else plural or singular + 's'}"
