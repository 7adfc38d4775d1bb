"""Subtitles (SubRip, WebVTT) -> what is said, with the times at which it is said."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError

# Seconds after which the time is given again.
EVERY = 10

_TIME = re.compile(
    r"\s*(?:(\d{1,4}):)?(\d{1,2}):(\d{2})[.,]\d{1,3}\s*-->\s*(?:\d+:)?\d+:\d+[.,]\d+.*"
)
_VOICE = re.compile(r"<v[. ]?([^<>]*)>")
_TAG = re.compile(r"</?[A-Za-z0-9][^<>]*>|\{\\[^{}]*\}")


def subtitles_document(text: str, doc_id: str) -> Document:
    """Return what is said, a line per line of subtitles, after its time: [0:01:23].

    A line that repeats the one before it, as in rolling captions, is left out.

    Raises:
        UnreadableError: It has no times.
    """
    said: list[str] = []
    numbers: list[int] = []
    last, stamped, now, inside = "", None, None, False
    for number, line in enumerate(text.split("\n"), start=1):
        if time := _TIME.fullmatch(line):
            hours, minutes, seconds = (int(part or 0) for part in time.groups())
            now, inside = hours * 3600 + minutes * 60 + seconds, True
        elif not line.strip():
            inside = False
        elif inside and now is not None and (words := _words(line)) and words != last:
            last = words
            due = stamped is None or not 0 <= now - stamped < EVERY
            stamped = now if due else stamped
            said.append(f"[{_clock(now)}] {words}" if due else words)
            numbers.append(number)
    if now is None and text.strip():
        raise UnreadableError("not subtitles: no times")
    return Document(doc_id, "\n".join(said), lines=numbers)


def _words(line: str) -> str:
    spoken = _TAG.sub("", _VOICE.sub(r"\1: ", line))
    return " ".join(unescape(spoken).split())


def _clock(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _read(path: Path, doc_id: str) -> Document:
    return subtitles_document(read_text(path), doc_id)


SUBTITLES = DocumentReader(name="subtitles", suffixes=(".srt", ".vtt"), read=_read, compressed=True)
