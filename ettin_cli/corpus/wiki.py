"""The marks of note-taking programs in Markdown (Obsidian, Logseq) -> what they show.

The number of lines stays the same. Code is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ettin_cli.text import FENCE

# Properties that Logseq keeps for itself.
_HIDDEN = frozenset(["id", "collapsed", "logseq.order-list-type", "background-color", "heading"])
_HINTS = ("[[", "[!", "::", "#+BEGIN_", "#+END_")
_LINK = re.compile(
    r"(?P<code>`+[^`]*`+)"
    r"|(?<![\w\]])!?\[\[(?P<page>[^\[\]|]+)(?:\|(?P<shown>[^\[\]]*))?\]\](?!\()"
)
_SIZE = re.compile(r"\d+(?:x\d+)?")
_CALLOUT = re.compile(r"(\s*(?:>[ ]?)+)\[!([\w-]+)[^\[\]]*\][+-]?[ ]*(.*)")
_PROPERTY = re.compile(r"(\s*(?:[-*] )?)([A-Za-z][\w.-]*)::(?:\s+(.*)|\s*$)")
_BLOCK = re.compile(r"(\s*(?:[-*] )?)#\+(BEGIN|END)_(\w+)\s*$")
_EMBED = re.compile(r"\{\{embed ([^{}]*)\}\}")


def as_shown(text: str) -> str:
    """Return Markdown with wikilinks, callouts and properties as the text that readers see.

    >>> as_shown("See [[Pumps|the pumps]] and [[Valves#Relief]].")
    'See the pumps and Valves > Relief.'
    """
    if not any(hint in text for hint in _HINTS):
        return text
    return "\n".join(_lines(text.split("\n")))


def page_properties(text: str) -> dict[str, str]:
    """Return the `name:: value` lines at the start of a text, as Logseq describes a page."""
    properties: dict[str, str] = {}
    for line in text.split("\n"):
        found = _PROPERTY.match(line)
        if found is None or found[1]:
            break
        if found[3] and found[2].lower() not in _HIDDEN:
            properties[found[2]] = _shown(found[3]).strip()
    return properties


def _lines(lines: list[str]) -> Iterator[str]:
    fence = ""
    for line in lines:
        mark = FENCE.match(line)
        if fence:
            fence = "" if mark and mark.group(1).startswith(fence) else fence
            yield line
        elif mark:
            fence = mark.group(1)
            yield line
        else:
            yield _line(line)


def _line(line: str) -> str:
    if callout := _CALLOUT.fullmatch(line):
        begin, kind, title = callout.groups()
        return begin + (_shown(title) or kind.capitalize())
    if found := _PROPERTY.fullmatch(line):
        begin, name, value = found.groups()
        if name.lower() in _HIDDEN:
            return ""
        return f"{begin}{name}: {_shown(value)}" if value else line
    if block := _BLOCK.fullmatch(line):
        begin, edge, kind = block.groups()
        return begin + kind.capitalize() if edge == "BEGIN" else ""
    return _shown(line)


def _shown(text: str) -> str:
    if "[[" not in text:
        return text
    return _EMBED.sub(r"\1", _LINK.sub(_target, text))


def _target(match: re.Match[str]) -> str:
    if match["code"]:
        return match["code"]
    shown = (match["shown"] or "").strip()
    if shown and not _SIZE.fullmatch(shown):
        return shown
    parts = [part.strip() for part in match["page"].split("#") if not part.startswith("^")]
    return " > ".join(filter(None, parts))
