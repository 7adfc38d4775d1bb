"""Content that is text only to machines: encoded data, vectors, minified code, lock files."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from ettin_cli.records import Document

DATA_URI, ENCODED = "data URI", "base64 block"
PATH, VECTOR = "vector path", "number array"
MINIFIED, SOURCE_MAP, LOCK_FILE = "minified file", "source map", "lock file"
# Reasons for which a file found in a folder is skipped.
SKIPS = (LOCK_FILE, MINIFIED, SOURCE_MAP)
LOCK_FILES = frozenset(
    """package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock deno.lock poetry.lock
    uv.lock pdm.lock pixi.lock pipfile.lock conda-lock.yml cargo.lock gemfile.lock composer.lock
    go.sum go.work.sum mix.lock rebar.lock pubspec.lock podfile.lock cartfile.resolved
    package.resolved flake.lock packages.lock.json paket.lock gradle.lockfile
    cabal.project.freeze stack.yaml.lock shard.lock berksfile.lock chart.lock""".split()
)
# The values of an embedding are mostly fractions; quantised, they are integers, but more.
VECTOR_LENGTH, INTEGERS_LENGTH = 32, 256
_HEAD = r"data:[\w.+-]{1,80}/[\w.+-]{1,80}[^,\s\"'<>]{0,80},"
_DATA_URI = re.compile(
    rf"(?<=\"){_HEAD}[^\"\n]{{64,}}|(?<='){_HEAD}[^'\n]{{64,}}|{_HEAD}[^\s\"'<>)]{{64,}}",
    re.IGNORECASE,
)
_PATH = re.compile(
    r"\b(?:d|points|\w*pathData)=(?:\"[MLHVCSQTAZmlhvcsqtaze0-9,.\s+-]{80,}\""
    r"|'[MLHVCSQTAZmlhvcsqtaze0-9,.\s+-]{80,}')"
)
_NUMBER = r"-?\d+\.\d*(?:[eE][-+]?\d+)?"
_VECTOR = re.compile(rf"\[\s*(?:{_NUMBER}\s*,\s*){{{VECTOR_LENGTH - 1},}}{_NUMBER}\s*\]")
_WORD = re.compile(r"(?<![\w+/-])[\w+/-]{256,}={0,2}", re.ASCII)
_LINES = re.compile(
    r"^(?:[ \t>]*[A-Za-z0-9+/]{60,100}[ \t]*\n){3,}[ \t>]*[A-Za-z0-9+/]{0,100}={0,2}[ \t]*$",
    re.MULTILINE,
)
_HEXADECIMAL = re.compile(r"(?:0[xX])?[0-9a-fA-F]+")
_SOURCE_MAP = re.compile(r"\.(?:[mc]?[jt]sx?|css)\.map$", re.IGNORECASE)
_MINIFIED_NAME = re.compile(r"[.-]min\.(?:[mc]?js|css)$", re.IGNORECASE)
SCRIPTS = (".js", ".mjs", ".cjs", ".css")


def machine_file(name: str) -> str | None:
    """Return why a file is not text for people, judged by its name; None if it may be.

    >>> [machine_file(name) for name in ("a/yarn.lock", "a.min.js", "a.js.map", "a.js")]
    ['lock file', 'minified file', 'source map', None]
    """
    base = PurePosixPath(name).name.lower()
    if base in LOCK_FILES:
        return LOCK_FILE
    if _SOURCE_MAP.search(base):
        return SOURCE_MAP
    return MINIFIED if _MINIFIED_NAME.search(base) else None


def is_minified(name: str, text: str) -> bool:
    """Return whether a script or style sheet is minified: long lines with few spaces."""
    if PurePosixPath(name).suffix.lower() not in SCRIPTS:
        return False
    lines = [line for line in text.split("\n") if line.strip()]
    longest = max(map(len, lines), default=0)
    dense = text.count(" ") < len(text) * 0.08
    return longest > 500 and dense and len(text) > 110 * len(lines)


def without_machine_text(document: Document) -> tuple[Document, Counter[str]]:
    """Return a document without content for machines, and how much was left out, by kind.

    Lines stay lines, so that their places in the source stay right.
    """
    left_out: Counter[str] = Counter()
    text = _cleaned(document.text, left_out)
    metadata: dict[str, Any] = {}
    for name, value in document.metadata.items():
        if _is_vector(value):
            left_out[VECTOR] += 1
            continue
        kept = _cleaned(value, left_out) if isinstance(value, str) else value
        if kept or not value:
            metadata[name] = kept
    if not left_out:
        return document, left_out
    return replace(document, text=text, metadata=metadata), left_out


def _cleaned(text: str, left_out: Counter[str]) -> str:
    for kind, pattern in (
        (DATA_URI, _DATA_URI),
        (PATH, _PATH),
        (VECTOR, _VECTOR),
        (ENCODED, _LINES),
        (ENCODED, _WORD),
    ):

        def emptied(match: re.Match[str], kind: str = kind) -> str:
            found = match.group()
            if kind == ENCODED and not _is_encoded(found):
                return found
            left_out[kind] += 1
            return "\n" * found.count("\n")

        text = pattern.sub(emptied, text)
    return text


def _is_encoded(text: str) -> bool:
    """Return whether characters are base64 or long hexadecimal digits, not words or a sequence."""
    characters = "".join(text.split())
    size = len(characters)
    digits = sum(character.isdigit() for character in characters)
    if "\n" not in text and _HEXADECIMAL.fullmatch(characters):
        return 0 < digits < size and len(set(characters.lower())) > 10
    upper = sum(character.isupper() for character in characters)
    lower = sum(character.islower() for character in characters)
    mixed = upper > 0.15 * size and lower > 0.05 * size and digits > 0.03 * size
    return mixed and len(set(characters)) > 20


def _is_vector(value: object) -> bool:
    """Return whether a value is the list of numbers of an embedding."""
    if not isinstance(value, list) or len(value) < VECTOR_LENGTH:
        return False
    if not all(type(item) in (int, float) for item in value):
        return False
    fractions = sum(isinstance(item, float) and not item.is_integer() for item in value)
    return len(value) >= INTEGERS_LENGTH or fractions * 2 > len(value)
