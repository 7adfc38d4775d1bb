"""Exclusion by .gitignore files, exactly as in gitignore(5).

A pattern is matched against the path itself, not its parent folders: a walk has already checked
those, and did not enter an ignored one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ettin_cli.platforms import composed
from ettin_cli.settings import MAX_IGNORES_BYTES, MIB
from ettin_cli.storage import open_regular

Reject = Callable[[Path, str], None]
NOTHING = "(?!)"
CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A line of an ignore file.

    Args:
        negated: Matching paths are included again.
        folders_only: Files do not match.
        by_name: Matched against the last part of a path instead of all of it.
    """

    regex: re.Pattern[str]
    negated: bool
    folders_only: bool
    by_name: bool

    def fits(self, name: str, is_folder: bool) -> bool:
        """Return whether a path relative to the ignore file's folder matches."""
        if self.folders_only and not is_folder:
            return False
        return bool(self.regex.fullmatch(name.rpartition("/")[2] if self.by_name else name))


@dataclass(frozen=True, slots=True)
class Ignores:
    """An ignore file: its folder and its patterns."""

    folder: Path
    patterns: Sequence[Pattern]

    def verdict(self, path: Path, is_folder: bool) -> bool | None:
        """Return whether this file ignores a path; None if no pattern matches."""
        name = composed(path.relative_to(self.folder).as_posix())
        fitting = (pattern for pattern in reversed(self.patterns) if pattern.fits(name, is_folder))
        last = next(fitting, None)
        return None if last is None else not last.negated


def ignored(path: Path, is_folder: bool, ignores: Sequence[Ignores]) -> bool:
    """Return whether the innermost ignore file with a matching pattern ignores this path."""
    verdicts = (ignore.verdict(path, is_folder) for ignore in reversed(ignores))
    return next((verdict for verdict in verdicts if verdict is not None), False)


def ignores_of(folder: Path, reject: Reject) -> list[Ignores]:
    """Return the ignore file of a folder; empty if it has none.

    Args:
        reject: Called with a file that cannot be read, and the reason.
    """
    path = folder / ".gitignore"
    try:
        with open_regular(path) as file:
            content = file.read(MAX_IGNORES_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return []
    except OSError as error:
        reject(path, f"cannot be read: {error.strerror}")
        return []
    if len(content) > MAX_IGNORES_BYTES:
        reject(path, f"more than {MAX_IGNORES_BYTES // MIB} MiB")
        return []
    text = composed(content.decode("utf-8-sig", "surrogateescape"))
    return [Ignores(folder, list(parse(text)))]


def outer_ignores(root: Path, reject: Reject) -> list[Ignores]:
    """Return the ignore files above `root` within its git work tree, outermost first.

    If they ignore `root` itself, none applies, since `root` was named explicitly.

    Args:
        reject: Called with a file that cannot be read, and the reason.
    """
    parents = list(root.parents)
    top = next((at for at, parent in enumerate(parents) if (parent / ".git").exists()), None)
    if top is None or (root / ".git").exists():
        return []
    ignores = [
        ignore for parent in reversed(parents[: top + 1]) for ignore in ignores_of(parent, reject)
    ]
    way = [root, *parents[:top]]
    return [] if any(ignored(folder, True, _above(folder, ignores)) for folder in way) else ignores


def _above(folder: Path, ignores: Sequence[Ignores]) -> list[Ignores]:
    return [
        ignore
        for ignore in ignores
        if ignore.folder != folder and folder.is_relative_to(ignore.folder)
    ]


def parse(text: str) -> Iterator[Pattern]:
    """Yield the patterns of an ignore file; an invalid line matches nothing, as in git."""
    for line in text.split("\n"):
        # Trailing spaces count only after a backslash.
        glob = re.sub(r"(?<!\\) +$", "", line.removesuffix("\r"))
        if not glob or glob.startswith("#"):
            continue
        negated = glob.startswith("!")
        glob = glob.removeprefix("!") if negated else glob
        folders_only = glob.endswith("/")
        glob = glob.removesuffix("/")
        if glob:
            regex = re.compile(_regex(glob.removeprefix("/")), re.DOTALL)
            yield Pattern(regex, negated, folders_only, by_name="/" not in glob)


def _regex(glob: str) -> str:
    """Translate a glob to a regular expression.

    Text between two stars is matched only at its first occurrence. A later one would leave less
    for the rest of the pattern, and trying all of them takes exponential time.
    """
    parts, at = [], 0
    stars = folders = 0
    while at < len(glob):
        begins = at == 0 or glob[at - 1] == "/"
        if begins and glob.startswith("**/", at):
            part, at = ")" * folders + "(?>(?:.*?/)??", at + 3
            folders = 1
        elif begins and glob[at:] == "**":
            part, at = ".+", at + 2
        elif glob[at] == "[":
            part, at = _class(glob, at + 1)
        elif glob[at] == "\\":
            part, at = (re.escape(glob[at + 1]) if glob[at + 1 :] else NOTHING), at + 2
        elif glob[at] == "*":
            part, at = ")" * stars + "(?>[^/]*?", at + 1
            stars = 1
        elif glob[at] == "/":
            part, at = "/" + ")" * stars, at + 1
            stars = 0
        else:
            part, at = ("[^/]" if glob[at] == "?" else re.escape(glob[at])), at + 1
        parts.append(part)
    return "".join(parts) + r"\Z" + ")" * (stars + folders)


_MEMBER = re.compile(r"\[:(\w+):\]|(\\.|[^\\])-(\\.|[^\\\]])|(\\.|[^\\])", re.DOTALL)


def _class(glob: str, at: int) -> tuple[str, int]:
    """Translate the character class at `at`; also return its end."""
    negated = glob[at : at + 1] in ("!", "^")
    at += negated
    members: list[str] = []
    while not members or glob[at : at + 1] != "]":
        match = _MEMBER.match(glob, at)
        if match is None or match.group(1) not in (None, *CLASSES):
            return NOTHING, len(glob)
        members.append(_member(match))
        at = match.end()
    body = "".join(members)
    if not body:
        return ("[^/]" if negated else NOTHING), at + 1
    return f"(?!/)[{'^' if negated else ''}{body}]", at + 1


def _member(match: re.Match[str]) -> str:
    name, first, last, single = match.groups()
    if name:
        return CLASSES[name]
    if single:
        return re.escape(single[-1])
    first, last = first[-1], last[-1]
    return f"{re.escape(first)}-{re.escape(last)}" if first <= last else ""
