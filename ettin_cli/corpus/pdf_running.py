"""Running heads and feet: lines that stand at the top or bottom of most pages of a PDF."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

# The lines at an edge of a page that are looked at, the lines that a page has at least, the pages
# that have a head at least, and their share.
_EDGE = 2
_LINES = 5
_PAGES = 4
_MOST = 0.5
# Heads of left and right pages may differ: the share of every second page that has one.
_SECOND = 0.8
# Most of what a page's number and its place in the file differ by: pages before page 1.
_FRONT = 60
_LONGEST = 300
_DIGITS = 6
_NUMBER = re.compile(r"\d+")
# A number after these is not a page's.
_COUNTED = re.compile(r"(?:\b(?:no|nr|num|number|id)\b\.?|#|№|:)\s*$", re.IGNORECASE)


def without_running_lines(pages: Sequence[str]) -> list[str]:
    r"""Return pages without running heads, feet and page numbers, but for the first of each.

    A line of most pages, or of most left or right ones, is left out where it is the same as on the
    first page that has it; a page's number may differ. Pages of few lines are kept.

    >>> texts = [f"{name}\nOne\nTwo\nThree\n{name}" for name in ("Ann", "Bo", "Cy", "Di")]
    >>> pages = [f"Rules of 1971 {page}\n{text}" for page, text in enumerate(texts, 3)]
    >>> without_running_lines(pages) == [f"Rules of 1971 3\n{texts[0]}", *texts[1:]]
    True
    """
    split = [page.split("\n") for page in pages]
    total = sum(bool(page.strip()) for page in pages)
    edges = [(_edge(lines, 1), _edge(lines, -1)) for lines in split]
    left_out: dict[int, set[int]] = defaultdict(set)
    for end in (0, 1):
        groups: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for page, ends in enumerate(edges):
            for text, at in {_key(split[page][at]): at for at in reversed(ends[end])}.items():
                groups[text].append((page, at))
        running = {
            text: found[0]
            for text, found in groups.items()
            if _is_running([page for page, _ in found], total)
        }
        for page, ends in enumerate(edges):
            for at in ends[end]:
                first = running.get(_key(split[page][at]))
                if first is None:
                    break
                if first == (page, at):
                    continue
                if not _is_repeated(
                    split[first[0]][first[1]], split[page][at], page - first[0], page
                ):
                    break
                left_out[page].add(at)
    return [
        "\n".join(line for at, line in enumerate(lines) if at not in left_out[page])
        for page, lines in enumerate(split)
    ]


def _edge(lines: Sequence[str], step: int) -> list[int]:
    """Return the numbers of the outermost lines, from the top (1) or the bottom (-1)."""
    full = [at for at, line in enumerate(lines) if line.strip()]
    return full[::step][:_EDGE] if len(full) >= _LINES else []


def _key(line: str) -> str:
    return _NUMBER.sub("0", " ".join(line[:_LONGEST].split()))


def _is_running(numbers: Sequence[int], total: int) -> bool:
    if len(numbers) < _PAGES:
        return False
    second = all(number % 2 == numbers[0] % 2 for number in numbers)
    return len(numbers) >= _MOST * total or (second and len(numbers) >= _SECOND * total / 2)


def _is_repeated(first: str, line: str, later: int, page: int) -> bool:
    """Return whether a line of a later page repeats another, but for the number of its page."""
    if later <= 0 or len(line) > _LONGEST:
        return False
    if first == line:
        return True
    ones, others = list(_NUMBER.finditer(first)), list(_NUMBER.finditer(line))
    for one, other in zip(ones, others, strict=True):
        if one[0] == other[0]:
            continue
        if max(len(one[0]), len(other[0])) > _DIGITS or int(other[0]) - int(one[0]) != later:
            return False
        at_edge = not line[: other.start()].strip() or not line[other.end() :].strip()
        if abs(int(other[0]) - page - 1) > _FRONT or not (at_edge or len(ones) == 2):
            return False
        if _COUNTED.search(line[: other.start()]):
            return False
    return True
