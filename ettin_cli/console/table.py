"""The table of an answer: rank, movement, score, title, place, and the lines that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ettin_cli.console.inert import inert
from ettin_cli.export import place
from ettin_cli.records import Answer, Hit
from ettin_cli.snippets import best_lines, query_words, spans

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

ARROWS = {"up": "▲", "down": "▼", "same": "="}
PLAIN_ARROWS = {"up": "^", "down": "v", "same": "="}
SNIPPET_ROWS = 3
NARROWEST = 20


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


def _print_hit(
    console: Console, hit: Hit, rank: int, query: str, *, reranked: bool, full_text: bool
) -> None:
    from rich.padding import Padding
    from rich.text import Text

    arrows = ARROWS if _can_show(console, ARROWS["up"]) else PLAIN_ARROWS
    head = Text(f"{rank:>3}  ", style="bold")
    if reranked:
        moved, style = movement(hit, rank, arrows)
        head.append(f"{moved:<4} ", style=style)
    head.append(f"{hit.score:>7.3f}  ", style="cyan")
    indent = head.cell_len
    where = inert(place(hit, query))
    marks = "".join(
        f" [{name}]" for name, on in (("stale", hit.stale), ("cut", hit.truncated)) if on
    )
    if hit.passage.page is not None:
        marks = f" p. {hit.passage.page}{marks}"
    title = inert(" ".join((hit.passage.title or hit.passage.doc_id).split()))
    room = max(NARROWEST, console.width - indent)
    console.print(head + _title_and_place(title, where, marks, room), overflow="crop", no_wrap=True)
    body = _body(hit, query, room, full_text=full_text)
    if body:
        console.print(Padding(body, (0, 0, 0, indent), expand=False))


def _title_and_place(title: str, where: str, marks: str, room: int) -> Text:
    """Return the title and, at the right of it, the place; either is shortened to fit."""
    from rich.text import Text

    shown = "" if where.split(":")[0] == title and ":" not in where else where
    title_text = Text(title, style="bold")
    place_text = Text(
        _shortened(shown, max(NARROWEST, room // 2 - len(marks))) + marks, style="dim"
    )
    left = room - place_text.cell_len - 2
    title_text.truncate(max(NARROWEST // 2, left), overflow="ellipsis")
    gap = max(2, room - title_text.cell_len - place_text.cell_len)
    return title_text + Text(" " * gap) + place_text


def _shortened(path: str, room: int) -> str:
    """Return a path with its middle left out, if it is too long; its end tells the most."""
    if len(path) <= room:
        return path
    tail = room * 2 // 3
    return f"{path[: room - tail - 1]}…{path[-tail:]}"


def _body(hit: Hit, query: str, room: int, *, full_text: bool) -> Text | None:
    from rich.text import Text

    if full_text:
        text = inert(hit.passage.text)
        marked = spans(text, query_words(query))
    else:
        snippet = best_lines(hit.passage.text, query)
        lines = [" ".join(line.split()) for line in inert(snippet.text).split("\n")]
        text = _fitted(lines, room)
        marked = spans(text, query_words(query))
    if not text.strip():
        return None
    body = Text(text)
    for start, end in marked:
        body.stylize("bold yellow", start, end)
    return body


def _fitted(lines: list[str], room: int) -> str:
    """Return lines that take three rows of the terminal at most."""
    text = "\n".join(lines)
    kept: list[str] = []
    left = SNIPPET_ROWS
    for line in text.split("\n"):
        rows = max(1, -(-len(line) // room))
        if rows > left:
            kept.append(line[: max(0, left * room - 1 - room // 8)].rsplit(" ", 1)[0] + " …")
            break
        kept.append(line)
        left -= rows
        if left <= 0:
            break
    return "\n".join(kept)


def _can_show(console: Console, sign: str) -> bool:
    try:
        sign.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
