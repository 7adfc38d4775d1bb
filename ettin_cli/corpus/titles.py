"""Titles of Markdown and reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from itertools import pairwise

_ATX = re.compile(r" {0,3}#{1,6}(?=[ \t])")
_SETEXT = re.compile(r" {0,3}(=+|-+)\s*$")
_NO_PARAGRAPH = re.compile(r"[>|<]|[-*+]\s|\d+[.)]\s")
_FENCE = re.compile(r"\s*(`{3,}(?=[^`]*$)|~{3,})")
_HTML_HEADING = re.compile(r"<h1(?:\s[^<>]*)?>(.*?)</h1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
# Lines that a heading in HTML may take.
HTML_LINES, MOST_CHARACTERS = 8, 1000
_ADORNMENT = re.compile(r"([^\w\s])\1*\s*$")


def markdown_title(text: str) -> str:
    """Return the first heading."""
    before, fence = "", ""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark and mark.group(1).startswith(fence) else fence
        elif mark:
            before, fence = "", mark.group(1)
        elif (match := _ATX.match(line)) and (heading := _without_closing(line[match.end() :])):
            return heading
        elif before and _SETEXT.match(line):
            return before
        elif heading := _in_html(line, lines[number : number + HTML_LINES]):
            return heading
        else:
            before = "" if _NO_PARAGRAPH.match(line.lstrip()) else line.strip()
    return ""


def _in_html(line: str, lines: Sequence[str]) -> str:
    """Return the heading in HTML that begins on a line, as in READMEs; empty if there is none."""
    if line.lstrip()[:3].lower() != "<h1":
        return ""
    match = _HTML_HEADING.match("\n".join(one[:MOST_CHARACTERS] for one in lines).lstrip())
    return " ".join(unescape(_TAG.sub(" ", match[1])).split()) if match else ""


def _without_closing(heading: str) -> str:
    """Return a heading without its closing marks, as in `# C# #`."""
    text = heading.strip(" \t")
    bare = text.rstrip("#")
    return bare.rstrip() if not bare or bare[-1] in " \t" else text


def rst_title(text: str) -> str:
    """Return the first title: a line followed by an adornment of the same length."""
    lines = text.split("\n")
    for line, below in pairwise(lines):
        title = line.strip()
        adorned = _ADORNMENT.match(below) and len(below.rstrip()) >= len(title)
        if title and adorned and not _ADORNMENT.match(title):
            return title
    return ""
