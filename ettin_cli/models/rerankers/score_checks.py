"""Helpers shared by rerankers: scoring equal items once, rejecting NaN, detecting scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import ModelError
from ettin_cli.records import Reporter
from ettin_cli.runtime import Once

if TYPE_CHECKING:
    from ettin_cli.records import Floats

SCRIPT_SAMPLE = 200
_LETTER = re.compile(r"[^\W\d_]")
_OTHER_SCRIPT = re.compile(r"[\u0370-\u1cff\u2c80-\ua6ff\ua800-\uab2f\uabc0-\ufaff\ufb13-\ufdff]")


class ScriptNotice:
    """Reports once if a text is in a script that an English model does not support.

    Args:
        name: The reranker's name.
        english: Whether the model supports only English; if not, nothing is reported.
    """

    def __init__(self, name: str, reporter: Reporter, *, english: bool) -> None:
        self.name, self.reporter = name, reporter
        self.first = Once() if english else None

    def check(self, texts: Iterable[str]) -> None:
        """Check some texts."""
        if not self.first or self.first.over:
            return
        if any(in_other_script(text) for text in texts) and self.first():
            self.reporter.notice(
                f"some text is not in Latin script; {self.name} supports only English, "
                "so these scores are unreliable"
            )


def in_other_script(text: str) -> bool:
    """Return whether most letters at the beginning of a text are in a script other than Latin.

    >>> in_other_script("naïve café"), in_other_script("где находится библиотека")
    (False, True)
    """
    sample = text[:SCRIPT_SAMPLE]
    if sample.isascii():
        return False
    return 2 * len(_OTHER_SCRIPT.findall(sample)) > len(_LETTER.findall(sample))


def distinct(items: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Return the distinct items in order of appearance, and for each item the index of its equal.

    >>> distinct(["b", "a", "b"])
    (['b', 'a'], [0, 1, 0])
    """
    positions: dict[Any, int] = {}
    which = [positions.setdefault(item, len(positions)) for item in items]
    return list(positions), which


def checked(values: Floats, name: str) -> Floats:
    """Return the scores if all are numbers.

    Raises:
        ModelError: A score is NaN, which cannot be sorted.
    """
    import numpy as np

    if np.isnan(values).any():
        raise ModelError(
            f"{name} returned a score that is not a number", code="not-a-number", name=name
        )
    return values
