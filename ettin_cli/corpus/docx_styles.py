"""What the styles and lists of a DOCX file add to its paragraphs: heading levels and numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ettin_cli.corpus.packages import attribute

MAX_BASED_ON = 20
MAX_LEVELS = 9
# Characters of the text around a number, which each paragraph of a list repeats.
MAX_NUMBER = 100
UNNUMBERED = ("none", "bullet")
_PLACE = re.compile(r"%([1-9])")
_ROMAN = [(1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l")]
_ROMAN += [(40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")]
MAX_ROMAN = 4999


@dataclass(slots=True)
class _Level:
    """How a level of a list is numbered."""

    start: int = 1
    format: str = "decimal"
    text: str = ""
    legal: bool = False


@dataclass(slots=True)
class _List:
    """A list: the counters that it shares with others, its levels, and those tied to styles."""

    counters: str
    levels: dict[int, _Level] = field(default_factory=dict)
    styles: dict[str, int] = field(default_factory=dict)
    restarts: dict[int, int] = field(default_factory=dict)


class Styles:
    """The heading level and the number of each paragraph, asked for in order.

    Args:
        styles: The root of the styles part; None if there is none.
        numbering: The root of the numbering part; None if there is none.
    """

    def __init__(self, styles: Any | None, numbering: Any | None) -> None:
        found = [] if styles is None else styles.iterchildren("{*}style")
        self._styles = {attribute(one, "styleId") or "": one for one in found}
        self._default = next(
            (name for name, one in self._styles.items() if _is_default_paragraph(one)), ""
        )
        self._lists = {} if numbering is None else _lists(numbering)
        self._counts: dict[str, dict[int, int]] = {}
        self._restarted: set[str] = set()
        # By the style, as a style is looked up once and not for each of its paragraphs.
        self._heading_levels: dict[str, int] = {}
        self._styled_places: dict[str, tuple[str, int | None]] = {}

    def heading_level(self, paragraph: Any) -> int:
        """Return the level of a heading, 1 for the title; 0 for another paragraph."""
        style = _style_id(paragraph) or self._default
        if style not in self._heading_levels:
            self._heading_levels[style] = self._heading_level(style)
        return self._heading_levels[style]

    def _heading_level(self, style: str) -> int:
        name = _value(self._styles[style], "name").lower() if style in self._styles else ""
        if name != "title" and not name.startswith("heading"):
            return 0
        return min(_integer(name.removeprefix("heading"), 1), MAX_LEVELS)

    def number(self, paragraph: Any) -> str:
        """Return the number that Word shows before a paragraph, such as "2.1." or "c)"; or ""."""
        list_id, depth = self._place(paragraph)
        one = self._lists.get(list_id)
        level = one.levels.get(depth) if one else None
        if one is None or level is None or level.format in UNNUMBERED:
            return ""
        counts = self._counts.setdefault(one.counters, {})
        self._restart(list_id, one, counts)
        counts[depth] = counts.get(depth, level.start - 1) + 1
        for deeper in [other for other in counts if other > depth]:
            del counts[deeper]
        return _PLACE.sub(lambda match: self._count(one, level, counts, match), level.text).strip()

    def _restart(self, list_id: str, one: _List, counts: dict[int, int]) -> None:
        """Set the counters that a list overrides when its first paragraph comes."""
        if list_id not in self._restarted:
            self._restarted.add(list_id)
            counts.update((depth, start - 1) for depth, start in one.restarts.items())

    def _count(
        self, one: _List, level: _Level, counts: Mapping[int, int], match: re.Match[str]
    ) -> str:
        depth = int(match.group(1)) - 1
        other = one.levels.get(depth, level)
        form = "decimal" if level.legal else other.format
        return _formatted(counts.get(depth, other.start), form)

    def _place(self, paragraph: Any) -> tuple[str, int]:
        """Return the list that a paragraph or its style names, and the level in it."""
        list_id, depth = _numbering(paragraph.find("{*}pPr"))
        if not list_id:
            style = _style_id(paragraph) or self._default
            if style not in self._styled_places:
                self._styled_places[style] = self._styled_place(style)
            list_id, styled = self._styled_places[style]
            depth = styled if depth is None else depth
        return list_id, depth or 0

    def _styled_place(self, style: str) -> tuple[str, int | None]:
        """Return the list that a style or one that it is based on names, and the level in it."""
        list_id, depth = "", None
        for _ in range(MAX_BASED_ON):
            if list_id or style not in self._styles:
                break
            list_id, styled = _numbering(self._styles[style].find("{*}pPr"))
            depth = styled if depth is None else depth
            if depth is None and list_id in self._lists:
                depth = self._lists[list_id].styles.get(style)
            style = _value(self._styles[style], "basedOn")
        return list_id, depth


def _lists(root: Any) -> dict[str, _List]:
    abstract = {attribute(one, "abstractNumId"): one for one in root.iterchildren("{*}abstractNum")}
    levels = {name: _levels(one) for name, one in abstract.items()}
    styles = {name: _tied_styles(one) for name, one in abstract.items()}
    lists = {}
    for number in root.iterchildren("{*}num"):
        of = _value(number, "abstractNumId")
        made = _List(of, dict(levels.get(of, {})), styles.get(of, {}))
        for override in number.iterchildren("{*}lvlOverride"):
            depth = _integer(attribute(override, "ilvl"), 0)
            made.levels |= _levels(override)
            start = _value(override, "startOverride")
            if start and depth < MAX_LEVELS:
                made.restarts[depth] = _integer(start, 1)
        lists[attribute(number, "numId") or ""] = made
    return lists


def _tied_styles(abstract: Any) -> dict[str, int]:
    """Return the levels of a list that styles stand for, by the style."""
    return {
        style: _integer(attribute(one, "ilvl"), 0)
        for one in abstract.iterchildren("{*}lvl")
        if (style := _value(one, "pStyle"))
    }


def _levels(element: Any) -> dict[int, _Level]:
    """Return the levels of a list by their depth; Word has no more than nine."""
    return {
        depth: _Level(
            start=_integer(_value(one, "start"), 1),
            format=_value(one, "numFmt") or "decimal",
            text=_value(one, "lvlText")[:MAX_NUMBER],
            legal=one.find("{*}isLgl") is not None,
        )
        for one in element.iterchildren("{*}lvl")
        if (depth := _integer(attribute(one, "ilvl"), 0)) < MAX_LEVELS
    }


def _numbering(properties: Any | None) -> tuple[str, int | None]:
    found = None if properties is None else properties.find("{*}numPr")
    if found is None:
        return "", None
    depth = _value(found, "ilvl")
    return _value(found, "numId"), _integer(depth, 0) if depth else None


def _style_id(paragraph: Any) -> str:
    properties = paragraph.find("{*}pPr")
    return "" if properties is None else _value(properties, "pStyle")


def _is_default_paragraph(style: Any) -> bool:
    default = attribute(style, "default") in ("1", "true", "on")
    return default and attribute(style, "type") == "paragraph"


def _value(element: Any, name: str) -> str:
    """Return the value of a child element; "" if it has none."""
    child = element.find(f"{{*}}{name}")
    return "" if child is None else attribute(child, "val") or ""


def _integer(text: str | None, otherwise: int) -> int:
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else otherwise


def _formatted(count: int, form: str) -> str:
    """Return a number as a list shows it; a format of other alphabets is shown in digits.

    >>> [_formatted(28, form) for form in ("decimal", "lowerLetter", "upperRoman", "decimalZero")]
    ['28', 'bb', 'XXVIII', '28']
    """
    shape: Callable[[int], str] = {
        "lowerLetter": _letters,
        "upperLetter": lambda number: _letters(number).upper(),
        "lowerRoman": _roman,
        "upperRoman": lambda number: _roman(number).upper(),
        "decimalZero": lambda number: f"{number:02}",
    }.get(form, str)
    return shape(count)


def _letters(count: int) -> str:
    """Return a, b, ... z, aa, bb: the letter is repeated, as Word does."""
    if not 0 < count <= 26 * 30:
        return str(count)
    return chr(ord("a") + (count - 1) % 26) * ((count - 1) // 26 + 1)


def _roman(count: int) -> str:
    if not 0 < count <= MAX_ROMAN:
        return str(count)
    made = ""
    for value, digits in _ROMAN:
        made += digits * (count // value)
        count %= value
    return made
