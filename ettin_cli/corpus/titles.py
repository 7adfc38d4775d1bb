"""Titles of Markdown and reStructuredText, and Markdown's front matter."""

from __future__ import annotations

import re
from itertools import pairwise

_ATX = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)\s*$")
_ADORNMENT = re.compile(r"([^\w\s])\1*\s*$")
_FRONT_TITLE = re.compile(r"title:\s*(.+?)\s*$")
_FENCES = ("```", "~~~")


def split_front_matter(text: str) -> tuple[int, str]:
    r"""Return how many lines of front matter a Markdown text opens with, and its title.

    >>> split_front_matter('---\ntitle: "A guide"\n---\nText')
    (3, 'A guide')
    """
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return 0, ""
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() in ("---", "..."):
            titles = [_FRONT_TITLE.match(line) for line in lines[1:number]]
            return number + 1, next((t.group(1).strip("\"'") for t in titles if t), "")
    return 0, ""


def markdown_title(text: str) -> str:
    """Return the first heading."""
    before, fenced = "", False
    for line in text.split("\n"):
        if line.lstrip().startswith(_FENCES):
            fenced = not fenced
        elif not fenced and (match := _ATX.match(line)):
            return match.group(1)
        elif not fenced and before and _SETEXT.match(line):
            return before
        before = line.strip() if not fenced else ""
    return ""


def rst_title(text: str) -> str:
    """Return the first title: a line with an adornment below it as long as itself."""
    lines = text.split("\n")
    for line, below in pairwise(lines):
        title = line.strip()
        adorned = _ADORNMENT.match(below) and len(below.rstrip()) >= len(title)
        if title and adorned and not _ADORNMENT.match(title):
            return title
    return ""
