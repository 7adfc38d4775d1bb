"""The table of an answer: rank, movement, score, title, place and best lines."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ettin_cli.corpus import is_code
from ettin_cli.files.writers import place
from ettin_cli.records import NO_TEXT, Answer, Hit, Passage
from ettin_cli.text import best_lines, inert, inert_line, query_words, spans

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

ARROWS = {"up": "▲", "down": "▼", "same": "="}
PLAIN_ARROWS = {"up": "^", "down": "v", "same": "="}
SNIPPET_ROWS = 3
FLOWING_LINE = 50
# Characters that end a sentence or a drawn line.
ENDS = ".!?:=~^|+*#-_"
TAB = 4
# With less room than this beside the score, the rest goes below it, indented.
ROOMY = 36
NARROW_INDENT = 5
LEAST = 8

# The underline of a heading.
_UNDERLINE = re.compile(r"\A\s*([=~^\"'*+#-])\1{2,}\s*\n")


def print_answer(console: Console, answer: Answer, *, titled: bool, full_text: bool) -> None:
    """Print an answer's hits, best first.

    Args:
        titled: Print the query above them.
        full_text: Show full passages, not just their best lines.
    """
    from rich.text import Text

    if titled:
        heading = f"{inert_line(answer.query.query_id)}  {inert_line(answer.query.text)}"
        console.print(Text(heading, style="bold underline"))
    last = max([len(answer.hits), *(hit.retrieval_rank for hit in answer.hits)])
    digits = max(3, len(str(last)))
    for rank, hit in enumerate(answer.hits, start=1):
        head = _head(console, hit, rank, digits, reranked=answer.reranker != "none")
        for line in _hit_lines(console, hit, head, answer.wanted, full_text=full_text):
            line.rstrip()
            console.print(line, overflow="crop", no_wrap=True)
    if titled:
        console.print()


def rank_change(hit: Hit, rank: int, arrows: dict[str, str]) -> tuple[str, str]:
    """Return how many ranks the reranker moved a hit, and the style to show it in."""
    moved = hit.retrieval_rank - rank
    if moved > 0:
        return f"{arrows['up']}{moved}", "green"
    if moved < 0:
        return f"{arrows['down']}{-moved}", "red"
    return arrows["same"], "dim"


def _head(console: Console, hit: Hit, rank: int, digits: int, *, reranked: bool) -> Text:
    """Return a hit's rank, movement and score."""
    from rich.text import Text

    arrows = ARROWS if _can_show(console, ARROWS["up"]) else PLAIN_ARROWS
    head = Text(f"{rank:>{digits}}  ", style="bold")
    if reranked:
        moved, style = rank_change(hit, rank, arrows)
        head.append(f"{moved:<{digits + 1}} ", style=style)
    score = f"{hit.score:.0e}" if hit.score <= NO_TEXT else f"{hit.score:.3f}"
    head.append(f"{score:>7}  ", style="cyan")
    if hit.probability is not None:
        head.append(f"{percent(hit.probability):>5}  ", style="cyan")
    return head


def percent(probability: float) -> str:
    """Return a probability in percent without decimals, never 0 % or 100 %.

    >>> percent(0.874), percent(0.9999), percent(0.0001)
    ('87 %', '>99 %', '<1 %')
    """
    if probability < 0.005:
        return "<1 %"
    return ">99 %" if probability >= 0.995 else f"{100 * probability:.0f} %"


def _hit_lines(
    console: Console, hit: Hit, head: Text, query: str, *, full_text: bool
) -> list[Text]:
    """Return a hit's lines: beside its score if there is room, else below it."""
    from rich.text import Text

    indent = head.cell_len
    room = console.width - indent
    if room >= ROOMY:
        lines = [head + _title_and_place(hit, query, room)]
    else:
        indent, room = NARROW_INDENT, console.width - NARROW_INDENT
        lines = [head, *(Text(" " * indent) + line for line in _stacked(hit, query, room))]
    margin = Text(" " * indent)
    body = _body(console, hit.passage, query, room, full_text=full_text)
    return [*lines, *(margin + line if line else line for line in body)]


def _stacked(hit: Hit, query: str, room: int) -> list[Text]:
    """Return the title, if any, and the place below it."""
    from rich.text import Text

    title, marks = _title(hit), _marks(hit)
    where = Text(shortened_path(inert_line(place(hit, query)), room - marks.cell_len))
    return [*([_cut(title, room)] if title else []), where + marks]


def _title_and_place(hit: Hit, query: str, room: int) -> Text:
    """Return the title with the place at its right; both are shortened to fit."""
    from rich.text import Text

    title, marks = _title(hit), _marks(hit)
    where = inert_line(place(hit, query))
    if not title:
        return Text(shortened_path(where, room - marks.cell_len), style="bold") + marks
    right = Text(shortened_path(where, room // 2 - marks.cell_len), style="dim") + marks
    shown = _cut(title, room - right.cell_len - 2)
    return shown + Text(" " * (room - shown.cell_len - right.cell_len)) + right


def _title(hit: Hit) -> Text:
    from rich.text import Text

    return Text(inert_line(" ".join(hit.passage.title.split())), style="bold")


def _marks(hit: Hit) -> Text:
    """Return the page of a hit, and marks if it is stale, duplicated or truncated."""
    from rich.text import Text

    marks = Text(f" p. {hit.passage.page}" if hit.passage.page is not None else "", style="dim")
    if hit.stale:
        marks.append(" [stale]", style="yellow")
    if hit.duplicates:
        marks.append(f" [+{len(hit.duplicates)} same]", style="dim")
    if hit.truncated:
        marks.append(" [cut]", style="yellow")
    return marks


def shortened_path(path: str, room: int) -> str:
    """Return a path, without its beginning if it is too long.

    >>> shortened_path("a/long/way/to/file.md:12", 16)
    '…/to/file.md:12'
    """
    from rich.cells import cell_len

    room = max(LEAST, room)
    if cell_len(path) <= room:
        return path
    kept = path
    while cell_len(kept) > room - 1:
        kept = kept[1:]
    folders = kept.find("/")
    return "…" + (kept[folders:] if folders >= 0 else kept)


def _cut(line: Text, room: int) -> Text:
    """Return a line, or the words of it that fit, with an ellipsis.

    >>> from rich.text import Text
    >>> _cut(Text("Minutes of the meeting"), 18).plain
    'Minutes of the …'
    """
    return line if line.cell_len <= room else _continued(line, room)


def _continued(line: Text, room: int) -> Text:
    """Return the words of a line that fit, and an ellipsis."""
    from rich.text import Text

    kept = line.copy()
    kept.truncate(max(LEAST, room - 2))
    in_word = bool(line.plain[len(kept) : len(kept) + 1].strip())
    if in_word and kept.plain.rfind(" ") > len(kept) // 2:
        kept = kept[: kept.plain.rfind(" ")]
        in_word = False
    kept.rstrip()
    return kept + Text("…" if in_word else " …")


def _body(
    console: Console, passage: Passage, query: str, room: int, *, full_text: bool
) -> list[Text]:
    """Return the lines to show of a passage, with the query's words highlighted."""
    text = passage.text if full_text else _snippet(passage, query)
    lines = list(marked(text, query).wrap(console, room)) if text.strip() else []
    for line in lines:
        line.rstrip()
    return lines if full_text else cut(lines, SNIPPET_ROWS, room)


def marked(text: str, query: str) -> Text:
    """Return a text, escaped, with the query's words highlighted."""
    from rich.text import Text

    text = inert(text.expandtabs(TAB))
    shown = Text(text)
    for start, end in spans(text, query_words(query)):
        shown.stylize("bold yellow", start, end)
    return shown


def cut(lines: Sequence[Text], rows: int, room: int) -> list[Text]:
    """Return the first lines, with an ellipsis at the end if there are more."""
    if len(lines) <= rows:
        return list(lines)
    return [*lines[: rows - 1], _continued(lines[rows - 1], room)]


def _snippet(passage: Passage, query: str) -> str:
    """Return a passage's best lines, without a heading that repeats the title."""
    text = passage.text
    heading, _, rest = text.partition("\n")
    if heading.strip("#= ") == passage.title and (rest := _UNDERLINE.sub("", rest)).strip():
        text = rest
    best = textwrap.dedent(best_lines(text, query).text)
    return best if is_code(passage.path or "") else flowing(best)


def flowing(text: str) -> str:
    """Return a text with the lines of a sentence joined, and single spaces."""
    joined = before = ""
    for line in text.split("\n"):
        flows = len(before) >= FLOWING_LINE and before[-1] not in ENDS and line[:1].isalnum()
        indent = line[: len(line) - len(line.lstrip())]
        joined += (" " if flows else "\n" if joined else "") + indent + " ".join(line.split())
        before = line.rstrip()
    return joined


def _can_show(console: Console, sign: str) -> bool:
    try:
        sign.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
