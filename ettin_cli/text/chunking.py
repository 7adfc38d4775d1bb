"""Document -> passages, split at natural boundaries: headings, paragraphs, definitions, sentences.

Pure: needs no file and no model, only a `TokenCounter` for the positions of tokens.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Self

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.records import Document, Passage, TokenCounter
from ettin_cli.text.headings import FENCE, MARKDOWN_HEADING, UNDERLINE, Outline

SENTENCE, PARAGRAPH, HEADING = 2, 3, 4
LINE = 1
READS_WELL = 512
SPECIAL_TOKENS = 2
TITLE_SHARE = 4
PIECE_CHARACTERS = 1 << 18

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])\s*")
_ABBREVIATION = re.compile(
    r"(?:\b[A-Za-z]|\b(?:e\.g|i\.e|cf|vs|etc|al|Dr|Mr|Mrs|Ms|Prof|St|No|Fig))\.$"
)
_LIST_ITEM = re.compile(r"\s*(?:[-*+•]|\d+[.)])\s")
_BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)+")
_CLOSING = re.compile(r"[)\]}]|end\b|else\b|elif\b|except\b|finally\b")


@dataclass(frozen=True, slots=True)
class Chunking:
    """How documents are split into passages.

    Args:
        size: Maximum tokens of text in a passage. None: no splitting. "auto": as many tokens as
            the embedder reads together with the title.
        overlap: Number of tokens that a passage may repeat from the previous one.
    """

    size: int | str | None = "auto"
    overlap: int = 0

    @classmethod
    def parsed(cls, size: int | str | None, overlap: int | None) -> Self | None:
        """Return the chunking for a requested size or overlap; None if neither is given.

        Args:
            size: A number of tokens, also as text, "none" for no splitting, or "auto".

        Raises:
            InvalidArgumentError: The size is invalid, or the overlap is not smaller than it.
        """
        if size is None and overlap is None:
            return None
        if size in (None, "auto", "none"):
            return cls(None if size == "none" else "auto", overlap or 0)
        if not str(size).isdecimal() or int(size) < 1:
            raise InvalidArgumentError(
                f'chunk size {size!r} is not a number of tokens or "none"', argument="chunk_size"
            )
        if overlap and overlap >= int(size):
            raise InvalidArgumentError(
                f"chunk overlap {overlap} is not smaller than chunk size {size}",
                argument="chunk_overlap",
            )
        return cls(int(size), overlap or 0)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage and its length in tokens, with title and headings, before truncation."""

    passage: Passage
    tokens: int


def chunk(
    document: Document, counter: TokenCounter, chunking: Chunking, max_tokens: int
) -> Iterator[Chunk]:
    """Split a document into passages, in order, that together contain all of its text.

    Every passage begins and ends on the strongest boundary that leaves it at least half
    full: a heading or top-level definition, then a paragraph, a sentence, a line, a word. Its
    headings are left out from the outermost as far as the embedder could not read all of it.

    Args:
        max_tokens: The embedder's limit, special tokens included.
    """
    titled = len(counter.offsets(document.title)) if document.title else 0
    starts = _token_starts(document.text, counter)
    positions = _Positions(document)
    most, sizes = _capacity(chunking, max_tokens, titled), list[int]()
    if most is not None and len(starts) > most:
        sizes = _sizes(positions.outline.texts, counter)

    def capacity(begin: int) -> int | None:
        """Return the tokens of a passage that begins here, below its title and headings."""
        above = positions.above(begin, len(document.text)) if sizes else ()
        return _capacity(chunking, max_tokens, titled + sum(sizes[at] for at in above))

    names = document.names
    for start, end in _spans(document, starts, capacity, chunking):
        passage = positions.passage(start, end)
        if passage is None:
            continue
        tokens = bisect_left(starts, end) - bisect_left(starts, start)
        tokens += titled if passage.content is not passage.text else 0
        room = max_tokens - SPECIAL_TOKENS - tokens
        above = _fitting(positions.above(start, end), sizes, room) if sizes else ()
        headings = tuple(positions.outline.texts[at] for at in above)
        added = sum(sizes[at] for at in above)
        yield Chunk(replace(passage, headings=headings, names=names), tokens + added)
        names = ""


def _sizes(headings: Sequence[str], counter: TokenCounter) -> list[int]:
    """Return the number of tokens of each heading and the separator after it."""
    starts = _token_starts("\n".join(headings), counter)
    begins = [0, *accumulate(len(heading) + 1 for heading in headings)]
    counts = [bisect_left(starts, begin) for begin in begins]
    return [after - before + 1 for before, after in pairwise(counts)]


def _fitting(path: Sequence[int], sizes: Sequence[int], room: int) -> tuple[int, ...]:
    """Return the innermost headings of a path that fit into a number of tokens."""
    kept = len(path)
    while kept and room >= sizes[path[kept - 1]]:
        kept -= 1
        room -= sizes[path[kept]]
    return tuple(path[kept:])


def _token_starts(text: str, counter: TokenCounter) -> Sequence[int]:
    """Return each token's start, counted in pieces: tokenizers take 160 bytes per character."""
    starts = array("q")
    begin = 0
    while begin < len(text):
        end = _piece_end(text, begin)
        starts.extend(begin + start for start, _ in counter.offsets(text[begin:end]))
        begin = end
    return starts


def _piece_end(text: str, begin: int) -> int:
    """Return the end of a piece: before white space, which tokenizers join to the next word."""
    most = begin + PIECE_CHARACTERS
    if most >= len(text):
        return len(text)
    half = begin + PIECE_CHARACTERS // 2
    space = max(text.rfind("\n", half, most), text.rfind(" ", half, most))
    return space if space > 0 else most


def _capacity(chunking: Chunking, max_tokens: int, titled: int) -> int | None:
    if chunking.size != "auto":
        return chunking.size if isinstance(chunking.size, int) else None
    room = min(max_tokens, READS_WELL) - SPECIAL_TOKENS
    return max(1, room - min(titled, room // TITLE_SHARE))


def _spans(
    document: Document,
    starts: Sequence[int],
    capacity: Callable[[int], int | None],
    chunking: Chunking,
) -> Iterator[tuple[int, int]]:
    """Yield the character spans of the passages.

    Args:
        starts: The start of each token.
        capacity: Returns the tokens of a passage that begins at an offset; None: there is no limit.
    """
    length = len(document.text)
    most = capacity(0)
    if most is None or len(starts) <= most:
        yield 0, length
        return
    boundaries = _boundaries(document)
    begin = 0
    while begin < length:
        first = bisect_left(starts, begin)
        most = capacity(begin) or 1
        if first + most >= len(starts):
            yield begin, length
            return
        half, limit = starts[first + most // 2], starts[first + most]
        end = _cut(document.text, boundaries, begin, half, limit)
        yield begin, end
        begin = max(_overlapped(boundaries, starts, end, chunking.overlap), begin + 1)


def _cut(
    text: str, boundaries: tuple[list[int], list[int]], begin: int, half: int, limit: int
) -> int:
    """Return the end of a passage that begins at `begin`, at or before `limit`."""
    positions, levels = boundaries
    low, high = bisect_right(positions, half), bisect_right(positions, limit)
    if low == high:
        low = bisect_right(positions, begin)
    if low < high:
        strongest = max(levels[low:high])
        return next(positions[i] for i in range(high - 1, low - 1, -1) if levels[i] == strongest)
    spaces = [match.end() for match in re.finditer(r"\s+", text[begin:limit])]
    return begin + spaces[-1] if spaces else limit


def _overlapped(
    boundaries: tuple[list[int], list[int]], starts: Sequence[int], end: int, overlap: int
) -> int:
    """Return the start of the next passage: the first boundary within `overlap` of `end`."""
    if not overlap:
        return end
    earliest = starts[max(0, bisect_left(starts, end) - overlap)]
    positions = boundaries[0]
    at = bisect_left(positions, earliest)
    return positions[at] if at < len(positions) and positions[at] < end else end


def _boundaries(document: Document) -> tuple[list[int], list[int]]:
    """Return the sorted offsets at which a passage may begin, and the strength of each."""
    levels: dict[int, int] = {}
    if document.kind != "code":
        for match in _SENTENCE_END.finditer(document.text):
            if not _ABBREVIATION.search(document.text, max(0, match.start() - 6), match.start()):
                levels[match.end()] = SENTENCE
    lines = document.text.split("\n")
    offsets = [0, *accumulate(len(line) + 1 for line in lines)]
    for number, level in enumerate(_line_levels(document, lines)):
        place = offsets[number]
        levels[place] = max(level, levels.get(place, 0))
    positions = sorted(place for place in levels if 0 < place < len(document.text))
    return positions, [levels[place] for place in positions]


def _line_levels(document: Document, lines: list[str]) -> Iterator[int]:
    """Yield the boundary strength of the start of each line."""
    fence, blank_before = "", True
    given = {heading.line for heading in document.headings}
    for number, line in enumerate(lines):
        mark = FENCE.match(line) if document.kind == "markdown" else None
        if fence:
            level = LINE
        elif number in given or _is_heading(document, lines, number, blank_before):
            level = HEADING
        elif blank_before or _page_begins(document, number):
            level = PARAGRAPH
        elif document.kind == "code" or _LIST_ITEM.match(line):
            level = SENTENCE
        else:
            level = LINE
        # A blank line belongs to the text above it, so no passage begins with one.
        yield level if line.strip() else 0
        if mark and (not fence or mark.group(1).startswith(fence)):
            fence = "" if fence else mark.group(1)
        blank_before = not line.strip() and not fence


def _is_heading(document: Document, lines: list[str], number: int, blank_before: bool) -> bool:
    line = lines[number]
    match document.kind:
        case "code":
            top_level = bool(line) and not line[0].isspace() and not _CLOSING.match(line)
            return blank_before and top_level
        case "markdown" if MARKDOWN_HEADING.match(line):
            return True
        case "markdown" | "rst" if blank_before and line.strip() and number + 1 < len(lines):
            underline = lines[number + 1].rstrip()
            return bool(UNDERLINE.match(underline)) and len(underline) >= len(line.rstrip())
    return False


def _page_begins(document: Document, number: int) -> bool:
    pages = document.pages
    return 0 < number < len(pages) and pages[number] != pages[number - 1]


class _Positions:
    """Turns a span of a document into a passage with its position in the source."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", document.text))]

    @cached_property
    def outline(self) -> Outline:
        """The headings of the document."""
        return Outline(self.document, self.document.text.split("\n"))

    def above(self, start: int, end: int) -> tuple[int, ...]:
        """Return the headings above the first line of a span that is not blank."""
        blank = _BLANK_LINES.match(self.document.text, start, end)
        return self.outline.above(self._line(blank.end() if blank else start))

    def passage(self, start: int, end: int) -> Passage | None:
        document = self.document
        text = document.text[start:end]
        blank = _BLANK_LINES.match(text)
        skipped = blank.end() if blank else 0
        body = text[skipped:].rstrip()
        if not body and not (document.title and start == 0):
            return None
        start += skipped if body else 0
        first, last = self._line(start), self._line(start + max(0, len(body) - 1))
        return Passage(
            doc_id=document.doc_id,
            text=body,
            title=document.title,
            start_line=_at(document.lines, first),
            end_line=_at(document.lines, last),
            page=_at(document.pages, first),
            metadata=document.metadata,
        )

    def _line(self, offset: int) -> int:
        return bisect_right(self.line_starts, offset) - 1


def _at(numbers: Sequence[int], line: int) -> int | None:
    """Return the source line or page of a line of text; the last entry applies to the rest."""
    return numbers[min(line, len(numbers) - 1)] if numbers else None
