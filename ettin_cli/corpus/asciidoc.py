"""AsciiDoc -> its text, with the headings of its sections."""

from __future__ import annotations

import re
from pathlib import Path

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.markup import Lines
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError

_HEADING = re.compile(r"(={1,6}|#{1,6})\s+(\S.*)")
_UNDERLINE = re.compile(r"=+|-+|~+|\^+|\++")
_ATTRIBUTE = re.compile(r":!?([\w-]+)!?:(?:\s+(.*)|\s*)")
# Blocks whose content is shown as written; comments are not shown.
_VERBATIM = re.compile(r"-{4,}|\.{4,}|\+{4,}|`{3,}.*|/{4,}")
_DELIMITER = re.compile(r"={4,}|\*{4,}|_{4,}|[|,:!]={3,}|--")
_BLOCK_ATTRIBUTES = re.compile(r"\[[^\[\]]*\](?:\[[^\[\]]*\])?|\[\[[^\[\]]*\]\]")
_DIRECTIVE = re.compile(r"(?:ifdef|ifndef|ifeval|endif)::\S*\[.*\]")
# Lengths are bounded, as every place in a long line may begin a link that never ends.
_IMAGE = re.compile(
    r"(?:image|video|audio|icon)::?[^\s\[]{0,500}\[([^\[\],]{0,500})[^\[\]]{0,500}\]"
)
_LINK = re.compile(
    r"(?:(?:xref|link|mailto):|https?://|ftp://)[^\s\[<>]{0,500}\[([^\[\]]{0,500})\]"
)
_REFERENCE = re.compile(r"<<([^<>,]*)(?:,([^<>]*))?>>")
_ANCHOR = re.compile(r"\[\[[^\[\]]*\]\]|\[#[^\[\]]*\]")
_USED = re.compile(r"\{([\w-]{1,100})\}")
# A hidden entry of the index, and one that is shown.
_INDEX_ENTRY = re.compile(r"\(\(\([^()]{1,500}\)\)\)|(?<!\()\(\(([^()]{1,500})\)\)(?!\))")
_LEVELS = "=-~^+"
MAX_ATTRIBUTE_CHARACTERS = 4_000_000


class Attributes:
    """The attributes that a document has defined so far."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._added = 0

    def define(self, name: str, value: str) -> None:
        """Give an attribute a value."""
        self._values[name] = value

    def used_in(self, line: str) -> str:
        """Return a line with the values of its attributes, as of {product}.

        Raises:
            UnreadableError: The values are too long together.
        """
        if "{" not in line or not self._values:
            return line
        return _USED.sub(self._value, line)

    def _value(self, used: re.Match[str]) -> str:
        value = self._values.get(used[1]) or used[0]
        self._added += len(value) - len(used[0])
        if self._added > MAX_ATTRIBUTE_CHARACTERS:
            raise UnreadableError("the values of its attributes are too long")
        return value


def asciidoc_document(text: str, doc_id: str) -> Document:
    """Return a document's text without comments, delimiters and attributes of blocks.

    Raises:
        UnreadableError: Its attributes are too long.
    """
    found, lines, attributes = Lines(), text.split("\n"), Attributes()
    verbatim, header, skip = "", True, False
    for number, line in enumerate(lines, start=1):
        bare = line.rstrip()
        if skip:
            skip = False
        elif verbatim:
            inside = bare != verbatim
            found.add(line if inside and not verbatim.startswith("//") else "", number)
            verbatim = verbatim if inside else ""
        elif _VERBATIM.fullmatch(bare):
            verbatim = "```" if bare.startswith("```") else bare
            found.add("", number)
        elif attribute := _ATTRIBUTE.fullmatch(bare):
            name, value = attribute[1], attributes.used_in(attribute[2] or "")
            attributes.define(name, value)
            if header and value:
                found.describe("title" if name == "doctitle" else name, value, number)
            else:
                found.add("", number)
        elif heading := _HEADING.fullmatch(bare := attributes.used_in(bare)):
            found.heading(len(heading[1]), _shown(heading[2]), number)
        elif number < len(lines) and (level := _underlined(bare, lines[number].rstrip())):
            found.heading(level, _shown(bare), number)
            skip = True
        else:
            found.add(_line(bare), number)
            header = header and (not bare or len(found.headings) == 1)
    return found.document(doc_id)


def _underlined(line: str, below: str) -> int:
    """Return the level of a title of two lines; 0 if it is none."""
    fits = bool(line) and abs(len(line) - len(below)) <= 1 and len(below) > 2
    if fits and line[0].isalnum() and _UNDERLINE.fullmatch(below):
        return _LEVELS.index(below[0]) + 1
    return 0


def _line(line: str) -> str:
    unseen = (_DELIMITER, _BLOCK_ATTRIBUTES, _DIRECTIVE)
    if line.startswith("//") or any(pattern.fullmatch(line) for pattern in unseen) or line == "+":
        return ""
    if line.startswith(".") and line[1:2].strip(". "):
        line = line[1:]
    return _shown(line)


def _shown(text: str) -> str:
    if "((" in text:
        text = _INDEX_ENTRY.sub(lambda entry: entry[1] or "", text).strip(" ")
    text = _LINK.sub(lambda link: link[1] or link[0].partition("[")[0], _IMAGE.sub(r"\1", text))
    text = _REFERENCE.sub(lambda link: (link[2] or link[1]).strip(), text)
    return _ANCHOR.sub("", text).strip(" ") if "[" in text else text


def _read(path: Path, doc_id: str) -> Document:
    return asciidoc_document(read_text(path), doc_id)


ASCIIDOC = DocumentReader(
    name="AsciiDoc", suffixes=(".adoc", ".asciidoc", ".asc"), read=_read, compressed=True
)
