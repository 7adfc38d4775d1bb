"""HTML -> its visible text, with source line numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document, Heading
from ettin_cli.settings import MAX_MARKUP_BYTES

SILENT = frozenset("script style noscript template svg head iframe object".split())
BLOCKS = frozenset(
    """address article aside blockquote body button caption center dd details dialog div dl dt
    fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr html legend li main nav ol
    optgroup option p pre section select summary table tbody td textarea tfoot th thead tr ul
    br""".split()
)
SPACED = frozenset("p h1 h2 h3 h4 h5 h6 pre blockquote table ul ol dl section article".split())
VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
IN_HEAD = frozenset(
    """html head title meta link base basefont bgsound script style noscript noframes template
    svg""".split()
)
RAW = frozenset(["script", "style"])
PICTURES = frozenset(["img", "area"])
# Tags that end a drawing in browsers, except within the elements of IN_DRAWING.
LEAVE_DRAWING = frozenset(
    """b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img
    li listing menu meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul
    var""".split()
)
IN_DRAWING = ("foreignobject", "desc", "title")
# Elements of a drawing whose text is shown, and those in them whose text is not.
DRAWN = ("text", "foreignobject")
NOT_DRAWN = ("desc", "title", "style", "script", "metadata")
ROWS = frozenset("tr thead tbody tfoot caption".split())
CELLS = frozenset(["td", "th"])
# Content that keeps its own lines in the cell of a table.
COMPLEX = frozenset("table ul ol dl pre form blockquote h1 h2 h3 h4 h5 h6 hr".split())
MAX_CELL = 500
OBJECT_END = re.compile("</object", re.IGNORECASE)
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
COMMENT_END = re.compile(r"--!?\s*>")
NOSCRIPT = re.compile(r"<noscript\b", re.IGNORECASE)
# Below so many characters the content of <noscript> is a note, not the page.
MIN_NOSCRIPT = 500


def html_document(text: str, doc_id: str) -> Document:
    """Return a page's text without markup, scripts and styles.

    The content of <noscript> is left out, except if most of the text is in it: then scripts
    are to add the text to the page.
    """
    document = _document(text, doc_id, SILENT)
    if NOSCRIPT.search(text) and len(text) > MIN_NOSCRIPT:
        unscripted = _document(text, doc_id, SILENT - {"noscript"})
        if len(unscripted.text) > 2 * len(document.text) + MIN_NOSCRIPT:
            return unscripted
    return document


def _document(text: str, doc_id: str, silent: frozenset[str]) -> Document:
    parser = _Text(len(OBJECT_END.findall(text)), silent)
    # After the end of the last tag the parser would search for another one again and again.
    end = text.rfind(">") + 1
    parser.feed(text[:end])
    parser.close()
    parser.handle_data(unescape(text[end:]))
    parser.finish()
    while parser.lines and not parser.lines[-1]:
        parser.lines.pop()
        parser.numbers.pop()
    return Document(
        doc_id,
        "\n".join(parser.lines),
        title=" ".join("".join(parser.titles).split()) or parser.heading,
        lines=parser.numbers,
        headings=[one for one in parser.headings if one.line < len(parser.lines)],
    )


class _Text(HTMLParser):
    """Collects lines of text and their source line numbers.

    Args:
        objects: The number of end tags of <object>.
        silent: The elements whose content is left out.
    """

    def __init__(self, objects: int, silent: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.numbers: list[int] = []
        self.titles: list[str] = []
        self.heading = ""
        self.headings: list[Heading] = []
        self._words: list[str] = []
        self._begins = 1
        # Whether one of the words is not blank.
        self._worded = False
        self._silent: list[str] = []
        self._in_title = self._in_pre = False
        self._heading_at: int | None = None
        self._searched, self._last_end = "", -1
        self._open: Counter[str] = Counter()
        self._drawing: Counter[str] = Counter()
        self._tables: list[list[int]] = []
        self._objects = objects
        self._hidden = silent

    def set_cdata_mode(self, elem: str, *rest: Any, **more: Any) -> None:
        """Read scripts and styles as raw text, except in drawings, and nothing else."""
        if elem in RAW and "svg" not in self._silent:
            super().set_cdata_mode(elem, *rest, **more)
            self.interesting = re.compile(rf"</{elem}(?=[\s/>])", re.IGNORECASE)

    def parse_endtag(self, i: int) -> int:
        """End a script at `</script` with anything up to the next ">", as browsers do."""
        # Older parsers want nothing between the name and ">".
        elem = self.cdata_elem
        if elem is None or not self.interesting.match(self.rawdata, i):
            return super().parse_endtag(i)
        end = self.rawdata.find(">", i)
        if end < 0:
            return -1
        self.clear_cdata_mode()
        self.handle_endtag(elem)
        return end + 1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Start a block, or stop collecting text."""
        if "svg" in self._silent and not self._leaves_drawing(tag):
            self._drawing[tag] += tag not in VOID
            self._draw(tag)
            return
        self._open[tag] += tag not in VOID
        if self._silent == ["head"] and tag not in IN_HEAD:
            # A missing </head> or </title> must not hide the page.
            self._silent.clear()
        if tag == "title" and not self.titles:
            self._in_title = True
        if tag in self._hidden and tag not in self._silent:
            self._silence(tag)
        if tag in BLOCKS:
            self._in_title = False
            if tag == "body":
                self._silent.clear()
            self._begin_block(tag)
        if tag in PICTURES and not self._silent:
            self._picture(dict(attrs))
        if tag == "pre":
            self._in_pre = True
        if tag in HEADINGS and not self._silent:
            self._heading_at = len(self.lines)

    def handle_endtag(self, tag: str) -> None:
        """End a block."""
        if "svg" in self._silent and tag != "svg" and not self._ends_drawing(tag):
            self._draw(tag)
            return
        self._open[tag] -= self._open[tag] > 0
        self._objects -= tag == "object"
        if tag == "title":
            self._in_title = False
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        if tag in BLOCKS:
            self._end_block(tag)
        if tag == "pre":
            self._in_pre = False
        if tag in HEADINGS and self._heading_at is not None:
            self._end_heading(tag, self._heading_at)

    def _end_heading(self, tag: str, begin: int) -> None:
        self._heading_at = None
        if text := " ".join(filter(None, self.lines[begin:])):
            self.headings.append(Heading(begin, HEADINGS.index(tag) + 1, text))
            self.heading = self.heading or (text if tag == "h1" else "")

    def _silence(self, tag: str) -> None:
        if tag == "object" and not self._objects:
            # It is never closed, so that the rest of the page is its content.
            return
        self._silent.append(tag)
        if tag == "svg":
            self._drawing.clear()

    def _leaves_drawing(self, tag: str) -> bool:
        """Return whether a tag ends a drawing that was never closed, as in browsers."""
        inside = any(self._drawing[name] > 0 for name in IN_DRAWING)
        if tag not in LEAVE_DRAWING or inside:
            return False
        del self._silent[self._silent.index("svg") :]
        return True

    def _ends_drawing(self, tag: str) -> bool:
        """Return whether an end tag closes an element around a drawing that was never closed."""
        if self._drawing[tag] > 0:
            self._drawing[tag] -= 1
            return False
        if tag not in ("p", "br") and not self._open[tag]:
            return False
        del self._silent[self._silent.index("svg") :]
        return True

    def _draw(self, tag: str) -> None:
        """Begin or end an element of a drawing, whose texts are lines."""
        if tag in DRAWN or tag in BLOCKS:
            self.end_line()
        elif self._words:
            self._words.append(" ")

    def _shows_drawn(self) -> bool:
        return (
            self._silent == ["svg"]
            and any(self._drawing[name] > 0 for name in DRAWN)
            and not any(self._drawing[name] > 0 for name in NOT_DRAWN)
        )

    def _picture(self, attributes: dict[str, str | None]) -> None:
        text = " ".join((attributes.get("alt") or "").split())
        if text:
            self._add(f" {text} ", self.getpos()[0])

    def handle_data(self, data: str) -> None:
        """Append text to the current line."""
        if self._in_title:
            self.titles.append(data)
            return
        if self._silent == ["head"] and data.strip():
            self._silent.clear()
        if not self._silent or self._shows_drawn():
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
        if not self._worded:
            self._begins = number
            self._worded = bool(text) and not text.isspace()
        self._words.append(text)

    def _begin_block(self, tag: str) -> None:
        self._break(tag)
        if tag in COMPLEX and self._tables:
            # Such a cell keeps its lines; those before it are one line.
            self._merge(self._tables[-1])
            self._tables[-1].clear()
        if tag == "table":
            self._tables.append([])
        elif tag in ROWS:
            self._end_row()
        elif tag in CELLS and self._tables:
            self._tables[-1].append(len(self.lines))

    def _end_block(self, tag: str) -> None:
        self.end_line()
        if tag == "table" or tag in ROWS:
            self._end_row()
        if tag == "table" and self._tables:
            self._tables.pop()
        self._break(tag)

    def _end_row(self) -> None:
        if self._tables:
            cells = self._tables[-1]
            self._merge([*cells, len(self.lines)])
            cells.clear()

    def _merge(self, starts: Sequence[int]) -> None:
        """Join the lines of cells that begin at these lines; the last is the end."""
        cells = [" ".join(filter(None, self.lines[start:end])) for start, end in pairwise(starts)]
        while cells and not cells[-1]:
            cells.pop()
        long = any(len(cell) > MAX_CELL for cell in cells)
        if long or sum(map(bool, cells)) < 2:
            return
        first, end = starts[0], starts[-1]
        self.lines[first:end] = [" | ".join(cells).lstrip()]
        self.numbers[first:end] = [self.numbers[first]]

    def _break(self, tag: str) -> None:
        self.end_line()
        if tag in SPACED and self.lines and self.lines[-1]:
            self.lines.append("")
            self.numbers.append(self.getpos()[0])

    def finish(self) -> None:
        """Finish the last line and the rows of tables that are never closed."""
        self.end_line()
        while self._tables:
            self._end_row()
            self._tables.pop()

    def end_line(self) -> None:
        """Finish the current line, unless it is empty."""
        joined = "".join(self._words).replace("\xad", "")
        line = joined.rstrip() if self._in_pre else " ".join(joined.split())
        self._words, self._worded = [], False
        if line or (self._in_pre and self.lines and self.lines[-1]):
            self.lines.append(line)
            self.numbers.append(self._begins)


def _read(path: Path, doc_id: str) -> Document:
    return html_document(read_text(path, MAX_MARKUP_BYTES), doc_id)


def _read_main(path: Path, doc_id: str) -> tuple[Document, int]:
    from ettin_cli.corpus.main_content import main_document

    return main_document(read_text(path, MAX_MARKUP_BYTES), doc_id)


HTML = DocumentReader(
    name="HTML",
    suffixes=(".html", ".htm", ".xhtml"),
    read=_read,
    read_main=_read_main,
    compressed=True,
)
