"""The table of an answer: rank, movement, score, title, place, and the lines that matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ettin_cli.export import place
from ettin_cli.inert import inert
from ettin_cli.records import Answer, Hit
from ettin_cli.snippets import best_lines, query_words, spans

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

ARROWS = {"up": "▲", "down": "▼", "same": "="}
PLAIN_ARROWS = {"up": "^", "down": "v", "same": "="}
SNIPPET_ROWS = 3
NARROWEST = 20
FLOWING_LINE = 50


def print_answer(console: Console, answer: Answer, *, titled: bool, full_text: bool) -> None:
    """Print an answer's hits, best first.

    Args:
        titled: Name the query above them.
        full_text: Show whole passages rather than their best lines.
    """
    from rich.text import Text

    if titled:
        heading = Text(
            f"{inert(answer.query.query_id)}  {inert(answer.query.text)}", style="bold underline"
        )
        console.print(heading)
    reranked = answer.reranker != "none"
    for rank, hit in enumerate(answer.hits, start=1):
        _print_hit(console, hit, rank, answer.query.text, reranked=reranked, full_text=full_text)
    if titled:
        console.print()


def movement(hit: Hit, rank: int, arrows: dict[str, str]) -> tuple[str, str]:
    """Return how far the reranker moved a hit, and the style to show it in."""
    moved = hit.retrieval_rank - rank
    if moved > 0:
        return f"{arrows['up']}{moved}", "green"
    if moved < 0:
        return f"{arrows['down']}{-moved}", "red"
    return arrows["same"], "dim"


def percent(probability: float) -> str:
    """Return a probability in whole percent; it never looks certain.

    >>> percent(0.874), percent(0.9999), percent(0.0001)
    ('87 %', '>99 %', '<1 %')
    """
    if probability < 0.005:
        return "<1 %"
    return ">99 %" if probability >= 0.995 else f"{100 * probability:.0f} %"


def _print_hit(
    console: Console, hit: Hit, rank: int, query: str, *, reranked: bool, full_text: bool
) -> None:
    from rich.text import Text

    arrows = ARROWS if _can_show(console, ARROWS["up"]) else PLAIN_ARROWS
    head = Text(f"{rank:>3}  ", style="bold")
    if reranked:
        moved, style = movement(hit, rank, arrows)
        head.append(f"{moved:<4} ", style=style)
    head.append(f"{hit.score:>7.3f}  ", style="cyan")
    if hit.probability is not None:
        head.append(f"{percent(hit.probability):>5}  ", style="cyan")
    indent = head.cell_len
    room = max(NARROWEST, console.width - indent)
    console.print(head + _title_and_place(hit, query, room), overflow="crop", no_wrap=True)
    margin = Text(" " * indent)
    for line in _body(console, hit, query, room, full_text=full_text):
        line.rstrip()
        console.print(margin + line if line else Text(), overflow="crop", no_wrap=True)


def _title_and_place(hit: Hit, query: str, room: int) -> Text:
    """Return the title and, at the right of it, the place; either is shortened to fit."""
    from rich.text import Text

    title = inert(" ".join(hit.passage.title.split()))
    where = inert(place(hit, query))
    marks = f" p. {hit.passage.page}" if hit.passage.page is not None else ""
    marks += " [stale]" * hit.stale + " [cut]" * hit.truncated
    if not title:
        return Text(shortened(where, room - len(marks)), style="bold") + Text(marks, style="dim")
    most = max(NARROWEST, room // 2 - len(marks))
    place_text = Text(shortened(where, most) + marks, style="dim")
    title_text = Text(title, style="bold")
    left = room - place_text.cell_len - 2
    title_text.truncate(max(NARROWEST // 2, left), overflow="ellipsis")
    gap = max(2, room - title_text.cell_len - place_text.cell_len)
    return title_text + Text(" " * gap) + place_text


def shortened(path: str, room: int) -> str:
    """Return a path with its beginning left out, if it is too long; its end tells the most.

    >>> shortened("a/long/way/to/file.md:12", 16)
    '…/to/file.md:12'
    """
    if len(path) <= room:
        return path
    kept = path[len(path) - room + 1 :]
    folders = kept.find("/")
    return "…" + (kept[folders:] if folders >= 0 else kept)


def _body(console: Console, hit: Hit, query: str, room: int, *, full_text: bool) -> list[Text]:
    """Return the lines to show of a passage, the query's words marked."""
    text = hit.passage.text if full_text else flowing(best_lines(hit.passage.text, query).text)
    lines = list(marked(text, query).wrap(console, room)) if text.strip() else []
    return lines if full_text else cut(lines, SNIPPET_ROWS, room)


def marked(text: str, query: str) -> Text:
    """Return a text, inert, with the query's words marked."""
    from rich.text import Text

    text = inert(text)
    shown = Text(text)
    for start, end in spans(text, query_words(query)):
        shown.stylize("bold yellow", start, end)
    return shown


def cut(lines: Sequence[Text], rows: int, room: int) -> list[Text]:
    """Return the first lines, with a mark at the end if there are more."""
    from rich.text import Text

    if len(lines) <= rows:
        return list(lines)
    last = lines[rows - 1]
    last.rstrip()
    if last.cell_len > room - 2:
        last = last[: max(0, last.plain.rfind(" "))] or last
        last.truncate(room - 2)
    return [*lines[: rows - 1], last + Text(" …")]


def flowing(text: str) -> str:
    """Return a text with its lines joined where they are one sentence, and single spaces."""
    joined = before = ""
    for line in text.split("\n"):
        flows = len(before) >= FLOWING_LINE and before[-1] not in ".!?:" and line[:1].isalnum()
        joined += (" " if flows else "\n" if joined else "") + " ".join(line.split())
        before = line.rstrip()
    return joined


def _can_show(console: Console, sign: str) -> bool:
    try:
        sign.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
