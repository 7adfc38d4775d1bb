"""Org -> its text, with the headings of its outline."""

from __future__ import annotations

import re
from pathlib import Path

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.markup import Lines
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document

_HEADING = re.compile(r"(\*+)\s+(.*)")
_KEYWORD = re.compile(r"\s*#\+([\w-]+):\s*(.*)")
_BLOCK = re.compile(r"\s*#\+(begin|end)_(\w+)\b.*", re.IGNORECASE)
_DRAWER = re.compile(r"\s*:[\w-]+:\s*")
_COMMENT = re.compile(r"\s*#(?:\s.*)?")
_TAGS = re.compile(r"\s+:([\w@#%:]+):\s*$")
_LINK = re.compile(r"\[\[([^\[\]]+)\](?:\[([^\[\]]+)\])?\]")
# Keywords with text; the others are settings.
_TEXT = frozenset(["caption", "index"])
_VERBATIM = frozenset(["src", "example", "export", "verse"])


def org_document(text: str, doc_id: str) -> Document:
    """Return a document's text without comments, drawers and the marks of blocks."""
    found = Lines()
    block = drawer = ""
    for number, line in enumerate(text.split("\n"), start=1):
        mark = _BLOCK.fullmatch(line)
        name = mark[2].lower() if mark else ""
        inside = block in _VERBATIM or block == "comment"
        if mark and not (inside and name != block):
            block = name if mark[1].lower() == "begin" else ""
            found.add("", number)
        elif heading := _HEADING.fullmatch(line):
            # It ends a block that is not closed.
            block = drawer = ""
            found.heading(len(heading[1]), _shown(_TAGS.sub(_tags, heading[2])), number)
        elif block in _VERBATIM or block == "comment":
            found.add("" if block == "comment" else line, number)
        elif drawer:
            drawer = "" if line.strip().lower() == ":end:" else drawer
            found.add("", number)
        elif keyword := _KEYWORD.fullmatch(line):
            _add_keyword(found, keyword[1].lower(), keyword[2].strip(), number)
        elif _DRAWER.fullmatch(line) and line.strip().lower() in (":properties:", ":logbook:"):
            drawer = line.strip()
            found.add("", number)
        else:
            found.add("" if _COMMENT.fullmatch(line) else _shown(line), number)
    return found.document(doc_id)


def _add_keyword(found: Lines, name: str, value: str, number: int) -> None:
    if name in _TEXT:
        found.add(_shown(value), number)
    elif name == "filetags":
        found.describe("tags", ", ".join(filter(None, re.split(r"[:\s]+", value))), number)
    else:
        found.describe(name, value, number)


def _tags(match: re.Match[str]) -> str:
    return " " + " ".join(match[1].split(":"))


def _shown(text: str) -> str:
    if "[[" not in text:
        return text
    return _LINK.sub(lambda link: link[2] or link[1].removeprefix("file:"), text)


def _read(path: Path, doc_id: str) -> Document:
    return org_document(read_text(path), doc_id)


ORG = DocumentReader(name="Org", suffixes=(".org",), read=_read, compressed=True)
