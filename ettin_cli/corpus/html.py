"""HTML -> its visible text, with source line numbers."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document
from ettin_cli.settings import MAX_MARKUP_BYTES

SILENT = frozenset("script style noscript template svg head iframe object".split())
BLOCKS = frozenset(
    """address article aside blockquote body button caption center dd details dialog div dl dt
    fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr html legend li main nav ol
    optgroup option p pre section select summary table tbody td textarea tfoot th thead tr ul
    br""".split()
)
SPACED = frozenset("p h1 h2 h3 h4 h5 h6 pre blockquote table ul ol dl section article".split())
COMMENT_END = re.compile(r"--!?\s*>")


def html_document(text: str, doc_id: str) -> Document:
    """Return a page's text without markup, scripts and styles."""
    parser = _Text()
    # After the end of the last tag the parser would search for another one again and again.
    end = text.rfind(">") + 1
    parser.feed(text[:end])
    parser.close()
    parser.handle_data(unescape(text[end:]))
    parser.end_line()
    while parser.lines and not parser.lines[-1]:
        parser.lines.pop()
        parser.numbers.pop()
    return Document(
        doc_id,
        "\n".join(parser.lines),
        title=" ".join(parser.title.split()) or parser.heading,
        lines=parser.numbers,
    )


class _Text(HTMLParser):
    """Collects lines of text and their source line numbers."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.numbers: list[int] = []
        self.title = ""
        self.heading = ""
        self._words: list[str] = []
        self._begins = 1
        self._silent: list[str] = []
        self._in_title = self._in_pre = False
        self._heading_at: int | None = None
        self._searched, self._last_end = "", -1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Start a block, or stop collecting text."""
        if tag == "title" and not self.title and "svg" not in self._silent:
            self._in_title = True
        if tag in SILENT and tag not in self._silent:
            self._silent.append(tag)
        if tag in BLOCKS:
            # A missing </head> or </title> must not hide the page.
            self._in_title = False
            if tag == "body" or self._silent == ["head"]:
                self._silent.clear()
            self._break(tag)
        if tag == "pre":
            self._in_pre = True
        if tag == "h1" and not self.heading:
            self._heading_at = len(self.lines)

    def handle_endtag(self, tag: str) -> None:
        """End a block."""
        if tag == "title":
            self._in_title = False
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        if tag in BLOCKS:
            self._break(tag)
        if tag == "pre":
            self._in_pre = False
        if tag == "h1" and self._heading_at is not None:
            self.heading = " ".join(filter(None, self.lines[self._heading_at :]))
            self._heading_at = None

    def handle_data(self, data: str) -> None:
        """Append text to the current line."""
        if self._in_title:
            self.title += data
        elif not self._silent:
            first = self.getpos()[0]
            for at, line in enumerate(data.split("\n")):
                if at and self._in_pre:
                    self.end_line()
                elif at:
                    self._words.append("\n")
                self._add(line, first + at)

    def unknown_decl(self, data: str) -> None:
        """Append the text of a CDATA section, as used in XHTML."""
        if data.startswith("CDATA["):
            self.handle_data(data.removeprefix("CDATA["))

    def parse_html_declaration(self, i: int) -> int:
        """Skip `<![if ...]>` and the like, which fails an assertion in Python 3.11's parser."""
        marked = self.rawdata.startswith("<![", i)
        if marked and not self.rawdata.startswith("<![CDATA[", i):
            return self.parse_bogus_comment(i)
        return super().parse_html_declaration(i)

    def parse_comment(self, i: int, report: bool = True) -> int:
        """Skip a comment; once none is terminated any more, do not scan the remaining text."""
        if self._searched is not self.rawdata:
            self._searched, self._last_end = self.rawdata, -1
            for end in COMMENT_END.finditer(self.rawdata):
                self._last_end = end.start()
        return -1 if i > self._last_end else super().parse_comment(i, report)

    def _add(self, text: str, number: int) -> None:
        if not any(word.strip() for word in self._words):
            self._begins = number
        self._words.append(text)

    def _break(self, tag: str) -> None:
        self.end_line()
        if tag in SPACED and self.lines and self.lines[-1]:
            self.lines.append("")
            self.numbers.append(self.getpos()[0])

    def end_line(self) -> None:
        """Finish the current line, unless it is empty."""
        joined = "".join(self._words)
        line = joined.rstrip() if self._in_pre else " ".join(joined.split())
        self._words = []
        if line or (self._in_pre and self.lines and self.lines[-1]):
            self.lines.append(line)
            self.numbers.append(self._begins)


def _read(path: Path, doc_id: str) -> Document:
    return html_document(read_text(path, MAX_MARKUP_BYTES), doc_id)


HTML = DocumentReader(
    name="HTML", suffixes=(".html", ".htm", ".xhtml"), read=_read, compressed=True
)
